"""Leave one subject out: one training per fold, in this process or spread over a few, written as one pass.

Trainings are values (`fold.Training`), so folds may run in any order and in any process without moving a number.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from mer_bench import catalog, predictions, processes, splits
from mer_bench.contracts import MerBenchError, Setting
from mer_bench.pixels import cache
from mer_bench.training.fold import Finished, Training, builder, checked, data_of, named, one_thread, train, view_of

if TYPE_CHECKING:
    from mer_bench.training.trainer import Precision

Tick = Callable[[int, int, str], None]
SAVE_EVERY = 5.0
"""Seconds after which finished trainings are kept on disk: what a killed pass may lose beside those in training."""


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
    workers: processes.Workers = 1,
    keep_weights: bool = False,
    tick: Tick | None = None,
) -> list[dict[str, Any]]:
    """Run trainings and write them as one pass; called again after it was stopped it goes on with those missing.

    Args:
        trainings: one per seed and fold.
        folder: where the pass goes; nothing is trained if it is there. Finished trainings lie `beside` it till then.
        record: stored in `pass.json` beside what each fold cost.
        workers: processes, one thread each, here or elsewhere; the tables do not depend on them.
        keep_weights: also write `weights/<seed>/<subject>.safetensors`.
        tick: called with (done, total, fold).

    Returns:
        What `pass.json` says of each fold, by seed and fold; `diverged` is empty or the reason.

    Raises:
        MerBenchError: every fold diverged.
    """
    if not (folder / predictions.DONE).is_file():
        place = beside(folder)
        there = {(end["seed"], end["fold"]) for end in kept_in(place)}
        missing = [t for t in trainings if (t.seed, t.fold) not in there]
        waiting: list[Finished] = []
        saved = time.monotonic()
        try:
            for count, done in enumerate(_spread(missing, workers), len(there) + 1):
                waiting.append(done if keep_weights else replace(done, state=None))
                if tick:
                    tick(count, len(trainings), done.training.fold)
                if time.monotonic() - saved > SAVE_EVERY and count < len(trainings):
                    waiting, saved = _save(place, waiting), time.monotonic()
        except KeyboardInterrupt:
            _save(place, waiting)
            raise
        _close(folder, place, waiting, record)
    ends: list[dict[str, Any]] = predictions.record(folder)["folds"]
    return ends


def beside(folder: Path) -> Path:
    """Where finished trainings of a pass lie until all are."""
    return folder.with_name(f"{folder.name}.folds")


def kept_in(place: Path) -> list[dict[str, Any]]:
    """The ends of the trainings that a stopped pass left behind."""
    return [end for part in _parts(place) for end in predictions.record(part)["folds"]]


def _parts(place: Path) -> list[Path]:
    return sorted(part for part in place.glob("*") if (part / predictions.DONE).is_file())


def _save(place: Path, waiting: Sequence[Finished]) -> list[Finished]:
    """Write what waits as a part of its own; nothing waits then."""
    if waiting:
        number = max((int(part.name) + 1 for part in _parts(place)), default=0)
        write(place / f"{number:04d}", waiting, {})
    return []


def _close(folder: Path, place: Path, waiting: Sequence[Finished], record: Mapping[str, Any]) -> None:
    """Everything kept, and what waits, as one pass."""
    if _parts(place):
        _save(place, waiting)
        ends = sorted(kept_in(place), key=lambda end: (end["seed"], end["fold"]))
    else:
        ends = [{"diverged": done.diverged} for done in waiting]
    if all(end["diverged"] for end in ends):
        shutil.rmtree(place, ignore_errors=True)
        raise MerBenchError(ends[0]["diverged"])
    if _parts(place):
        predictions.join(_parts(place), folder, {**record, "folds": ends})
        shutil.rmtree(place)
    else:
        write(folder, sorted(waiting, key=lambda done: (done.training.seed, done.training.fold)), record)


def keep(jobs: Sequence[tuple[Path, Training]], *, workers: processes.Workers = 1, tick: Tick | None = None) -> None:
    """Run trainings, each written as it ends as a pass of one fold at its place; what is there is not run again.

    Args:
        jobs: places and what to train there.
        workers, tick: as in `run_pass`.

    Raises:
        MerBenchError: another machine trained one, and its place is not seen here.
    """
    missing = [job for job in jobs if not (job[0] / predictions.DONE).is_file()]
    ended = processes.spread(_keep, missing, _where([training for _, training in missing], workers), "training")
    for count, fold in enumerate(ended, len(jobs) - len(missing) + 1):
        if tick:
            tick(count, len(jobs), fold)
    if lost := [place for place, _ in jobs if not (place / predictions.DONE).is_file()]:
        raise MerBenchError(f"{lost[0]} was trained but is not there; work in a folder that all nodes share")


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
            path = folder / predictions.WEIGHTS / str(done.training.seed) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(dict(done.state), path)


def _spread(trainings: Sequence[Training], workers: processes.Workers) -> Iterator[Finished]:
    return processes.spread(train, trainings, _where(trainings, workers), "training")


def _where(trainings: Sequence[Training], workers: processes.Workers) -> processes.Workers:
    """In this process, if models share what they make of a clip, or a device."""
    classical = all(t.setting.recipe is None for t in trainings)
    here = isinstance(workers, int | processes.Here) and (classical or any(t.device != "cpu" for t in trainings))
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

    from mer_bench.training import batches, trainer

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


def probe(task: str, setting: Setting, device: str, trainings: float = 0, tick: Tick | None = None) -> Precision:
    """Number and memory format for a study: a few training steps in each, the cheapest that clearly pays.

    Where a process is going to train this one setting so many times (`trainings`), for an hour or more, it is also
    asked whether compiling pays; a search trains another network in every trial, and compiles none.

    The answer depends on the machine, so it is kept under the cache's home and asked once for a machine, a torch
    version, a setting and the method's code (an edited file may hold layers that a format breaks); two runs on one
    machine train alike, and so does a copy of a method under another name. `tick` hears of what is timed now, not of
    what is kept.
    """
    import torch

    from mer_bench.training import probes, trainer

    if setting.recipe is None:
        return trainer.Precision()
    about = {"device": device, "torch": torch.__version__, "machine": probes.machine(device)}
    unnamed = {name: value for name, value in setting.as_dict().items() if name != "model"}
    asked = cache.key({"setting": unnamed, "code": catalog.fingerprint(setting.model), **about})
    build, view = builder(setting, len(catalog.task(task).classes)), view_of(task, setting.view)

    def answered(what: str, ask: Callable[..., Any], *more: Any) -> Any:
        path = cache.home() / "probes" / what / f"{asked}.json"
        if not path.is_file():
            told = tick or (lambda done, total, text: None)
            told(0, 1, f"timing {what}")
            with one_thread():
                found = ask(build, setting.recipe, data_of(view, setting, device), *more)
            told(1, 1, f"timing {what}")
            if found is None:
                return None
            cache.write_text(path, json.dumps(asdict(found)))
        return json.loads(path.read_text())

    found = answered("formats", probes.probe)
    precision = trainer.Precision(**found["precision"])
    clips = trainings * setting.recipe.epochs * len(view.clips)
    if clips * found["seconds"] < probes.HOUR or trainer.lacks_compiler(device):
        return precision
    compiling = answered("compiling", probes.compiling, precision)
    return replace(precision, compiled=bool(compiling and probes.Compiling(**compiling).pays(clips, trainings)))
