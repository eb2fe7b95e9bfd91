"""What a finished study says of its own selection: how lucky the choice was, and what fewer trials would have given.

Both read the trials as they were trained, without refit, and only trials that finished every fold.

    inner (trials, subjects, K, K)   validation confusion of each subject, pooled over the folds that validate it
    losses (trials, folds)           smoothed inner log-loss at the fold's own epoch
    test  (trials, subjects, K, K)   test confusion of each subject at that epoch of its fold
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mer_bench import metrics, predictions, selection
from mer_bench.seeds import seed

REPLICATES = 1000
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What trials that finished all folds scored; see the module for shapes.

    Attributes:
        trials: their numbers, ascending.
        fold: (subjects,) the fold that tests each subject.
    """

    trials: tuple[int, ...]
    fold: np.ndarray
    inner: np.ndarray
    losses: np.ndarray
    test: np.ndarray


def outcomes(folders: Mapping[int, Path]) -> Outcomes | None:
    """Read the passes of a study's trials (of one seed), leaving out those that lack a fold; None if there are none."""
    chosen = {number: selection.inner(folder, number) for number, folder in folders.items()}
    whole = max((len(choices) for choices in chosen.values()), default=0)
    numbers = tuple(sorted(n for n, choices in chosen.items() if len(choices) == whole > 0))
    if not numbers:
        return None
    folds = sorted(fold for _, fold in chosen[numbers[0]])
    tested = predictions.open_test(folders[numbers[0]]).select("subject", "fold").unique().sort("subject")
    parts = [_counts(folders[n], chosen[n], tested["subject"].to_list()) for n in numbers]
    losses = [[by[fold].loss for fold in folds] for by in ({f: c for (_, f), c in chosen[n].items()} for n in numbers)]
    place = np.array([folds.index(fold) for fold in tested["fold"]])
    inner, test = (np.stack(side) for side in zip(*parts, strict=True))
    return Outcomes(numbers, place, inner, np.array(losses), test)


def _counts(
    folder: Path, choices: Mapping[tuple[int, str], selection.Choice], subjects: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Confusion counts (subjects, K, K) of validation and of test rows, each fold at its inner epoch."""
    epochs = pl.DataFrame(
        [(fold, choice.epoch) for (_, fold), choice in choices.items()],
        schema={"fold": pl.String, "epoch": pl.Int16},
        orient="row",
    )
    found = []
    for rows in (predictions.read(folder / predictions.VALIDATION), predictions.open_test(folder)):
        at = rows.join(epochs, on=["fold", "epoch"], how="semi")
        at = at.filter(pl.col("subject").is_in(list(subjects)))
        owner = at["subject"].replace_strict(list(subjects), range(len(subjects))).to_numpy().astype(int)
        said = predictions.probabilities(at)
        counts = np.zeros((len(subjects), said.shape[1], said.shape[1]), np.int64)
        np.add.at(counts, (owner, at["label"].to_numpy(), said.argmax(1)), 1)
        found.append(counts)
    return found[0], found[1]


def bias_corrected(known: Outcomes, study_seed: int = 0) -> float:
    """`shared-no-refit` without its luck: the choice is repeated on resampled subjects and scored on those left out.

    A subject left out of a replicate has no say, in any fold, in which trial is chosen, which is the leak of `shared`.
    Mean pooled UF1 over replicates, absent classes 0 (BBC-CV: Tsamardinos et al. 2018, Machine Learning 107:1895,
    resampled by subject).
    """
    rng = np.random.default_rng(seed("bias corrected", study_seed))
    subjects = known.inner.shape[1]
    scores = []
    for _ in range(REPLICATES):
        drawn = np.bincount(rng.integers(0, subjects, subjects), minlength=subjects)
        out = drawn == 0
        if not out.any():
            continue
        inner = metrics.uf1(np.tensordot(known.inner, drawn, (1, 0)), absent="zero")
        best = int(np.argmax(np.round(inner, selection.DIGITS)))
        scores.append(float(metrics.uf1(known.test[best, out].sum(0), absent="zero")))
    return float(np.mean(scores))


def best_so_far(known: Outcomes) -> list[tuple[int, float, float]]:
    """What the first 1, 2, 5, ... proposals would have given: (trials, UF1 of nested, UF1 of shared), no refit."""
    found = []
    inner = np.round(metrics.uf1(known.inner.sum(1), absent="zero"), selection.DIGITS)
    last = known.trials[-1] + 1
    for count in sorted({*(c for c in COUNTS if c < last), last}):
        here = np.array([i for i, number in enumerate(known.trials) if number < count], int)
        if not len(here):
            continue
        each = here[known.losses[here].argmin(0)]
        nested = known.test[each[known.fold], np.arange(known.test.shape[1])].sum(0)
        shared = known.test[here[inner[here].argmax()]].sum(0)
        found.append((count, float(metrics.uf1(nested, absent="zero")), float(metrics.uf1(shared, absent="zero"))))
    return found
