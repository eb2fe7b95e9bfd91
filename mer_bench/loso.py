"""Leave one subject out: one training per fold, in this process or spread over a few.

A *pass* trains once per fold and seed and is written as one folder (`predictions`). A training is a frozen value: the
same value gives the same predictions wherever and whenever it runs, so folds may run in any order and in any process.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mer_bench import cache, catalog, inputs, metrics, predictions, splits
from mer_bench.contracts import MerBenchError, Setting

if TYPE_CHECKING:
    from mer_bench.trainer import Outcome, Precision

Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Training:
    """Everything that determines one fold's training.

    Attributes:
        task, setting, seed, fold: what is trained, and which subject is held out.
        validation: whether the fold's validation subjects are kept back.
        bf16, channels_last: the probe's answer.
        device: cpu, cuda or mps.
        stop_after: refits stop the schedule after this epoch.
    """

    task: str
    setting: Setting
    seed: int
    fold: str
    validation: bool
    bf16: bool = False
    channels_last: bool = False
    device: str = "cpu"
    stop_after: int | None = None


@dataclass(frozen=True)
class Finished:
    """One training's tables, the hash of its weights, and what it cost; `diverged` says why it has no rows."""

    training: Training
    tables: Mapping[str, pl.DataFrame]
    weights: str
    seconds: float
    diverged: str = ""
    state: Mapping[str, Any] | None = None


def folds(task: str, setting: Setting) -> list[str]:
    """Names of a task's folds: its subjects, sorted."""
    return sorted(_inputs(task, setting.view).clips["subject"].unique().to_list())


def train(
    training: Training, given: inputs.Inputs | None = None, on_epoch: Callable[[], None] | None = None
) -> Finished:
    """Run one training.

    Args:
        training: what to train.
        given: the inputs; read from the cache when None.
        on_epoch: called after each epoch.
    """
    from mer_bench.trainer import Diverged

    began = time.perf_counter()
    data = given or _inputs(training.task, training.setting.view)
    fold = next(f for f in splits.loso(data.clips, validation=training.validation) if f.name == training.fold)
    classes = len(catalog.task(training.task).classes)
    baseline = catalog.baseline(training.setting.model)
    with _one_thread():
        try:
            if training.setting.recipe is None:
                outcome = _fit_classical(baseline.model, training, data, fold, classes)
            else:
                outcome = _fit_torch(baseline.model, training, data, fold, classes, on_epoch)
        except Diverged as error:
            return Finished(training, {}, "", time.perf_counter() - began, diverged=str(error))
    tables = _tables(training, data.clips, fold, outcome)
    return Finished(training, tables, outcome.weights, time.perf_counter() - began, state=outcome.state)


def run_pass(
    trainings: Sequence[Training],
    folder: Path,
    record: Mapping[str, Any],
    *,
    workers: int = 1,
    keep_weights: bool = False,
    tick: Tick | None = None,
    given: inputs.Inputs | None = None,
) -> list[Finished]:
    """Run trainings and write them as one pass.

    Args:
        trainings: one per seed and fold.
        folder: where the pass goes; it must not exist.
        record: stored in `pass.json` beside what each fold cost.
        workers: processes, one thread each; the tables do not depend on it.
        keep_weights: also write `weights/<seed>/<subject>.safetensors`.
        tick: called with (done, total, fold).
        given: inputs other than the cache's (one process only).

    Raises:
        MerBenchError: every fold diverged.
    """
    finished = []
    for done in _spread(trainings, workers, given):
        finished.append(done if keep_weights else _without_state(done))
        if tick:
            tick(len(finished), len(trainings), done.training.fold)
    finished.sort(key=lambda f: (f.training.seed, f.training.fold))
    write(folder, finished, record)
    if keep_weights:
        _write_weights(folder, finished)
    return finished


def write(folder: Path, finished: Sequence[Finished], record: Mapping[str, Any]) -> None:
    """Write finished trainings as a pass; diverged folds are on record and have no rows."""
    good = [f for f in finished if not f.diverged]
    if not good:
        raise MerBenchError(finished[0].diverged)
    names = (predictions.VALIDATION, predictions.TEST, predictions.FOLDS, predictions.FOLDS_TEST)
    tables = {name: pl.concat([f.tables[name] for f in good]) for name in names}
    parts = [
        {
            "seed": f.training.seed,
            "fold": f.training.fold,
            "setting": f.training.setting.as_dict(),
            "stop_after": f.training.stop_after,
            "weights": f.weights,
            "seconds": round(f.seconds, 3),
            "diverged": f.diverged,
        }
        for f in finished
    ]
    predictions.write_pass(folder, tables, {**record, "folds": parts})


def _spread(trainings: Sequence[Training], workers: int, given: inputs.Inputs | None) -> Iterator[Finished]:
    classical = all(t.setting.recipe is None for t in trainings)
    if workers <= 1 or given is not None or classical or trainings[0].device != "cpu" or len(trainings) < 2:
        for training in trainings:
            yield train(training, given)
        return
    for view in {t.setting.view for t in trainings}:
        inputs.load(trainings[0].task, view)

    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with ProcessPoolExecutor(min(workers, len(trainings)), mp_context=context) as pool:
        with inputs.hidden_script():
            started = [pool.submit(train, t) for t in trainings]
        for future in as_completed(started):
            yield future.result()


def _fit_torch(
    model: Callable[..., Any],
    training: Training,
    data: inputs.Inputs,
    fold: splits.Fold,
    classes: int,
    on_epoch: Callable[[], None] | None,
) -> Outcome:
    from mer_bench import trainer

    setting = training.setting
    assert setting.recipe is not None
    build = functools.partial(model, num_classes=classes, **setting.options)
    return trainer.fit(
        build,
        setting.recipe,
        on_device(data, setting, training.device),
        (fold.train, fold.validation, fold.test),
        classes,
        (training.task, training.seed, training.fold, "held" if training.validation else "all"),
        precision(training),
        training.stop_after,
        on_epoch,
    )


def precision(training: Training) -> Precision:
    """The probe's answer as the trainer wants it."""
    from mer_bench.trainer import Precision

    return Precision(training.bf16, training.channels_last)


def on_device(data: inputs.Inputs, setting: Setting, device: str) -> Any:
    """A view's bytes, labels and jitter ranges on a device."""
    from mer_bench import trainer

    reach = np.zeros((len(data.clips), 3), np.int64)
    if setting.recipe and setting.recipe.jitter and "onset" in data.arrays:
        reach = _reach(data, setting.recipe.jitter, setting.recipe.jitter_after_apex)
    return trainer.load(data.arrays, data.clips["label"].to_numpy(), reach, device)


def _reach(data: inputs.Inputs, jitter: float, after: bool) -> np.ndarray:
    """Frames that onset and apex may move: a share of a quarter of their distance, as the MMNet scripts draw them."""
    onset, apex, offset = (data.clips[c].to_numpy().astype(np.float64) for c in ("onset", "apex", "offset"))
    rise, fall = jitter * (apex - onset) / 4, jitter * (offset - apex) / 4
    forward = fall if after else np.zeros_like(fall)
    most = [data.arrays["onset"].shape[1] - 1, *[data.arrays["apex"].shape[1] // 2] * 2]
    return np.stack([np.minimum(np.floor(x), m) for x, m in zip((rise, rise, forward), most, strict=True)], 1).astype(
        np.int64
    )


def _fit_classical(
    model: Callable[..., Any], training: Training, data: inputs.Inputs, fold: splits.Fold, classes: int
) -> Outcome:
    from mer_bench import trainer

    # the same floats a network would see, as numpy
    everything = on_device(data, training.setting, "cpu")
    pictures = {
        k: v.numpy() for k, v in trainer.batch(everything, everything.labels.new_tensor(range(len(data.clips)))).items()
    }
    labels = everything.labels.numpy()
    with trainer.seeded(training.task, training.seed, training.fold, "fit"):
        fitted = model(num_classes=classes, **training.setting.options)
        fitted.fit({k: v[fold.train] for k, v in pictures.items()}, labels[fold.train])
        said = []
        for part in (fold.validation, fold.test):
            shown = {k: v[part] for k, v in pictures.items()}
            said.append(np.asarray(fitted.predict_proba(shown))[None] if len(part) else np.zeros((1, 0, classes)))
    if not np.isfinite(said[0]).all():
        raise trainer.Diverged(f"{training.setting.model} gives probabilities that are not finite in {training.fold}")
    return trainer.Outcome(said[0], trainer.spoken(said[1]), "", {})


def _tables(training: Training, clips: pl.DataFrame, fold: splits.Fold, outcome: Outcome) -> dict[str, pl.DataFrame]:
    found = {}
    # what is stored is what is judged: argmax and log-loss see the same rounded probabilities as every later reader
    rounded = [p.astype(np.float16).astype(np.float32) for p in (outcome.validation, outcome.test)]
    for name, summary, rows, said in (
        (predictions.VALIDATION, predictions.FOLDS, fold.validation, rounded[0]),
        (predictions.TEST, predictions.FOLDS_TEST, fold.test, rounded[1]),
    ):
        part = clips[rows]
        labels = part["label"].to_numpy()
        columns = part["clip"].to_list(), part["subject"].to_list(), labels, said
        found[name] = predictions.table(training.seed, training.fold, *columns).sort(predictions.KEYS)
        found[summary] = _summary(training, part["subject"].to_numpy(), labels, said)
    return found


def _summary(training: Training, subjects: np.ndarray, labels: np.ndarray, said: np.ndarray) -> pl.DataFrame:
    """Per epoch: confusion counts, and log-loss summed and clips counted for each subject."""
    epochs, _, classes = said.shape
    names = sorted(set(subjects.tolist()))
    of = np.array([names.index(s) for s in subjects], np.int64)
    rows = []
    for epoch in range(epochs):
        counts = metrics.confusion(labels, said[epoch].argmax(1), classes)
        losses = np.bincount(of, metrics.log_loss(said[epoch], labels), len(names)) if len(of) else np.zeros(0)
        rows.append(
            {
                "seed": training.seed,
                "fold": training.fold,
                "epoch": epoch,
                "counts": counts.ravel().tolist(),
                "subjects": names,
                "losses": losses.tolist(),
                "clips": np.bincount(of, minlength=len(names)).tolist(),
            }
        )
    return pl.DataFrame(rows, schema=FOLDS_SCHEMA)


FOLDS_SCHEMA: dict[str, Any] = {
    "seed": pl.Int32,
    "fold": pl.String,
    "epoch": pl.Int16,
    "counts": pl.List(pl.Int32),
    "subjects": pl.List(pl.String),
    "losses": pl.List(pl.Float64),
    "clips": pl.List(pl.Int32),
}


@functools.lru_cache(maxsize=8)
def _inputs(task: str, view: str) -> inputs.Inputs:
    return inputs.load(task, view)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread per training, so that its numbers do not depend on the machine's load or core count."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _without_state(finished: Finished) -> Finished:
    return Finished(finished.training, finished.tables, finished.weights, finished.seconds, finished.diverged)


def _write_weights(folder: Path, finished: Iterable[Finished]) -> None:
    from safetensors.torch import save_file

    for done in finished:
        if done.state:
            path = (
                folder / "weights" / str(done.training.seed) / (done.training.fold.replace("/", "-") + ".safetensors")
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(done.state), path)


def probe(task: str, setting: Setting, device: str) -> Precision:
    """Number and memory format for a study: a few training steps in each, the cheapest that clearly pays.

    The answer depends on the machine, so it is kept under the cache's home and asked once for a machine, a torch
    version and a setting; two runs on one machine train alike.
    """
    import torch

    from mer_bench import trainer

    if setting.recipe is None:
        return trainer.Precision()
    asked = cache.key(
        {"setting": setting.as_dict(), "device": device, "torch": torch.__version__, "machine": trainer.machine(device)}
    )
    path = cache.home() / "probes" / f"{asked}.json"
    if not path.is_file():
        baseline, classes = catalog.baseline(setting.model), len(catalog.task(task).classes)
        build = functools.partial(baseline.model, num_classes=classes, **setting.options)
        with _one_thread():
            found = trainer.probe(
                build, setting.recipe, on_device(_inputs(task, setting.view), setting, device), classes
            )
        cache.write_text(path, json.dumps(asdict(found)))
    return trainer.Precision(**json.loads(path.read_text()))
