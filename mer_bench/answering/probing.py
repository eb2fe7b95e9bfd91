"""Seconds of one training, told before a search is started: from a probe, or from the trials on record.

settings that may be tried ─► as many processes at once as will train ─► `pace` of each ─► seconds, by setting
trials on record           ─► what their folds took                                     ─► seconds, by trial
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mer_bench import catalog, processes
from mer_bench.answering.ready import Tick
from mer_bench.contracts import UsageError
from mer_bench.records import tracking
from mer_bench.reports import prose
from mer_bench.searching.space import STRICT, draw
from mer_bench.searching.studies import Study
from mer_bench.searching.trials import Ended
from mer_bench.training import fold, pace
from mer_bench.training.fold import Training

SETTINGS = 16
"""Settings that are probed, trial 0 among them, unless time runs out."""
SECONDS = 20.0
"""After which a process begins no further setting."""
KNOWN, RECENT = 10, 20
"""So many trials on record tell the time without a probe; the last of them do, because a search drifts."""
START = 5.0
"""Seconds in which a process starts, where that was not seen."""


@dataclass(frozen=True)
class Told:
    """Seconds of a training by setting, where from, and what is known besides; `once` is spent once a setting."""

    seconds: tuple[float, ...]
    source: str
    start: float = START
    share: float | None = None
    once: float = 0.0


def trainings(study: Study, ended: Sequence[Ended]) -> list[Training]:
    """One training of each setting to probe: what a strict study will try, or what TPE begins with."""
    strict = study.sampler in STRICT
    drawn = draw(study.space, study.sampler if strict else "random", study.seed, study.trials if strict else SETTINGS)
    drawn = drawn[len(ended) :] or drawn if strict else drawn
    few = min(SETTINGS, len(drawn))
    chosen = [drawn[i * len(drawn) // few] for i in range(few)]
    view = study.space.setting(chosen[0], study.scale).view
    (name, *_) = usual(study.task, view, study.folds)
    return [study.training(name, values) for values in chosen]


def usual(task: str, view: str, folds: Sequence[str]) -> list[str]:
    """Folds, those of usual size first."""
    clips = fold.view_of(task, view).clips
    by = catalog.task(task).fold
    sizes = {name: len(clips.filter(clips[by] == name)) for name in folds}
    middle = statistics.median(sizes.values())
    return sorted(folds, key=lambda name: abs(sizes[name] - middle))


def probed(trainings: Sequence[Training], at_once: int, tick: Tick | None) -> Told:
    """Measure these in as many processes as will train at once, in each other's way as they will be."""
    hands = pace.divided(trainings, at_once, tracking.tables(), SECONDS)
    asked, found = time.time(), []
    for number, one in enumerate(processes.spread(pace.probe, hands, len(hands), "probing", ordered=True), 1):
        found.append(one)
        if tick:
            tick(number, len(hands), "probing")
    paces = [one for part in found for one in part.paces]
    good = [one for one in paces if one is not None]
    if not good:
        raise UsageError("every setting that was probed diverged at once; lower the learning rates")
    start = statistics.mean(part.began - asked for part in found) if len(hands) > 1 else START
    lost = f", {len(paces) - len(good)} diverged" if len(good) < len(paces) else ""
    classical = trainings[0].setting.recipe is None
    once = statistics.mean(one.build for one in good) if classical else 0.0
    seconds = tuple(one.seconds - (one.build if classical else 0.0) for one in good)
    return Told(seconds, f"from a probe of {prose.plural(len(paces), 'setting')}{lost}", start, once=once)


def recorded(study: Study, ended: Sequence[Ended]) -> Told | None:
    """What the trials on record took, if there are enough."""
    last = [end for end in ended if end.folds][-RECENT:]
    if len(ended) < KNOWN or not last:
        return None
    each = tuple(end.seconds / end.folds / study.inner_folds for end in last)
    share = sum(end.folds for end in last) / len(last) / len(study.folds)
    return Told(each, f"from the last {len(last)} trials on record", share=share)


def typical(seconds: Sequence[float], trials: int, strict: bool) -> tuple[float, tuple[float, float]]:
    """Mean seconds of a training, and between what: where an adaptive search may gather, or what sampling leaves open.

    Args:
        seconds: by setting; the first is trial 0 where `trials` says how many there will be, else one of many.
        trials: of the study.
        strict: whether the settings are the study's own.
    """
    first, rest = seconds[0], list(seconds[1:]) or list(seconds)
    mean = (first + (trials - 1) * statistics.mean(rest)) / trials if trials else statistics.mean(seconds)
    if not strict:
        half = max(1, len(seconds) // 2)
        ordered = sorted(seconds)
        return mean, (statistics.mean(ordered[:half]), statistics.mean(ordered[-half:]))
    error = 2 * statistics.stdev(seconds) / len(seconds) ** 0.5 if len(seconds) > 1 else 0.0
    return mean, (max(min(seconds), mean - error), min(max(seconds), mean + error))


def ends(seconds: Sequence[float]) -> tuple[float, float]:
    """From what to what a mean may lie when one setting was measured a few times: a tenth more than was seen."""
    return 0.9 * min(seconds), 1.1 * max(seconds)
