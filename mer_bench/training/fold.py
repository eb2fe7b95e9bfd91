"""One fold's training: a frozen value in, tables out.

A `Training` names everything that decides it, so the same value gives the same predictions wherever and whenever it
runs. Nothing here chooses an epoch or looks at what a test clip's label is, but for counting it into the sealed table.
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mer_bench import catalog, classical, metrics, predictions, processes, splits
from mer_bench.contracts import MerBenchError, Setting, UsageError
from mer_bench.pixels import inputs

if TYPE_CHECKING:
    from mer_bench.training.batches import Data
    from mer_bench.training.trainer import Outcome


@dataclass(frozen=True)
class Training:
    """Everything that determines one fold's training.

    Attributes:
        task, setting, seed, fold: what is trained, and which subject (or corpus) is held out.
        validation: whether the fold's validation subjects are kept back.
        inner_folds: 1 keeps one set of validation subjects back; more train so many times, so that every training
            subject is validated once, and the first of these models speaks for the test clips.
        bf16, channels_last, compiled: the probe's answer.
        device: cpu, cuda or mps.
        stop_after: refits stop the schedule after this epoch.
        code: hash of the method's file, which must not change while it is trained; empty if nobody looks.
    """

    task: str
    setting: Setting
    seed: int
    fold: str
    validation: bool
    inner_folds: int = 1
    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False
    device: str = "cpu"
    stop_after: int | None = None
    code: str = ""


class Edited(MerBenchError):  # noqa: N818
    """The method's file is not what it was when the command began."""


@dataclass(frozen=True)
class Finished:
    """One training's tables, the hash of its weights, and what it cost; `diverged` says why it has no rows."""

    training: Training
    tables: Mapping[str, pl.DataFrame]
    weights: str
    seconds: float
    diverged: str = ""
    state: Mapping[str, Any] | None = None


def train(training: Training) -> Finished:
    """Run one training.

    Raises:
        Edited: the method's file was edited meanwhile: folds of two methods make no number.
        MerBenchError: the model's answer has the wrong shape.
    """
    if training.code and catalog.fingerprint(training.setting.model) != training.code:
        name = catalog.split(training.setting.model)[0]
        raise Edited(f"{name} was edited while it is trained; put it back, or start anew with what it is now")
    task = catalog.task(training.task)
    return train_on(training, view_of(training.task, training.setting.view), len(task.classes), task.fold, task.tested)


def train_on(
    training: Training, data: inputs.Inputs, classes: int, by: str = "subject", tested: Sequence[str] = ()
) -> Finished:
    """`train` on inputs given by hand, which need not belong to a known task (the canary's drawn corpus)."""
    from mer_bench.training.trainer import Diverged

    began = time.perf_counter()
    count = training.inner_folds if training.validation else 0
    parts = splits.inner(data.clips, training.fold, count, by=by, tested=tested)
    fit = _fit_classical if training.setting.recipe is None else _fit_torch
    outcomes = []
    with one_thread():
        for number, fold in enumerate(parts):
            try:
                outcomes.append(fit(builder(training.setting, classes), training, data, fold, classes, number))
            except Diverged as error:
                return Finished(training, {}, "", time.perf_counter() - began, diverged=str(error))
    rows = np.concatenate([part.validation for part in parts])
    validation = np.concatenate([outcome.validation for outcome in outcomes], 1)
    whole = replace(outcomes[0], validation=validation)
    return finished(training, data.clips, (rows, parts[0].test), whole, time.perf_counter() - began)


def finished(
    training: Training, clips: pl.DataFrame, sides: tuple[np.ndarray, np.ndarray], outcome: Outcome, seconds: float
) -> Finished:
    """An outcome as a pass stores it; `sides` are the rows of its validation and of its test clips."""
    tables = _tables(training, clips, sides, (outcome.validation, outcome.test))
    return Finished(training, tables, outcome.weights, seconds, state=outcome.state)


@functools.lru_cache(maxsize=8)
def view_of(task: str, view: str) -> inputs.Inputs:
    """A task's inputs, kept in this process."""
    return inputs.load(task, view)


@functools.lru_cache(maxsize=8)
def on_device(data: inputs.Inputs, jitter: float, after_apex: bool, device: str) -> Data:
    """A view's bytes, labels and jitter ranges on a device, moved there once."""
    from mer_bench.training import batches

    reach = np.zeros((len(data.clips), 3), np.int64)
    if jitter and "apex" in data.arrays:
        reach = _reach(data, jitter, after_apex)
    return batches.load(data.arrays, data.clips["label"].to_numpy(), reach, device)


@functools.lru_cache(maxsize=8)
def described(data: inputs.Inputs, classes: int, question: str) -> Mapping[str, np.ndarray]:
    """What a classical model is shown of all clips: each described once and by itself, or their inner products.

    `question` is the model's setting.
    """
    model = builder(Setting.from_dict(json.loads(question)), classes)()
    return classical.prepared(model, data.arrays)


def forget() -> None:
    """Drop what is kept in this process, so that the next command sees the corpora as they are then."""
    for kept in (view_of, on_device, described):
        kept.cache_clear()


def data_of(data: inputs.Inputs, setting: Setting, device: str) -> Data:
    """`on_device` for a setting."""
    recipe = setting.recipe
    assert recipe is not None
    return on_device(data, recipe.jitter, recipe.jitter_after_apex, device)


def builder(setting: Setting, classes: int) -> Callable[[], Any]:
    """Makes the setting's model."""
    return functools.partial(catalog.baseline(setting.model).model, num_classes=classes, **setting.options)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread per training, so that its numbers do not depend on the machine's load or core count."""
    import torch

    processes.keep_pages()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit_torch(
    build: Callable[[], Any], training: Training, data: inputs.Inputs, fold: splits.Fold, classes: int, part: int
) -> Outcome:
    from mer_bench.training import trainer

    assert training.setting.recipe is not None
    which = ("held" if training.validation else "all", *([part] if part else []))
    return trainer.fit(
        build,
        training.setting.recipe,
        data_of(data, training.setting, training.device),
        (fold.train, fold.validation, fold.test),
        classes,
        (training.task, training.seed, training.fold, *which),
        trainer.Precision(training.bf16, training.channels_last, training.compiled),
        training.stop_after,
    )


def _fit_classical(
    build: Callable[[], Any], training: Training, data: inputs.Inputs, fold: splits.Fold, classes: int, part: int
) -> Outcome:
    from mer_bench.training import trainer

    arrays = described(data, classes, json.dumps(training.setting.as_dict(), sort_keys=True))

    def shown(rows: np.ndarray) -> dict[str, np.ndarray]:
        return classical.part(arrays, rows, fold.train)

    labels, said = data.clips["label"].to_numpy().astype(np.int64), []
    with trainer.seeded(training.task, training.seed, training.fold, "fit"):
        model = build()
        model.fit(shown(fold.train), labels[fold.train])
        for rows in (fold.validation, fold.test):
            answer = np.asarray(model.predict_proba(shown(rows))) if len(rows) else np.zeros((0, classes))
            said.append(checked(answer, training.setting.model, len(rows), classes)[None])
    if not np.isfinite(said[0]).all():
        raise trainer.Diverged(f"{training.setting.model} gives probabilities that are not finite in {training.fold}")
    return trainer.Outcome(said[0], trainer.spoken(said[1]), "", {})


def checked(answer: Any, model: str, clips: int, classes: int) -> Any:
    """A model's answer, if it is one row a clip and one column a class.

    Raises:
        MerBenchError: it is not.
    """
    if tuple(answer.shape) != (clips, classes):
        found = "x".join(map(str, answer.shape))
        raise MerBenchError(f"{model} answers {found} for {clips} clips; give {clips}x{classes}, one column a class")
    return answer


def named(model: Any, setting: Setting, keys: Iterable[str]) -> Any:
    """A network whose `forward` names what the view holds, and nothing else.

    Raises:
        UsageError: it does not.
    """
    asked = [p.name for p in inspect.signature(model.forward).parameters.values() if p.default is p.empty]
    if set(asked) != set(keys):
        held, shown = ", ".join(sorted(keys)), f"forward({', '.join(asked)})"
        raise UsageError(f"{setting.model}: {shown} should name what {setting.view} holds: {held}")
    return model


def _reach(data: inputs.Inputs, jitter: float, after: bool) -> np.ndarray:
    """Frames that onset and apex may move: a share of a quarter of their distance, as the MMNet scripts draw them."""
    onset, apex, offset = (data.clips[c].to_numpy().astype(np.float64) for c in ("onset", "apex", "offset"))
    rise, fall = jitter * (apex - onset) / 4, jitter * (offset - apex) / 4
    forward = fall if after else np.zeros_like(fall)
    onsets, apexes = len(data.arrays["onset"][0]) if "onset" in data.arrays else 1, len(data.arrays["apex"][0])
    limits = zip((rise, rise, forward), (onsets - 1, apexes // 2, apexes // 2), strict=True)
    return np.stack([np.minimum(np.floor(x), most) for x, most in limits], 1).astype(np.int64)


def _tables(
    training: Training, clips: pl.DataFrame, sides: tuple[np.ndarray, ...], answers: tuple[np.ndarray, ...]
) -> dict[str, pl.DataFrame]:
    """Tables of the validation and the test side, from their rows and probabilities (epochs, clips, classes)."""
    found = {}
    # what is stored is what is judged: argmax and log-loss see the same rounded probabilities as every later reader
    rounded = [p.astype(np.float16).astype(np.float32) for p in answers]
    files = (predictions.VALIDATION, predictions.FOLDS), (predictions.TEST, predictions.FOLDS_TEST)
    clip, subject, label = clips["clip"].to_list(), clips["subject"].to_list(), clips["label"].to_numpy()
    for (table, summary), rows, said in zip(files, sides, rounded, strict=True):
        found[summary] = _summary(training, [subject[row] for row in rows], label[rows], said)
        # tables are in the order of their keys: seed, fold and epoch are so already
        order = sorted(range(len(rows)), key=lambda place: clip[rows[place]])
        sorted_rows = [int(rows[place]) for place in order]
        columns = [clip[r] for r in sorted_rows], [subject[r] for r in sorted_rows], label[sorted_rows]
        found[table] = predictions.table(training.seed, training.fold, *columns, said[:, order])
    return found


def _summary(training: Training, subjects: list[str], labels: np.ndarray, said: np.ndarray) -> pl.DataFrame:
    """Per epoch: confusion counts, and log-loss summed and clips counted for each subject."""
    epochs, _, classes = said.shape
    names = sorted(set(subjects))
    of = np.array([names.index(s) for s in subjects], np.int64)
    counts = [metrics.confusion(labels, guesses, classes).ravel().tolist() for guesses in said.argmax(2)]
    losses = [np.bincount(of, loss, len(names)).tolist() for loss in metrics.log_loss(said, labels)]
    columns = {
        "seed": [training.seed] * epochs,
        "fold": [training.fold] * epochs,
        "epoch": list(range(epochs)),
        "counts": counts,
        "subjects": [names] * epochs,
        "losses": losses,
        "clips": [np.bincount(of, minlength=len(names)).tolist()] * epochs,
    }
    return pl.DataFrame(columns, schema=FOLDS_SCHEMA)


FOLDS_SCHEMA: dict[str, Any] = {
    "seed": pl.Int32,
    "fold": pl.String,
    "epoch": pl.Int16,
    "counts": pl.List(pl.Int32),
    "subjects": pl.List(pl.String),
    "losses": pl.List(pl.Float64),
    "clips": pl.List(pl.Int32),
}
