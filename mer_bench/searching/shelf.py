"""Studies as they lie on disk, read for their pages.

    study/about.json             model, task and folds, written before the first trial
    study/study.json             the question, and its runs
    study/trial-0007/*.json      what was proposed, how it ended
    .../folds.parquet            validation loss of each finished fold; no test row is opened here

Neither the model's code nor the corpus is needed, so that a study can be looked at anywhere, also while it runs.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from mer_bench import predictions
from mer_bench.contracts import MerBenchError, Remark
from mer_bench.pixels import cache
from mer_bench.records.tracking import Finished
from mer_bench.searching.ledger import RUNNING, Ledger, Tried, of_result
from mer_bench.searching.studies import Study
from mer_bench.searching.trials import COMPLETE
from mer_bench.selection import DIGITS, NEIGHBOURS

ABOUT = "about.json"


def introduce(study: Study, model: str) -> None:
    """Put on record what a page says of a study that has not ended."""
    about = {"model": model, "task": study.task, "folds": list(study.folds)}
    cache.write_text(study.folder / ABOUT, json.dumps(about))


def studies(tables: Path, finished: Sequence[Finished]) -> list[Ledger]:
    """Every study: those with a folder, by name, and those of which only a result is left.

    A study whose record cannot be read is left out with a remark.
    """
    found = []
    for path in sorted(tables.glob("*/study.json")):
        try:
            found.append(read(path.parent, finished))
        except MerBenchError as error:
            warnings.warn(str(error), Remark, stacklevel=2)
    known = {run for one in found for run in one.runs}
    return found + [of_result(one) for one in finished if one.result.kind == "search" and one.run_id not in known]


def read(folder: Path, finished: Sequence[Finished] = ()) -> Ledger:
    """One study's folder, and what was concluded of it.

    Raises:
        MerBenchError: a record cannot be read.
    """
    try:
        return _read(folder, finished)
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        cure = "put it back from a copy, or move the folder away"
        raise MerBenchError(f"study {folder.name}: its record cannot be read ({error}); {cure}") from error


def _read(folder: Path, finished: Sequence[Finished]) -> Ledger:
    book = json.loads((folder / "study.json").read_text())
    about = json.loads((folder / ABOUT).read_text()) if (folder / ABOUT).is_file() else {}
    places = sorted(folder.glob("trial-*"), key=lambda path: int(path.name.split("-")[1]))
    trials = [one for path in places if (one := _tried(path)) is not None]
    parts = {n: _parts(folder / f"trial-{n:04d}") for n in (one.number for one in trials)}
    rows = _losses(parts)
    order = tuple(about.get("folds") or _order(folder, trials, rows))
    mine = [one for one in finished if one.run_id in {run["run_id"] for run in book["runs"].values()}]
    newest = max(mine, key=lambda one: (one.result.trials or 0, one.started), default=None)
    runs = sorted(book["runs"].values(), key=lambda run: -run["trials"])
    return Ledger(
        name=folder.name,
        model=about.get("model") or (newest.result.model if newest else Path(_published(book)).name or folder.name),
        task=about.get("task") or (newest.result.task if newest else ""),
        question=book["question"],
        folds=order,
        total=max(len(order), newest.result.folds_total if newest else 0),
        tried=tuple(_with_losses(one, rows.get(one.number, {}), order) for one in trials),
        asked=runs[0]["trials"] if runs else len(trials),
        done=bool(runs) and bool(runs[0]["done"]) and newest is not None,
        runs=tuple(run["run_id"] for run in runs),
        command=runs[0].get("command", "") if runs else "",
        finished=newest,
        journal=folder / "optuna.log",
    )


def _tried(folder: Path) -> Tried | None:
    """A trial's proposal and end; None for a folder that nothing was proposed in."""
    if not (folder / "proposal.json").is_file():
        return None
    number, end = int(folder.name.split("-")[1]), folder / "ended.json"
    if not end.is_file():
        return Tried(number, json.loads((folder / "proposal.json").read_text()), RUNNING)
    told = json.loads(end.read_text())
    score = told["inner_uf1"] if told["state"] == COMPLETE else None
    return Tried(number, told["values"], told["state"], told["reason"], score, told["folds"], told["seconds"])


def _parts(folder: Path) -> list[Path]:
    """The passes that hold a trial's finished folds: one if it has ended, else one a fold."""
    found = [folder / "pass"] if (folder / "pass").is_dir() else sorted((folder / "folds").glob("*"))
    return [part for part in found if (part / predictions.DONE).is_file()]


def _losses(parts: Mapping[int, Sequence[Path]]) -> dict[int, dict[str, tuple[float, int]]]:
    """Trial -> fold -> (the loss that `selection.inner` chooses by, epochs), of many trials at once."""
    each = pl.col("losses").list.sum() / pl.col("clips").list.sum()
    # a fold that diverged is on record without rows
    frames = [
        pl.read_parquet(part / predictions.FOLDS).select(pl.lit(trial).alias("trial"), "fold", "epoch", loss=each)
        for trial, some in parts.items()
        for part in some
        if (part / predictions.FOLDS).is_file()
    ]
    if not frames:
        return {}
    near = [pl.col("loss").shift(by).over("trial", "fold") for by in range(-NEIGHBOURS, NEIGHBOURS + 1)]
    rows = (
        pl.concat(frames)
        .sort("trial", "fold", "epoch")
        .with_columns(pl.mean_horizontal(near).round(DIGITS).alias("loss"))
    )
    found: dict[int, dict[str, tuple[float, int]]] = {}
    for trial, fold, loss, epochs in rows.group_by("trial", "fold").agg(pl.col("loss").min(), pl.len()).iter_rows():
        found.setdefault(trial, {})[fold] = (loss, epochs)
    return found


def _order(folder: Path, trials: Sequence[Tried], rows: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """The fold order of a study recorded without it: the longest pass keeps its folds in their order."""
    longest = max(rows, key=lambda number: (len(rows[number]), -number), default=None)
    if longest is None:
        return []
    parts = _parts(folder / f"trial-{longest:04d}")
    return list(dict.fromkeys(f["fold"] for part in parts for f in predictions.record(part)["folds"]))


def _with_losses(one: Tried, rows: Mapping[str, tuple[float, int]], order: Sequence[str]) -> Tried:
    place = {fold: at for at, fold in enumerate(order)}
    losses = {place[fold]: loss for fold, (loss, _) in rows.items() if fold in place and math.isfinite(loss)}
    epochs = max((count for _, count in rows.values()), default=0)
    return replace(one, losses=losses, epochs=epochs, folds=max(one.folds, len(rows)))


def _published(book: Mapping[str, Any]) -> str:
    return str((book["question"].get("published") or {}).get("model", ""))
