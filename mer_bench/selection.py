"""Selection has a name and happens afterwards, over stored predictions.

A rule takes finished passes and says which epoch (and trial) speaks for each fold. The honest rules read validation
rows alone; the oracles read the test rows and exist so that published numbers can be compared. This module breaks the
seal of a pass, and `hindsight` does, which chooses nothing.

    rule                  reads         chooses
    last                  nothing       the end of the schedule
    inner                 validation    each fold's epoch
    nested, shared        validation    each fold's trial and epoch; one trial for all folds and each fold's epoch
    given-weights         nothing       nothing here; what its files' makers chose by is not known
    oracle-*              test          see the functions
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from mer_bench import metrics, predictions
from mer_bench.contracts import MerBenchError

RUN_RULES = ("last", "inner", "oracle-epoch", "oracle-global-epoch", "oracle-mmnet")
STUDY_RULES = ("nested", "nested-no-refit", "shared", "shared-no-refit", "oracle-trial")
GIVEN = "given-weights"
"""Of weights from files: they speak as they are, and how they were chosen is not known."""
SELF_REPORTED = "self-reported"
"""Of predictions from files, likewise."""
UNVERIFIED = (GIVEN, SELF_REPORTED)
"""What was made elsewhere stands below what was made here, and is compared with nothing."""
NEIGHBOURS = 1
DIGITS = 9
"""Scores and losses that differ by less are ties; else the last bit of a mean, which depends on its order, decides."""


@dataclass(frozen=True)
class Choice:
    """What speaks for one fold: a trial (0 in a run of one recipe), an epoch, and the loss that chose them."""

    trial: int
    epoch: int
    loss: float


@dataclass(frozen=True)
class Chosen:
    """The test rows a rule lets speak: one row per (seed, clip), with `prediction`.

    `accuracy_rows` differs from `rows` for `oracle-mmnet` alone, whose accuracy and F1 come from different epochs.
    `stand_ins` counts trainings that diverged when repeated, whose fold speaks as it was trained before.
    """

    rows: pl.DataFrame
    accuracy_rows: pl.DataFrame
    stand_ins: int = 0

    def without(self, folds: Collection[str]) -> Chosen:
        """The same less the rows of some folds, of every seed."""
        kept = ~pl.col("fold").is_in(list(folds))
        return replace(self, rows=self.rows.filter(kept), accuracy_rows=self.accuracy_rows.filter(kept))


def is_leaky(rule: str) -> bool:
    """Whether a rule looks at the test subject."""
    return rule.startswith("oracle")


def curves(folder: Path) -> pl.DataFrame:
    """Validation record of a pass: per (seed, fold, epoch) `loss` (mean log-loss over clips) and `counts`."""
    rows = pl.read_parquet(folder / predictions.FOLDS)
    return rows.with_columns((pl.col("losses").list.sum() / pl.col("clips").list.sum()).alias("loss"))


def smooth(losses: np.ndarray) -> np.ndarray:
    """Each epoch's mean with its neighbours, along the last axis; ends average what they have."""
    epochs = losses.shape[-1]
    spans = [slice(max(0, e - NEIGHBOURS), e + NEIGHBOURS + 1) for e in range(epochs)]
    return np.stack([losses[..., span].mean(-1) for span in spans], -1)


def inner(folder: Path, trial: int = 0) -> dict[tuple[int, str], Choice]:
    """Each (seed, fold)'s epoch by the smoothed log-loss of its validation subjects, ties to the earliest."""
    epochs: dict[tuple[int, str], list[tuple[int, float]]] = {}
    for seed, fold, epoch, loss in curves(folder).select("seed", "fold", "epoch", "loss").iter_rows():
        epochs.setdefault((seed, fold), []).append((epoch, loss))
    return {key: _best(trial, sorted(of)) for key, of in epochs.items()}


def _best(trial: int, epochs: Sequence[tuple[int, float]]) -> Choice:
    """The epoch of least smoothed loss among (epoch, loss) in their order, the earliest of equals."""
    losses = np.round(smooth(np.array([loss for _, loss in epochs])), DIGITS)
    best = int(np.argmin(losses))
    return Choice(trial, epochs[best][0], float(losses[best]))


def inner_counts(folder: Path) -> np.ndarray:
    """Pooled validation confusion of a pass, each fold at its `inner` epoch."""
    epochs = {key: choice.epoch for key, choice in inner(folder).items()}
    picked = _at(curves(folder), epochs)
    counts = np.array(picked["counts"].to_list(), np.int64).sum(0)
    classes = round(len(counts) ** 0.5)
    return np.asarray(counts.reshape(classes, classes))


def inner_uf1(folder: Path) -> float:
    """The search's objective: pooled UF1 over every fold's validation subjects, each fold at its `inner` epoch."""
    return _pooled_uf1(inner_counts(folder))


def nested(folders: Mapping[int, Path]) -> dict[tuple[int, str], Choice]:
    """Each fold's trial and epoch by its own validation subjects; ties to the earlier epoch and lower trial.

    A fold's candidates are the trials that finished that fold, so nothing that happens in another fold decides here.
    """
    return {key: ranked[0] for key, ranked in by_fold(folders).items()}


def by_fold(folders: Mapping[int, Path]) -> dict[tuple[int, str], list[Choice]]:
    """Each fold's trials as `nested` ranks them, best first."""
    found: dict[tuple[int, str], list[Choice]] = {}
    for trial in sorted(folders):
        for key, choice in inner(folders[trial], trial).items():
            found.setdefault(key, []).append(choice)
    return {key: sorted(choices, key=lambda choice: (choice.loss, choice.trial)) for key, choices in found.items()}


def shared(folders: Mapping[int, Path]) -> dict[tuple[int, str], Choice]:
    """One trial for all folds by pooled inner UF1 (ties to the lower trial), each fold's epoch by its own validation.

    Candidates are the trials that finished all folds of the study.
    """
    best = by_pooled(folders)[0]
    return inner(folders[best], best)


def by_pooled(folders: Mapping[int, Path]) -> list[int]:
    """The trials that finished all folds as `shared` ranks them, best first."""
    finished = {trial: len(inner(folder)) for trial, folder in folders.items()}
    whole = [trial for trial, folds in finished.items() if folds == max(finished.values())]
    scores = {trial: inner_uf1(folders[trial]) for trial in whole}
    return sorted(scores, key=lambda trial: (-scores[trial], trial))


def stored(folder: Path) -> pl.DataFrame:
    """The test rows of a pass, with `prediction`, to be compared with those of a repetition; chooses nothing."""
    return _predict(predictions.open_test(folder))


def last(folder: Path) -> Chosen:
    """Every fold at the end of its schedule (of a refit: at the epoch it was refitted for)."""
    rows = predictions.open_test(folder)
    return _same(_predict(rows.filter(pl.col("epoch") == pl.col("epoch").max().over("seed", "fold"))))


def at_choices(folders: Mapping[int, Path], choices: Mapping[tuple[int, str], Choice]) -> Chosen:
    """The test rows of chosen trials and epochs, without refit."""
    parts = []
    for trial in sorted({c.trial for c in choices.values()}):
        epochs = {key: c.epoch for key, c in choices.items() if c.trial == trial}
        parts.append(_at(predictions.open_test(folders[trial]), epochs))
    return _same(_predict(pl.concat(parts)))


def refitted(
    folder: Path, folders: Mapping[int, Path], stand_in: Mapping[tuple[int, str], Choice], seed: int
) -> Chosen:
    """`last` of a refit; folds whose refit diverged speak by their choice without refit, under each seed's name."""
    rows = [last(folder).rows]
    for (again, fold), choice in sorted(stand_in.items()):
        rows.append(_stand_in(folders, fold, choice, seed, again))
    return replace(_same(pl.concat(rows).sort("seed", "clip")), stand_ins=len(stand_in))


def repeated(
    folders: Mapping[int, Path],
    choices: Mapping[tuple[int, str], Choice],
    again: Mapping[tuple[int, str], Path],
    seeds: Sequence[int],
) -> Chosen:
    """`at_choices` under several seeds.

    Args:
        folders: trial -> its pass under the first seed.
        choices: each fold's, keyed by the first seed.
        again: (further seed, fold) -> a pass that holds that fold of the chosen trial; where one is missing, because it
            diverged, the first seed's rows speak under its name.
        seeds: the first and the further ones.
    """
    rows, lost = [at_choices(folders, choices).rows], 0
    for further in seeds[1:]:
        for (_, fold), choice in sorted(choices.items()):
            place = again.get((further, fold))
            if place is None:
                rows.append(_stand_in(folders, fold, choice, seeds[0], further))
                lost += 1
            else:
                rows.append(_predict(_at(predictions.open_test(place), {(further, fold): choice.epoch})))
    return replace(_same(pl.concat(rows).sort("seed", "clip")), stand_ins=lost)


def _stand_in(folders: Mapping[int, Path], fold: str, choice: Choice, seed: int, again: int) -> pl.DataFrame:
    rows = at_choices(folders, {(seed, fold): choice}).rows
    return rows.with_columns(pl.lit(again, pl.Int32).alias("seed"))


def oracle_epoch(folder: Path) -> Chosen:
    """Each subject's epoch with most correct test clips, last tie (HTNet's rule)."""
    return _same(_predict(_at(predictions.open_test(folder), _best_epochs(folder, _correct))))


def test_curve(folder: Path) -> dict[int, dict[int, float]]:
    """Pooled test UF1 by seed and epoch: drawn in reports, chosen by oracles alone."""
    return _by_epoch(predictions.open_folds_test(folder))


def validation_curve(folder: Path) -> dict[int, dict[int, float]]:
    """Pooled validation UF1 by seed and epoch."""
    return _by_epoch(pl.read_parquet(folder / predictions.FOLDS))


def _by_epoch(rows: pl.DataFrame) -> dict[int, dict[int, float]]:
    """Pooled UF1 of each seed at each epoch that all its folds have."""
    found = {}
    for (seed,), part in rows.group_by(["seed"], maintain_order=True):
        ends = part.group_by("fold").agg(pl.col("epoch").max())["epoch"]
        common = part.filter(pl.col("epoch") <= ends.min()).sort("epoch").group_by("epoch", maintain_order=True)
        found[int(seed)] = {int(epoch): _pooled_uf1(_matrices(at).sum(0)) for (epoch,), at in common}
    return found


def oracle_global_epoch(folder: Path) -> Chosen:
    """One epoch for all folds of a seed, by pooled test UF1, first tie."""
    rows = predictions.open_test(folder)
    best = {seed: max(scores, key=lambda e: (scores[e], -e)) for seed, scores in test_curve(folder).items()}
    keys = rows.select("seed", "fold").unique().iter_rows()
    return _same(_predict(_at(rows, {(seed, fold): best[seed] for seed, fold in keys})))


def oracle_mmnet(folder: Path) -> Chosen:
    """The published MMNet loop: per subject, accuracy at its best epoch and F1 at the epoch of its own best macro F1.

    The per-subject macro F1 averages over the classes among that subject's labels or predictions; the last tie wins
    (muse1998/MMNet, CASME2_5.py training loop).
    """
    rows = predictions.open_test(folder)
    f1_rows = _predict(_at(rows, _best_epochs(folder, _present_f1)))
    return Chosen(f1_rows, _predict(_at(rows, _best_epochs(folder, _correct))))


def oracle_trial(folders: Mapping[int, Path]) -> Chosen:
    """One trial for all folds by pooled test UF1 at its last epoch, ties to the lower trial."""
    scored: list[tuple[float, int]] = []
    folds = {trial: predictions.open_folds_test(folder) for trial, folder in folders.items()}
    whole = max(rows.select("seed", "fold").n_unique() for rows in folds.values())
    for trial, rows in folds.items():
        if rows.select("seed", "fold").n_unique() == whole:
            end = rows.filter(pl.col("epoch") == pl.col("epoch").max().over("seed", "fold"))
            scored.append((_pooled_uf1(_matrices(end).sum(0)), -trial))
    return last(folders[-max(scored)[1]])


RULES: dict[str, Callable[[Path], Chosen]] = {
    "last": last,
    GIVEN: last,
    "oracle-epoch": oracle_epoch,
    "oracle-global-epoch": oracle_global_epoch,
    "oracle-mmnet": oracle_mmnet,
}


def of_run(rule: str, everything: Path | None, held: Path | None) -> Chosen:
    """A rule over a run's passes: `everything` trained on all subjects, `held` kept validation subjects back."""
    if rule == "inner" and held is not None:
        return at_choices({0: held}, inner(held))
    if rule in RULES and everything is not None:
        return RULES[rule](everything)
    raise MerBenchError(f"rule {rule!r} does not fit a run of one recipe; one of {', '.join(RUN_RULES)}")


def _best_epochs(folder: Path, score: Callable[[np.ndarray], np.ndarray]) -> dict[tuple[int, str], int]:
    """Per (seed, fold) the epoch whose test counts score highest, last tie."""
    best = {}
    rows = predictions.open_folds_test(folder).sort("epoch")
    for (seed, fold), part in rows.group_by(["seed", "fold"], maintain_order=True):
        scores = np.round(score(_matrices(part)), DIGITS)
        winner = len(scores) - 1 - int(np.argmax(scores[::-1]))
        best[int(seed), str(fold)] = int(part["epoch"][winner])
    return best


def _pooled_uf1(counts: np.ndarray) -> float:
    return round(float(metrics.uf1(counts, absent="zero")), DIGITS)


def _correct(counts: np.ndarray) -> np.ndarray:
    correct: np.ndarray = np.trace(counts, axis1=-2, axis2=-1)
    return correct


def _present_f1(counts: np.ndarray) -> np.ndarray:
    truth, said = counts.sum(-1), counts.sum(-2)
    both = truth + said
    f1 = np.divide(2 * np.diagonal(counts, axis1=-2, axis2=-1), both, out=np.zeros(both.shape), where=both > 0)
    present_f1: np.ndarray = f1.sum(-1) / (both > 0).sum(-1)
    return present_f1


def _matrices(rows: pl.DataFrame) -> np.ndarray:
    counts = np.array(rows["counts"].to_list(), np.int64)
    classes = round(counts.shape[1] ** 0.5)
    return counts.reshape(-1, classes, classes)


def _at(rows: pl.DataFrame, epochs: Mapping[tuple[int, str], int]) -> pl.DataFrame:
    schema = {"seed": pl.Int32, "fold": pl.String, "epoch": pl.Int16}
    keys = pl.DataFrame([(s, f, e) for (s, f), e in epochs.items()], schema=schema, orient="row")
    return rows.join(keys, on=["seed", "fold", "epoch"], how="semi")


def _predict(rows: pl.DataFrame) -> pl.DataFrame:
    said = predictions.probabilities(rows).argmax(1).astype(np.int8)
    return rows.with_columns(pl.Series("prediction", said)).sort("seed", "clip")


def _same(rows: pl.DataFrame) -> Chosen:
    return Chosen(rows, rows)
