"""Everything on record: runs and studies, whatever became of them; found, told and removed.

    MLflow's runs      kind, model, task, how it ended, headline   ┐
    tables/<study>/    study.json, ended trials, a held lock       ┴─► Recorded, newest first

A study that is being searched holds a lock on its folder, and a run one on its own, which the system drops when their
process dies: what MLflow believes to be running and holds no lock was interrupted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mer_bench import selection
from mer_bench.answering import scoring, watching
from mer_bench.answering.book import Book
from mer_bench.contracts import UsageError
from mer_bench.pixels import cache
from mer_bench.records import tracking

FINISHED, RUNNING, INTERRUPTED, FAILED = "finished", "running", "interrupted", "failed"
RULES = (*selection.STUDY_RULES, *selection.RUN_RULES, selection.GIVEN, scoring.RULE)
SEARCH = "search"


@dataclass(frozen=True)
class Recorded:
    """A run or study on record.

    Attributes:
        run_id: MLflow's; empty for a study's folder that MLflow knows nothing of.
        kind: run, search or score.
        model, task: what was evaluated on what.
        status: finished, running, interrupted or failed.
        started: when (UTC), if known.
        reason: why it did not finish.
        headline: the rule that speaks first; empty if it did not finish.
        uf1: rule -> UF1, in the project's order.
        interval: of the headline.
        done, total: trials of a study.
        strictness: of a study: strict or adaptive.
        study: its name.
        folder: where its tables are.
        command: of a study, the line that asks for it.
    """

    run_id: str
    kind: str
    model: str
    task: str
    status: str
    started: datetime | None = None
    reason: str = ""
    headline: str = ""
    uf1: Mapping[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    done: int | None = None
    total: int | None = None
    strictness: str = ""
    study: str = ""
    folder: Path = Path()
    command: str = ""

    @property
    def name(self) -> str:
        """What the commands call it: a study by its folder, a run by the beginning of its id."""
        return self.study or self.run_id[:12]

    @property
    def rule(self) -> str:
        """The headline as it stands beside a number: `nested, strict`."""
        return ", ".join(filter(None, [self.headline, self.strictness if self.headline.startswith("nested") else ""]))

    @property
    def cure(self) -> str:
        """How to go on with it, or to have it again."""
        if self.kind == SEARCH and self.status in (INTERRUPTED, FAILED):
            return f"{self.command} --resume" if self.command else "the same search with --resume"
        if self.status == FINISHED and self.kind != scoring.KIND:
            more = f"; more trials: {self.command} with a larger --trials" if self.command else ""
            return f"mer-bench reproduce {self.run_id[:12]}{more}"
        return "type the same command again: it goes on where it was stopped" if self.status != RUNNING else ""

    def as_json(self) -> dict[str, Any]:
        """One entry of `--json`."""
        plain = {name: getattr(self, name) for name in ("run_id", "kind", "model", "task", "status", "reason", "study")}
        return {
            **plain,
            "started": self.started.isoformat() if self.started else None,
            "headline": self.headline,
            "strictness": self.strictness,
            "uf1": dict(self.uf1),
            "uf1_interval": list(self.interval) if self.interval else None,
            "trials_done": self.done,
            "trials": self.total,
            "folder": str(self.folder),
            "command": self.command,
        }


def everything(tracker: tracking.Tracker) -> list[Recorded]:
    """All that is on record in this store and below `mlruns/tables`, newest first."""
    books = {folder.name: book for folder in watching.studies() if (book := Book.read(folder))}
    found = [_of_run(run, books) for run in tracker.every()]
    known = {one.study for one in found}
    found += [_of_folder(book) for name, book in books.items() if name not in known]
    return sorted(found, key=lambda one: (one.started is not None, one.started, one.run_id), reverse=True)


def find(name: str, among: Sequence[Recorded]) -> list[Recorded]:
    """What a name means: one run by the beginning of its id, or every run of a study by its name or folder.

    Raises:
        UsageError: nothing, or several runs.
    """
    stem = Path(name).resolve().name if name and Path(name).is_dir() else name
    of_study = [one for one in among if one.study and one.study == stem]
    if of_study:
        return of_study
    found = [one for one in among if stem and one.run_id.startswith(stem)]
    if len(found) != 1:
        many = f"{len(found)} runs begin with {name!r}: {', '.join(one.run_id[:12] for one in found[:5])}"
        raise UsageError(many if found else f"no run or study {name!r}; mer-bench runs list")
    return found


def _of_run(run: Any, books: Mapping[str, Book]) -> Recorded:
    tags, metrics = run.data.tags, run.data.metrics
    kind, study = tags.get("mer_bench.kind", ""), tags.get("mer_bench.study", "")
    book, headline = books.get(study), tags.get("mer_bench.headline", "")
    folder = book.folder if book else Path(tags.get("mer_bench.tables") or tracking.tables() / run.info.run_id)
    entry: Mapping[str, Any] = {}
    if book:
        entry = next((e for e in book.runs.values() if e["run_id"] == run.info.run_id), {})
    total = entry.get("trials", metrics.get("trials"))
    ends = tuple(metrics.get(f"{headline}.uf1.{end}") for end in ("low", "high"))
    return Recorded(
        run_id=run.info.run_id,
        kind=kind,
        model=tags.get("mer_bench.model", ""),
        task=tags.get("mer_bench.task", ""),
        status=_status(run, folder),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        reason=tags.get("mer_bench.reason", ""),
        headline=headline,
        uf1={rule: metrics[f"{rule}.uf1"] for rule in RULES if f"{rule}.uf1" in metrics},
        interval=None if None in ends else (ends[0], ends[1]),
        done=None if total is None else _ended(folder, int(total)),
        total=None if total is None else int(total),
        strictness=tags.get("mer_bench.strictness", ""),
        study=study,
        folder=folder,
        command=entry.get("command", ""),
    )


def _status(run: Any, folder: Path) -> str:
    if run.info.status == "RUNNING":
        return RUNNING if cache.held(folder) else INTERRUPTED
    if run.data.tags.get("mer_bench.scored") == "yes":
        return FINISHED
    return INTERRUPTED if run.info.status == "KILLED" else FAILED


def _of_folder(book: Book) -> Recorded:
    """A study that the store does not know: of another store, or its runs were deleted there."""
    total = max((run["trials"] for run in book.runs.values()), default=0)
    about = watching.facts(book.folder)
    return Recorded(
        run_id="",
        kind=SEARCH,
        model=about["model"],
        task=about["task"],
        status=RUNNING if cache.held(book.folder) else INTERRUPTED,
        reason="not in this MLflow store",
        done=_ended(book.folder, total),
        total=total,
        study=book.folder.name,
        folder=book.folder,
    )


def _ended(folder: Path, total: int) -> int:
    return sum(int(path.parent.name[-4:]) < total for path in folder.glob("trial-*/ended.json"))


def question(tracker: tracking.Tracker, one: Recorded) -> Mapping[str, Any]:
    """What was asked, also of a run that did not finish."""
    book = Book.read(one.folder) if one.study else None
    if not one.run_id:
        return book.question if book else {}
    found: Mapping[str, Any] = json.loads(tracker.read_text(one.run_id, "question.json"))
    return found


def remove(tracker: tracking.Tracker, one: Recorded, among: Sequence[Recorded], whole: bool = False) -> str:
    """Remove a run: its tables, its artifacts, its entry in MLflow; last the entry, so that a stop is made good.

    A run that is one of several answers of a study leaves the trials to the others.

    Args:
        tracker: the store.
        one: what to remove.
        among: all that is on record.
        whole: remove the study with all its answers.

    Returns:
        What was removed, in words.
    """
    others = [other for other in among if one.study and other.study == one.study and other.run_id != one.run_id]
    if others and not whole:
        book = Book.read(one.folder)
        if book:
            book.forgotten(one.run_id).write()
        for run_id in tracker.trial_runs(parent=one.run_id):
            tracker.client.set_tag(run_id, "mlflow.parentRunId", others[0].run_id)
        tracker.remove(one.run_id)
        return f"one answer of {one.study}; its trials stay with {len(others)} more"
    if one.folder.name in (one.run_id, one.study):
        _delete(one.folder)
    trials = tracker.trial_runs(study=one.study) if one.study else []
    for run_id in filter(None, [*trials, *(other.run_id for other in others), one.run_id]):
        tracker.remove(run_id)
    return f"{one.study}: {len(trials)} trials, {len(others) + 1} answers" if one.study else f"run {one.run_id[:12]}"


def _delete(folder: Path) -> None:
    """Remove a folder of tables and its lock: renamed first, so that no half of it is ever read."""
    if folder.is_dir():
        gone = folder.with_name(f".removing-{folder.name}")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)
    folder.with_name(f".{folder.name}.lock").unlink(missing_ok=True)
