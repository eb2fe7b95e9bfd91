"""Trials on disk: what was proposed, each finished fold, how the trial ended. The record is the truth of a study.

A trial that stops anywhere goes on from its finished folds; Ray's and Optuna's memory is rebuilt from here.

    study/study.json                   the resolved question, and the run that it is recorded under
    study/trial-0007/proposal.json     values, written before the first fold
    study/trial-0007/folds/<n>/        a finished fold: a pass of one fold; n is its place in the study's fold order
    study/trial-0007/pass/             all finished folds as one pass, when the trial has ended
    study/trial-0007/ended.json        COMPLETE, PRUNED or FAIL, with the reason; written last
    study/trial-0007/seed-1/<fold>/    a fold of a finalist as trained with a further seed, see `finals`

Every file appears whole or not at all, and writing one again writes the same, so a worker that outlives its driver for
a moment does no harm.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mer_bench import cache, loso, predictions, selection
from mer_bench.contracts import MerBenchError
from mer_bench.fold import train
from mer_bench.studies import Study

COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"
DEATHS = 3


@dataclass(frozen=True)
class Ended:
    """How a trial ended.

    Attributes:
        number: the trial's.
        values: what was proposed.
        state: COMPLETE, PRUNED or FAIL (Optuna's words).
        reason: why it was not completed.
        inner_uf1: pooled inner-validation UF1; of a dropped trial over the folds it finished; 0 if a fold diverged.
        folds: finished folds.
        seconds: of training.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    reason: str
    inner_uf1: float
    folds: int
    seconds: float


def folder(study: Study, number: int) -> Path:
    """Where a trial is."""
    return below(study.folder, number)


def below(place: Path, number: int) -> Path:
    """Where a trial of the study in `place` is."""
    return place / f"trial-{number:04d}"


def passed(study: Study, number: int) -> Path:
    """The pass of an ended trial."""
    return folder(study, number) / "pass"


def propose(study: Study, number: int, values: Mapping[str, Any]) -> None:
    """Put a proposal on record, before anything is trained for it."""
    cache.write_text(folder(study, number) / "proposal.json", json.dumps(dict(values), sort_keys=True))


def values(study: Study, number: int) -> dict[str, Any] | None:
    """What was proposed, or None if nothing was."""
    path = folder(study, number) / "proposal.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def proposed(study: Study) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every proposal on record among the study's first `trials`, in order; a study asked for fewer sees no more."""
    for number in range(study.trials):
        found = values(study, number)
        if found is None:
            return
        yield number, found


def ended(study: Study, number: int) -> Ended | None:
    """How a trial ended, or None while it has not."""
    path = folder(study, number) / "ended.json"
    return Ended(**json.loads(path.read_text())) if path.is_file() else None


def everything(study: Study) -> list[Ended]:
    """Every ended trial among the study's first `trials`, by number."""
    return [found for number, _ in proposed(study) if (found := ended(study, number)) is not None]


def candidates(study: Study) -> dict[int, Path]:
    """Passes of the trials that may be chosen: those that nobody dropped and that did not fail, by number."""
    return {found.number: passed(study, found.number) for found in everything(study) if found.state == COMPLETE}


@dataclass(frozen=True)
class FoldRecord:
    """A finished fold of a trial: its smoothed best inner loss, or why it has none."""

    loss: float | None
    diverged: str


def run_fold(study: Study, number: int, place: int) -> FoldRecord:
    """The fold at `place` in the study's fold order, trained unless it is on record."""
    path = folder(study, number) / "folds" / f"{place:03d}"
    if not (path / predictions.DONE).is_file():
        deaths = _begin(path)
        if deaths >= DEATHS:
            raise MerBenchError(f"the worker died {deaths} times in fold {study.folds[place]}; is there memory enough?")
        given = values(study, number)
        assert given is not None
        loso.write(path, [train(study.training(study.folds[place], given))], {"trial": number})
    return fold_record(path)


def _begin(path: Path) -> int:
    """Note that a fold is begun; how often it was begun before and never finished."""
    note = path.with_suffix(".begun")
    before = len(note.read_text()) if note.is_file() else 0
    cache.write_text(note, "." * (before + 1))
    return before


def fold_record(path: Path) -> FoldRecord:
    """What a fold's record says of its loss."""
    part = predictions.record(path)["folds"]
    diverged = next((f["diverged"] for f in part if f["diverged"]), "")
    if diverged:
        return FoldRecord(None, diverged)
    (choice,) = selection.inner(path).values()
    return FoldRecord(choice.loss, "")


def close(study: Study, number: int, state: str, reason: str = "") -> Ended:
    """End a trial: its folds become one pass, and the end is put on record.

    A fold that diverged is on record without rows and the other folds count: what happens in one fold must not decide
    about another. The trial's objective is then 0.
    """
    before = ended(study, number)
    if before is not None:
        return before
    parts = sorted(p for p in (folder(study, number) / "folds").glob("*") if (p / predictions.DONE).is_file())
    whole, uf1 = passed(study, number), 0.0
    given = values(study, number) or {}
    records = [predictions.record(part) for part in parts]
    folds = [f for record in records for f in record["folds"]]
    good = [p for p, r in zip(parts, records, strict=True) if not any(f["diverged"] for f in r["folds"])]
    if good:
        if not whole.exists():
            predictions.join(good, whole, {"trial": number, "values": given, "folds": folds})
        uf1 = 0.0 if len(good) < len(parts) else selection.inner_uf1(whole)
    elif state == COMPLETE:
        state, reason = FAIL, next((f["diverged"] for f in folds), "no fold finished")
    end = Ended(number, given, state, reason, uf1, len(parts), sum(f["seconds"] for f in folds))
    cache.write_text(folder(study, number) / "ended.json", json.dumps(asdict(end), sort_keys=True))
    shutil.rmtree(folder(study, number) / "folds", ignore_errors=True)
    return end


def losses(study: Study, number: int) -> dict[int, float]:
    """Fold place -> loss of a trial's finished folds."""
    path = passed(study, number)
    if path.is_dir():
        places = {name: place for place, name in enumerate(study.folds)}
        return {places[fold]: choice.loss for (_, fold), choice in selection.inner(path).items()}
    found = {}
    for part in sorted((folder(study, number) / "folds").glob("*")):
        if (part / predictions.DONE).is_file() and (loss := fold_record(part).loss) is not None:
            found[int(part.name)] = loss
    return found


def effort(study: Study, ends: Sequence[Ended]) -> dict[str, int]:
    """Trials by how they ended, fold-epochs trained, and what all these trials would take if none were dropped."""
    found = {state.lower(): sum(end.state == state for end in ends) for state in (COMPLETE, PRUNED, FAIL)}
    epochs = {end.number: _epochs(study, end) for end in ends}
    trained = sum(end.folds * epochs[end.number] for end in ends)
    return found | {"fold_epochs": trained, "fold_epochs_unraced": len(study.folds) * sum(epochs.values())}


def _epochs(study: Study, end: Ended) -> int:
    recipe = study.space.setting(end.values, study.scale).recipe
    return recipe.epochs if recipe else 1
