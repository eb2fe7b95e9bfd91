"""What a finished study says of its own selection: how lucky the choice was, and what fewer trials would have given.

Both read the trials as they were trained, without refit, and only trials that finished every fold.

    inner (trials, subjects, K, K)   validation confusion of each subject, pooled over the folds that validate it
    losses (trials, folds)           smoothed inner log-loss at the fold's own epoch
    test  (trials, folds, K, K)      confusion of the held-out subject at that epoch
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
    """What trials that finished all folds scored; see the module for shapes. `trials` are their numbers, ascending."""

    trials: tuple[int, ...]
    inner: np.ndarray
    losses: np.ndarray
    test: np.ndarray


def outcomes(folders: Mapping[int, Path]) -> Outcomes:
    """Read the passes of a study's trials (of one seed), leaving out those that lack a fold."""
    chosen = {number: selection.inner(folder, number) for number, folder in folders.items()}
    whole = max((len(choices) for choices in chosen.values()), default=0)
    numbers = tuple(sorted(n for n, choices in chosen.items() if len(choices) == whole))
    subjects = sorted({fold for n in numbers for _, fold in chosen[n]})
    parts = [_counts(folders[n], chosen[n], subjects) for n in numbers]
    losses = [[chosen[n][key].loss for key in sorted(chosen[n], key=lambda k: k[1])] for n in numbers]
    return Outcomes(numbers, np.stack([p[0] for p in parts]), np.array(losses), np.stack([p[1] for p in parts]))


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
        said = predictions.probabilities(at).argmax(1)
        classes = len([c for c in at.columns if c[0] == "p" and c[1:].isdigit()])
        owner = at["subject"].replace_strict(list(subjects), range(len(subjects))).to_numpy().astype(int)
        counts = np.zeros((len(subjects), classes, classes), np.int64)
        np.add.at(counts, (owner, at["label"].to_numpy(), said), 1)
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
        nested = known.test[each, np.arange(known.test.shape[1])].sum(0)
        shared = known.test[here[inner[here].argmax()]].sum(0)
        found.append((count, float(metrics.uf1(nested, absent="zero")), float(metrics.uf1(shared, absent="zero"))))
    return found
