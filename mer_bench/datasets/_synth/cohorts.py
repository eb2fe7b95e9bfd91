"""Who is recorded and what they do: the settings of a drawn corpus, and its clips before anything is drawn.

Every draw is seeded by the names of what it decides, so a clip is the same whatever else is planned.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mer_bench.datasets._synth import motion, muscles
from mer_bench.seeds import seed

VERSION = 1
"""Raised whenever the same settings give other pictures."""
CLASSES = tuple(muscles.EMOTIONS)
CLASS_MAP = {emotion: name for name, emotions in muscles.EMOTIONS.items() for emotion in emotions}
CLIPS_AN_EPISODE = 4
FIRST_FRAMES = (1, 120)


@dataclass(frozen=True)
class Cohort:
    """Every setting of a drawn corpus.

    Args:
        name: the corpus's.
        seed: of everything.
        clips: clips of each subject; LOSO folds of real corpora run from one clip to dozens.
        prior: share of each class, in the order of `CLASSES`.
        identity: how much a subject's own mix of classes keeps to the prior (Dirichlet).
        signal: False draws muscles without regard to the emotion in the sheet.
        median_peak: median of the largest displacement, IODs.
        sigma: of its logarithm.
        label_noise: share of clips that move the muscles of a random other emotion.
        style: deviation of the logarithm of a subject's strength per action unit.
        fps: frames a second.
        width: of a frame, pixels.
        height: of a frame, pixels.
        iod: inter-ocular distance, pixels.
    """

    name: str
    seed: int
    clips: tuple[int, ...]
    prior: tuple[float, ...] = (0.55, 0.25, 0.20)
    identity: float = 6.0
    signal: bool = True
    median_peak: float = 0.0105
    sigma: float = 0.5
    label_noise: float = 0.15
    style: float = 0.25
    fps: float = 200.0
    width: int = 176
    height: int = 220
    iod: float = 72.0

    @property
    def signature(self) -> str:
        """JSON of all settings and the generator's version."""
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    def rng(self, *names: str | int) -> np.random.Generator:
        """A generator for one named decision."""
        return np.random.default_rng(seed("synth", self.seed, *names))


@dataclass(frozen=True)
class Clip:
    """A planned clip: what the sheet says of it, and what it takes to draw it.

    `emotion` is the sheet's; `shown` is the one whose muscles move, another where the label is noise.
    """

    subject: str
    name: str
    emotion: str
    shown: str
    expression: muscles.Expression
    times: motion.Timing
    first: int

    @property
    def onset(self) -> int:
        """Frame number."""
        return self.first + self.times.before

    @property
    def apex(self) -> int:
        """Frame number."""
        return self.onset + self.times.rise

    @property
    def offset(self) -> int:
        """Frame number."""
        return self.apex + self.times.fall

    def folder(self) -> Path:
        """Below the release's root."""
        return Path("Cropped") / f"sub{self.subject}" / self.name


def subjects(cohort: Cohort) -> list[str]:
    """Their ids, `01` onwards."""
    return [f"{number:02d}" for number in range(1, len(cohort.clips) + 1)]


def plan(cohort: Cohort, subject: str) -> list[Clip]:
    """A subject's clips, nothing drawn yet."""
    rng = cohort.rng(subject, "habits")
    mix = dict(zip(CLASSES, rng.dirichlet(cohort.identity * np.array(cohort.prior)), strict=True))
    strength = muscles.style(rng, cohort.style)
    numbers = range(cohort.clips[int(subject) - 1])
    names = [f"EP{n // CLIPS_AN_EPISODE + 1:02d}_{n % CLIPS_AN_EPISODE + 1:02d}" for n in numbers]
    return [_clip(cohort, subject, name, mix, strength) for name in names]


def _clip(cohort: Cohort, subject: str, name: str, mix: dict[str, float], strength: dict[int, float]) -> Clip:
    rng = cohort.rng(subject, name, "plan")
    emotion = muscles.pick(rng, muscles.EMOTIONS[muscles.pick(rng, mix)])
    other = list(muscles.COMBINATIONS)[rng.integers(len(muscles.COMBINATIONS))]
    shown = other if rng.random() < cohort.label_noise else emotion
    if not cohort.signal:
        prior = dict(zip(CLASSES, cohort.prior, strict=True))
        shown = muscles.pick(rng, muscles.EMOTIONS[muscles.pick(rng, prior)])
    expression = muscles.express(shown, rng, cohort.median_peak, cohort.sigma, strength)
    times = motion.timing(rng, cohort.fps)
    return Clip(subject, name, emotion, shown, expression, times, int(rng.integers(*FIRST_FRAMES)))
