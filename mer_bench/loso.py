"""Leave one subject out: one training per fold, in this process or spread over a few, written as one pass.

Trainings are values (`fold.Training`), so folds may run in any order and in any process without moving a number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mer_bench import cache, catalog, predictions, processes
from mer_bench.contracts import MerBenchError, Setting
from mer_bench.fold import Finished, Training, builder, checked, data_of, named, one_thread, train, view_of

if TYPE_CHECKING:
    from mer_bench.trainer import Precision

Tick = Callable[[int, int, str], None]


def folds(task: str, setting: Setting) -> list[str]:
    """Names of a task's folds: its subjects, sorted."""
    return sorted(view_of(task, setting.view).clips["subject"].unique().to_list())


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
    write(folder, finished, record)
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
    classical = all(t.setting.recipe is None for t in trainings)
    here = workers == 1 or classical or trainings[0].device != "cpu"
    return processes.spread(train, trainings, 1 if here else workers, "training")


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
