"""Trials on disk: what was proposed, each finished fold, how the trial ended. The record is the truth of a study.

A trial that stops anywhere goes on from its finished folds; Ray's and Optuna's memory is rebuilt from here.

    study/study.json                   the resolved question, and the run that it is recorded under
    study/trial-0007/proposal.json     values, written before the first fold
    study/trial-0007/folds/<n>/        a finished fold: a pass of one fold; n is its place in the study's fold order
    study/trial-0007/folds/<n>.begun   the worker that has it, a line each time it began; for this driver's time only
    study/trial-0007/pass/             all finished folds as one pass, when the trial has ended
    study/trial-0007/ended.json        COMPLETE, PRUNED or FAIL, with the reason; written last
    study/trial-0007/seed-1/<fold>/    a fold of a finalist as trained with a further seed, see `finals`

Every file appears whole or not at all, and of two that write the same one the first stands, so a worker that outlives
its driver, or is thought dead while it is only cut off, does no harm.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mer_bench import predictions, selection
from mer_bench.contracts import MerBenchError
from mer_bench.pixels import cache
from mer_bench.searching.studies import Study
from mer_bench.training import loso
from mer_bench.training.fold import Edited, Finished, Training, train, view_of

COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"
DEATHS = 3
ERROR = "error.txt"


@dataclass(frozen=True)
class Ended:
    """How a trial ended.

    Attributes:
        number: the trial's.
        values: what was proposed.
        state: COMPLETE, PRUNED or FAIL (Optuna's words).
        reason: why it was not completed, or which error lost some of its folds.
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


def prepare(study: Study, number: int) -> None:
    """Have a trial's inputs ready on this node: drawn and cropped once there, then read from its disk."""
    view_of(study.task, study.space.setting(values(study, number) or {}, study.scale).view)


def run_fold(study: Study, number: int, place: int, worker: str = "") -> FoldRecord | None:
    """The fold at `place` in the study's fold order, trained unless it is on record; None if another worker has it.

    A fold in which its worker died again and again is lost, as one that diverged is; in a race its trial ends.

    Raises:
        MerBenchError: this worker died in it again and again in a race, or the training cannot be done.
    """
    path = _place(study, number, place)
    if not (path / predictions.DONE).is_file():
        deaths = _claim(path.with_suffix(".begun"), worker)
        if deaths is None:
            return None
        given = values(study, number)
        assert given is not None
        training = study.training(study.folds[place], given)
        died = f"the worker died {deaths} times in fold {study.folds[place]}; is there memory enough?"
        if deaths >= DEATHS and study.racing:
            raise MerBenchError(died)
        lost = Finished(training, {}, "", 0.0, diverged=died) if deaths >= DEATHS else None
        done = replace(lost or _trained(study, number, training), state=None)
        _first_stands(path, lambda: loso.write(path, [done], {"trial": number}))
    return fold_record(path)


def _trained(study: Study, number: int, training: Training) -> Finished:
    """One fold's training. Without racing an error loses this fold alone, as divergence does.

    Ended by it, the trial would be no candidate of other folds either, and these train on this fold's clips without
    being allowed a say in one another (a strict study's promise).
    """
    try:
        return train(training)
    except (Exception, SystemExit) as error:
        if study.racing or isinstance(error, Edited):
            raise
        cache.write_text(folder(study, number) / ERROR, traceback.format_exc())
        return Finished(training, {}, "", 0.0, diverged=told(error))


def told(error: BaseException) -> str:
    """An error in one line: its kind, and the first line of what it says if it says anything."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def _place(study: Study, number: int, place: int) -> Path:
    return folder(study, number) / "folds" / f"{place:03d}"


def _claim(note: Path, worker: str) -> int | None:
    """Take a fold; how often this worker took it before and never finished, None if another one has it."""
    if cache.write_new(note, f"{worker}\n", flush=False):
        return 0
    before = note.read_text().splitlines()
    if before[0] != worker:
        return None
    cache.write_text(note, f"{worker}\n" * (len(before) + 1))
    return len(before)


def _first_stands(path: Path, write: Callable[[], None]) -> None:
    """Write a pass, or leave the one that another worker wrote there meanwhile: it says the same."""
    try:
        write()
    except (MerBenchError, OSError):
        if not (path / predictions.DONE).is_file():
            raise


def time_left(study: Study, number: int) -> float | None:
    """Seconds that a trial has left of the study's limit, its time counted from its first fold under this driver."""
    if study.timeout is None:
        return None
    note = folder(study, number) / "began"
    cache.write_new(note, repr(time.time()))
    return float(note.read_text()) + study.timeout - time.time()


def forget_attempts(study: Study) -> None:
    """Forget who began what and when, because a new driver takes over; finished folds stay."""
    for note in (*study.folder.glob("trial-*/folds/*.begun"), *study.folder.glob("trial-*/began")):
        note.unlink(missing_ok=True)
    for unfinished in study.folder.glob("trial-*/**/.writing-*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def clear(study: Study) -> None:
    """Remove the folds of ended trials, which nobody needs, where a driver died while it did so."""
    for end in study.folder.glob("trial-*/ended.json"):
        shutil.rmtree(end.with_name("folds"), ignore_errors=True)


def fold_record(path: Path) -> FoldRecord:
    """What a fold's record says of its loss."""
    part = predictions.record(path)["folds"]
    diverged = next((f["diverged"] for f in part if f["diverged"]), "")
    if diverged:
        return FoldRecord(None, diverged)
    (choice,) = selection.inner(path).values()
    return FoldRecord(choice.loss, "")


def finish(study: Study, number: int) -> Ended | None:
    """End a trial as complete if all its folds are on record; how it ended, None if it has not."""
    end = ended(study, number)
    if end is None and all((_place(study, number, i) / predictions.DONE).is_file() for i in range(len(study.folds))):
        end = close(study, number, COMPLETE)
    if end is not None:
        shutil.rmtree(folder(study, number) / "folds", ignore_errors=True)
    return end


def close(study: Study, number: int, state: str, reason: str = "") -> Ended:
    """End a trial: its folds become one pass, and the end is put on record; one that has ended stays as it ended.

    A fold that diverged is on record without rows and the other folds count: what happens in one fold must not decide
    about another. The trial's objective is then 0.
    """
    before = ended(study, number)
    if before is None:
        try:
            _close(study, number, state, reason)
        except (MerBenchError, OSError):
            # another worker, or the driver, may have ended it meanwhile and cleared its folds away
            if ended(study, number) is None:
                raise
        before = ended(study, number)
        assert before is not None
    return before


def _close(study: Study, number: int, state: str, reason: str) -> None:
    parts = sorted(p for p in (folder(study, number) / "folds").glob("*") if (p / predictions.DONE).is_file())
    whole, uf1 = passed(study, number), 0.0
    given = values(study, number) or {}
    records = [predictions.record(part) for part in parts]
    folds = [f for record in records for f in record["folds"]]
    good = [p for p, r in zip(parts, records, strict=True) if not any(f["diverged"] for f in r["folds"])]
    if good:
        _join(good, whole, {"trial": number, "values": given, "folds": folds})
        uf1 = 0.0 if len(good) < len(parts) else selection.inner_uf1(whole)
        if state == COMPLETE and (folder(study, number) / ERROR).is_file():
            last = (folder(study, number) / ERROR).read_text().strip().splitlines()[-1]
            reason = f"{len(parts) - len(good)} of {len(parts)} folds lost: {last}"
    elif state == COMPLETE:
        state, reason = FAIL, next((f["diverged"] for f in folds), "no fold finished")
    end = Ended(number, given, state, reason, uf1, len(parts), sum(f["seconds"] for f in folds))
    cache.write_new(folder(study, number) / "ended.json", json.dumps(asdict(end), sort_keys=True))
    shutil.rmtree(folder(study, number) / "folds", ignore_errors=True)


def _join(parts: Sequence[Path], whole: Path, record: Mapping[str, Any]) -> None:
    """One pass of these folds; one of other folds was left by a closing that died before the end was on record."""
    if (whole / predictions.DONE).is_file() and predictions.record(whole)["folds"] != record["folds"]:
        stale = whole.with_name(f".writing-{secrets.token_hex(4)}")
        whole.rename(stale)
        shutil.rmtree(stale)
    if not whole.exists():
        _first_stands(whole, lambda: predictions.join(parts, whole, record))


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
