"""How long a fold's training takes, told from a short one: a probe before hours are spent.

    a few batches, twice ─► seconds of an epoch (training and scoring), of building the model    ┐
    an invented answer, written ─► seconds that a fold's record takes                            ┴─► seconds of a fold

The probe trains through `trainer.fit` itself, on a share of the fold's rows where an epoch is long, so it sees
augmentation, odd batches and scoring as the real training does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mer_bench import catalog, splits
from mer_bench.training import fold, loso, trainer
from mer_bench.training.fold import Training

BATCHES = 2
"""The least that is trained, so that a step after the first is seen."""
LONG = 1.0
"""Seconds after which a probe's epoch is long: it is cut short."""
WHOLE = 0.5
"""Seconds of epochs that a probe trains, at least one epoch, where they are short."""


@dataclass(frozen=True)
class Pace:
    """Seconds of one fold's training: before its first epoch, of an epoch, of writing its record; and its epochs."""

    build: float
    epoch: float
    record: float
    epochs: int

    @property
    def seconds(self) -> float:
        """Of the whole fold."""
        return self.build + self.epochs * self.epoch + self.record


@dataclass(frozen=True)
class Probe:
    """What one process measures.

    Attributes:
        trainings: one for each setting, of a fold of usual size.
        place: where records go, so that their cost is that of the real storage.
        seconds: after which no further setting is begun; the first always is.
    """

    trainings: tuple[Training, ...]
    place: Path
    seconds: float


@dataclass(frozen=True)
class Probed:
    """What one process measured: paces of the first trainings of its probe, None for one that diverged.

    `began` is the time (as `time.time`) at which it could begin, libraries and inputs loaded.
    """

    paces: tuple[Pace | None, ...]
    began: float


def probe(asked: Probe) -> Probed:
    """Measure as many settings as there is time for, one after another."""
    for view in {training.setting.view for training in asked.trainings}:
        fold.view_of(asked.trainings[0].task, view)
    began = time.time()
    found: list[Pace | None] = []
    for training in asked.trainings:
        if found and time.time() - began > asked.seconds:
            break
        found.append(measure(training, asked.place))
    return Probed(tuple(found), began)


def measure(training: Training, place: Path) -> Pace | None:
    """The pace of one training; None if it diverges at once.

    A method with a `fit` of its own is timed by two whole folds, the first of which describes every clip.
    """
    if training.setting.recipe is None:
        return _classical(training)
    with fold.one_thread():
        try:
            build, epoch = _network(training)
        except trainer.Diverged:
            return None
    return Pace(build, epoch, _record(training, place), training.setting.recipe.epochs)


def _classical(training: Training) -> Pace:
    first, second = (fold.train(training).seconds for _ in range(2))
    return Pace(max(0.0, first - second), second, 0.0, 1)


def _network(training: Training) -> tuple[float, float]:
    """Seconds of building and warming up, and of an epoch."""
    parts = _parts(training)
    size = len(parts.train)
    assert training.setting.recipe is not None
    few = min(size, BATCHES * training.setting.recipe.batch_size)
    share = few / size
    warm = _time(training, _shared(parts, share), 0)
    if warm / share < LONG:
        share = 1.0
    elif warm < LONG:
        share = max(share, min(1.0, share * LONG / warm))
    first = _time(training, _shared(parts, share), 0)
    further = max(1, min(training.setting.recipe.epochs - 1, round(WHOLE / max(first, 1e-3))))
    epochs = (_time(training, _shared(parts, share), further) - first) / further
    epochs = epochs if epochs > 0 else first
    return max(0.0, first - epochs), epochs / share


def _parts(training: Training) -> splits.Fold:
    data = fold.view_of(training.task, training.setting.view)
    count = training.inner_folds if training.validation else 0
    asked = catalog.task(training.task)
    return splits.inner(data.clips, training.fold, count, by=asked.fold, tested=asked.tested)[0]


def _shared(parts: splits.Fold, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A share of a fold's rows, training, validation and test, spread evenly over each."""
    sides = (parts.train, parts.validation, parts.test)
    train, validation, test = (side[:: max(1, round(1 / share))] if share < 1 else side for side in sides)
    return train, validation, test


def _time(training: Training, rows: tuple[np.ndarray, np.ndarray, np.ndarray], last: int) -> float:
    """Seconds of training up to an epoch."""
    setting = training.setting
    assert setting.recipe is not None
    classes = len(catalog.task(training.task).classes)
    data = fold.data_of(fold.view_of(training.task, setting.view), setting, training.device)
    precision = trainer.Precision(training.bf16, training.channels_last, training.compiled)
    began = time.perf_counter()
    build = fold.builder(setting, classes)
    trainer.fit(build, setting.recipe, data, rows, classes, ("pace", training.fold), precision, last)
    return time.perf_counter() - began


def _record(training: Training, place: Path) -> float:
    """Seconds of making and writing a fold's tables, with an invented answer."""
    setting = training.setting
    assert setting.recipe is not None
    data, parts = fold.view_of(training.task, setting.view), _parts(training)
    classes = len(catalog.task(training.task).classes)
    said = [
        np.full((setting.recipe.epochs, len(side), classes), 1 / classes) for side in (parts.validation, parts.test)
    ]
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".pace-") as temporary:
        began = time.perf_counter()
        outcome = trainer.Outcome(said[0], said[1], "", {})
        done = fold.finished(training, data.clips, (parts.validation, parts.test), outcome, 0.0)
        loso.write(Path(temporary) / "fold", [replace(done, state=None)], {})
        return time.perf_counter() - began


def divided(trainings: Sequence[Training], processes: int, place: Path, seconds: float) -> list[Probe]:
    """Probes for so many processes, settings dealt out in turn."""
    hands = [tuple(trainings[i::processes]) for i in range(processes)]
    return [Probe(hand, place, seconds) for hand in hands if hand]
