"""What a study's records say, finished or not: the small numbers that its page draws. `shelf` reads them.

Ledger ─► tried (one a trial: values, state, loss by fold) ─► pictures, tables
       └► finished (its newest result: rules, choices, hindsight)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mer_bench import catalog
from mer_bench.contracts import MerBenchError
from mer_bench.records.scores import Result
from mer_bench.records.tracking import Finished
from mer_bench.searching.trials import COMPLETE, FAIL, PRUNED

RUNNING = "RUNNING"
STATES = {COMPLETE: "finished", PRUNED: "dropped", FAIL: "failed", RUNNING: "not ended"}


@dataclass(frozen=True)
class Tried:
    """One trial on record.

    Attributes:
        number, values, reason, seconds: as in `trials.Ended`.
        state: COMPLETE, PRUNED, FAIL, or RUNNING for one that has not ended.
        inner_uf1: None unless it finished all folds.
        folds: finished ones.
        epochs: of one fold's training; 0 if not known.
        losses: place of the fold in the study's order -> validation loss; a fold that diverged has none.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    reason: str = ""
    inner_uf1: float | None = None
    folds: int = 0
    seconds: float = 0.0
    epochs: int = 0
    losses: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ledger:
    """One study.

    Attributes:
        name: of its folder.
        model, task: what was searched, on what.
        question: what decides its trials.
        folds: in the study's order, as far as trials have gone.
        total: how many folds a trial has; 0 if not known.
        tried: its trials, by number.
        asked: how many were asked for.
        done: whether the newest run of it is finished.
        runs: ids of its runs.
        command: what was typed for the run of most trials; empty where that is not on record.
        finished: its newest finished run, None while there is none.
        journal: Optuna's, if there is a folder.
    """

    name: str
    model: str
    task: str
    question: Mapping[str, Any]
    folds: tuple[str, ...]
    total: int
    tried: tuple[Tried, ...]
    asked: int
    done: bool
    runs: tuple[str, ...] = ()
    command: str = ""
    finished: Finished | None = None
    journal: Path | None = None

    @property
    def result(self) -> Result | None:
        """What its rules concluded."""
        return self.finished.result if self.finished else None

    @property
    def banner(self) -> str:
        """Words that stand beside every number."""
        if self.result:
            return self.result.banner
        try:
            return catalog.task(self.task).banner
        except MerBenchError:
            return ""

    @property
    def counts(self) -> dict[str, int]:
        """Trials by how they ended; states that no trial has are left out."""
        found = {state: sum(one.state == state for one in self.tried) for state in STATES}
        return {state: count for state, count in found.items() if count}

    @property
    def whole(self) -> list[Tried]:
        """Trials that finished all folds with a score."""
        return [one for one in self.tried if one.inner_uf1 is not None]

    @property
    def effort(self) -> tuple[int, int]:
        """Fold-epochs trained, and those that the same trials would take if none were dropped."""
        ended = [one for one in self.tried if one.state != RUNNING]
        if any(one.folds for one in ended):
            published = (self.question.get("published") or {}).get("recipe") or {}
            epochs = [one.epochs or int(published.get("epochs", 1)) for one in ended]
            trained = sum(one.folds * each for one, each in zip(ended, epochs, strict=True))
            return trained, self.total * sum(epochs)
        told = self.result.effort if self.result else {}
        return told.get("fold_epochs", 0), told.get("fold_epochs_unraced", 0)

    @property
    def choices(self) -> tuple[str, Mapping[str, tuple[int, int]]]:
        """The headline's rule, and fold -> (trial, epoch) that it chose; empty while nothing was chosen."""
        record = self.result.evidence if self.result else None
        return next(iter(record.choices.items()), ("", {})) if record else ("", {})

    @property
    def chosen(self) -> list[tuple[int, list[str]]]:
        """(trial, its folds) of the headline's choices, most folds first."""
        found: dict[int, list[str]] = {}
        for fold, (trial, _) in sorted(self.choices[1].items()):
            found.setdefault(trial, []).append(fold)
        return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def of_result(found: Finished) -> Ledger:
    """A study of which its result alone is left."""
    result = found.result
    record = result.evidence.trials if result.evidence else ()
    tried = tuple(
        Tried(one.number, one.values, _state(one.inner_uf1, one.error), one.error, one.inner_uf1, 0, one.seconds)
        for one in record
    )
    name = f"{result.model.replace(':', '-')}-{result.task}-{found.run_id[:8]}"
    asked, total = result.trials or len(tried), result.folds_total
    return Ledger(
        name, result.model, result.task, result.question, (), total, tried, asked, True, (found.run_id,), finished=found
    )


def _state(score: float | None, reason: str) -> str:
    return COMPLETE if score is not None else PRUNED if reason.startswith("worse than") else FAIL
