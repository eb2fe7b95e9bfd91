"""Leave one subject out: one training per fold, in this process or spread over a few, written as one pass.

Trainings are values (`fold.Training`), so folds may run in any order and in any process without moving a number.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mer_bench import cache, catalog, predictions, processes, splits
from mer_bench.contracts import MerBenchError, Setting
from mer_bench.fold import Finished, Training, builder, checked, data_of, named, one_thread, train, view_of

if TYPE_CHECKING:
    from mer_bench.trainer import Precision

Tick = Callable[[int, int, str], None]


def folds(task: str, setting: Setting) -> list[str]:
    """Names of a task's folds, sorted: its subjects, or the corpora that it leaves out in turn."""
    asked = catalog.task(task)
    found = splits.loso(view_of(task, setting.view).clips, by=asked.fold, tested=asked.tested)
    return [fold.name for fold in found]


def run_pass(
    trainings: Sequence[Training],
    folder: Path,
    record: Mapping[str, Any],
    *,
    workers: int = 1,
    keep_weights: bool = False,
    tick: Tick | None = None,
) -> list[Finished]:
    """Run trainings and write them as one pass.

    Args:
        trainings: one per seed and fold.
        folder: where the pass goes; it must not exist.
        record: stored in `pass.json` beside what each fold cost.
        workers: processes, one thread each; the tables do not depend on it.
        keep_weights: also write `weights/<seed>/<subject>.safetensors`.
        tick: called with (done, total, fold).

    Raises:
        MerBenchError: every fold diverged.
    """
    finished = []
    for done in _spread(trainings, workers):
        finished.append(done if keep_weights else replace(done, state=None))
        if tick:
            tick(len(finished), len(trainings), done.training.fold)
    finished.sort(key=lambda f: (f.training.seed, f.training.fold))
    if all(f.diverged for f in finished):
        raise MerBenchError(finished[0].diverged)
    write(folder, finished, record)
    return finished


def resume_pass(
    trainings: Sequence[Training],
    folder: Path,
    record: Mapping[str, Any],
    *,
    workers: int = 1,
    tick: Tick | None = None,
) -> None:
    """`run_pass` that keeps each training as it ends, and called again goes on with those that are missing.

    Args:
        trainings: no two of one seed and fold.
        folder: where the pass goes; nothing is done if it is there.
        record, workers, tick: as in `run_pass`.

    Raises:
        MerBenchError: every fold diverged.
    """
    if (folder / predictions.DONE).is_file():
        return
    kept = folder.with_name(f"{folder.name}.folds")
    places = [kept / f"{i:04d}" for i in range(len(trainings))]
    keep(list(zip(places, trainings, strict=True)), workers=workers, tick=tick)
    ends = {path: predictions.record(path)["folds"][0] for path in places}
    good = [path for path, end in ends.items() if not end["diverged"]]
    if not good:
        raise MerBenchError(next(iter(ends.values()))["diverged"])
    folds = sorted(ends.values(), key=lambda end: (end["seed"], end["fold"]))
    predictions.join(good, folder, {**record, "folds": folds})
    shutil.rmtree(kept)


def keep(jobs: Sequence[tuple[Path, Training]], *, workers: int = 1, tick: Tick | None = None) -> None:
    """Run trainings, each written as it ends as a pass of one fold at its place; what is there is not run again.

    Args:
        jobs: places and what to train there.
        workers, tick: as in `run_pass`.
    """
    missing = [job for job in jobs if not (job[0] / predictions.DONE).is_file()]
    processes_for = _processes([training for _, training in missing], workers)
    ended = processes.spread(_keep, missing, processes_for, "training")
    for count, fold in enumerate(ended, len(jobs) - len(missing) + 1):
        if tick:
            tick(count, len(jobs), fold)


def _keep(job: tuple[Path, Training]) -> str:
    place, training = job
    write(place, [replace(train(training), state=None)], {})
    return training.fold


def write(folder: Path, finished: Sequence[Finished], record: Mapping[str, Any]) -> None:
    """Write finished trainings as a pass; diverged folds are on record and have no rows."""
    good = [f for f in finished if not f.diverged]
    tables = {name: pl.concat([f.tables[name] for f in good]) for name in predictions.TABLES} if good else {}
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
    predictions.write_pass(folder, tables, {**record, "folds": parts}, lambda staged: _write_weights(staged, good))


def _write_weights(folder: Path, finished: Sequence[Finished]) -> None:
    from safetensors.torch import save_file

    for done in finished:
        if done.state:
            name = done.training.fold.replace("/", "-") + ".safetensors"
            path = folder / "weights" / str(done.training.seed) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(done.state), path)


def _spread(trainings: Sequence[Training], workers: int) -> Iterator[Finished]:
    return processes.spread(train, trainings, _processes(trainings, workers), "training")


def _processes(trainings: Sequence[Training], workers: int) -> int:
    """How many: classical models share what they make of a clip, and a device is one."""
    classical = all(t.setting.recipe is None for t in trainings)
    here = workers == 1 or classical or any(t.device != "cpu" for t in trainings)
    return 1 if here else workers


def examine(task: str, setting: Setting) -> int | None:
    """Build a setting's model once and show it two clips, before anything is trained.

    Returns:
        Its trainable parameters; None for a model with a `fit` of its own.

    Raises:
        UsageError: `forward` asks for what the view does not hold.
        MerBenchError: its answer has the wrong shape.
    """
    import torch

    from mer_bench import batches, trainer

    classes = len(catalog.task(task).classes)
    with trainer.seeded("examine"), one_thread():
        model = builder(setting, classes)()
        if setting.recipe is None:
            return None
        data = data_of(view_of(task, setting.view), setting, "cpu")
        named(model, setting, data.pictures).eval()
        with torch.no_grad():
            checked(model(**batches.batch(data, torch.arange(2))), setting.model, 2, classes)
    return int(sum(p.numel() for p in model.parameters() if p.requires_grad))


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
        build = builder(setting, len(catalog.task(task).classes))
        with one_thread():
            found = trainer.probe(build, setting.recipe, data_of(view_of(task, setting.view), setting, device))
        cache.write_text(path, json.dumps(asdict(found)))
    return trainer.Precision(**json.loads(path.read_text()))
