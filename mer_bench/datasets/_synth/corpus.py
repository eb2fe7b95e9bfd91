"""A drawn corpus: who is recorded, what they do, and the release folder, laid out as real ones are.

    Cropped/sub01/EP01_02/reg_img46.jpg ...   the whole clip, a few frames before the onset and after the offset
    synth-coding.csv                          subject, clip, onset, apex, offset, emotion, action units (FACS, L and R)
    release.json                              every setting

Every draw is seeded by the names of what it decides, so a clip drawn alone is the clip in the corpus, byte for byte,
in whatever order and on however many processors the rest is drawn.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import polars as pl

from mer_bench import clips
from mer_bench.contracts import MerBenchError
from mer_bench.datasets._synth import head, motion, muscles
from mer_bench.datasets._synth.camera import Sensor, jpeg
from mer_bench.seeds import seed

VERSION = 1
"""Raised whenever the same settings give other pictures."""
BANNER = "SYNTHETIC avatar faces: not evidence of MER performance"
LICENCE = "drawn by mer-bench from public-domain (CC0) MakeHuman parts; free for any use"
CLASSES = tuple(muscles.EMOTIONS)
CLASS_MAP = {emotion: name for name, emotions in muscles.EMOTIONS.items() for emotion in emotions}
SHEET, MANIFEST = "synth-coding.csv", "release.json"
HEADER = ("Subject", "Clip", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "ActionUnits")
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


def subject_head(cohort: Cohort, subject: str) -> head.Head:
    """The subject's face, rendered once for all clips."""
    camera = head.Camera(cohort.width, cohort.height, cohort.iod)
    return head.render(camera, cohort.rng(subject, "face"))


def draw(cohort: Cohort, face: head.Head, clip: Clip) -> Iterator[np.ndarray]:
    """The clip's frames in order, (H, W, 3) uint8 BGR before compression."""
    rng = cohort.rng(clip.subject, clip.name, "motion")
    names, amounts = motion.amounts(clip.expression, clip.times, cohort.fps, rng)
    # The face at rest was drawn for the onset frame; what drifts is counted from there.
    amounts = amounts - amounts[clip.times.before]
    sensor = Sensor(len(amounts), cohort.fps, cohort.rng(clip.subject, clip.name, "sensor"))
    for light in face.frames(face.motions(names), amounts):
        yield sensor.expose(light)


def make(cohort: Cohort, root: Path, tick: Callable[[int, int], None]) -> None:
    """Write the release into an empty folder; subjects are drawn side by side.

    Raises:
        MerBenchError: a worker process died.
    """
    done, total = 0, sum(cohort.clips)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # The longest first, so that no processor is left with one at the end.
    order = sorted(subjects(cohort), key=lambda subject: -cohort.clips[int(subject) - 1])
    if processors == 1 or len(order) == 1:
        for subject in order:
            done += write_subject(cohort, root, subject)
            tick(done, total)
    else:
        try:
            with ProcessPoolExecutor(processors, get_context("spawn")) as pool:
                with _hidden_script():
                    futures = [pool.submit(write_subject, cohort, root, subject) for subject in order]
                for future in as_completed(futures):
                    done += future.result()
                    tick(done, total)
        except BrokenProcessPool:
            raise MerBenchError(
                f"{cohort.name}: a worker process died while drawing; is there memory enough?"
            ) from None
    _write_sheet(cohort, root)
    (root / MANIFEST).write_text(json.dumps({"banner": BANNER, **json.loads(cohort.signature)}, indent=1) + "\n")


def write_subject(cohort: Cohort, root: Path, subject: str) -> int:
    """Draw a subject's clips to disk; returns how many."""
    cv2.setNumThreads(1)
    face, planned = subject_head(cohort, subject), plan(cohort, subject)
    for clip in planned:
        (root / clip.folder()).mkdir(parents=True)
        for number, image in enumerate(draw(cohort, face, clip), start=clip.first):
            (root / clip.folder() / f"reg_img{number}.jpg").write_bytes(jpeg(image))
    return len(planned)


def _write_sheet(cohort: Cohort, root: Path) -> None:
    with (root / SHEET).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for clip in (clip for subject in subjects(cohort) for clip in plan(cohort, subject)):
            keys = (clip.subject, clip.name, clip.onset, clip.apex, clip.offset)
            writer.writerow((*keys, clip.emotion, clip.expression.facs()))


def read_annotations(cohort: Cohort, root: Path) -> pl.DataFrame:
    """TABLE 1 of a release.

    Raises:
        MerBenchError: the sheet is missing.
    """
    file = root / SHEET
    if not file.is_file():
        raise MerBenchError(f"{cohort.name}: {file} is missing; delete {root} and it is drawn again")
    return clips.table(_row(cohort, *row) for row in pl.read_csv(file, infer_schema=False).iter_rows())


def _row(
    cohort: Cohort, subject: str, clip: str, onset: str, apex: str, offset: str, emotion: str, action_units: str
) -> dict[str, object]:
    units, sides = clips.parse_action_units(action_units)
    return {
        "clip": f"{cohort.name}/{subject}/{clip}",
        "corpus": cohort.name,
        "subject": f"{cohort.name}/{subject}",
        "onset": int(onset),
        "apex": int(apex),
        "offset": int(offset),
        "apex_source": "annotated",
        "fps": cohort.fps,
        "emotion": emotion,
        "action_units": units,
        "sides": sides,
        "frame_path": f"Cropped/sub{subject}/{clip}/reg_img{{frame}}.jpg",
    }


@contextmanager
def _hidden_script() -> Iterator[None]:
    """Start processes without running the caller's script in each: it would ask for this same corpus, and wait."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
