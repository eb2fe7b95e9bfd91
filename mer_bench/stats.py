"""How sure a number is: the subject bootstrap, chance, and the spread over seeds.

    counts by subject  (S, K, K)  ──  weights (R, S), rows sum to S  ──►  replicates (R, K, K)  ──►  scores (R,)

Clips of one subject resemble each other, so subjects are drawn, never clips. In a composite they are drawn within each
corpus, whose sizes are fixed by design. The seeds' spread is another matter (the training's chance, not the sample's)
and stands beside the interval, never inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer_bench import metrics
from mer_bench.contracts import MerBenchError
from mer_bench.metrics import Absent, Metric


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a score.

    Args:
        low: lower end.
        high: upper end.
        level: nominal coverage.
        absent: number of replicates in which a class had no true clip, which then scored 0.
    """

    low: float
    high: float
    level: float = 0.95
    absent: int = 0


def subject_weights(
    subjects: int, replicates: int, *, strata: Sequence[str] | np.ndarray | None = None, seed: int
) -> np.ndarray:
    """How often each replicate draws each subject, (replicates, subjects) int64.

    Args:
        subjects: how many there are; as many are drawn, with replacement.
        replicates: how many draws.
        strata: each subject's corpus; a replicate then draws as many from each corpus as it has.
        seed: from `seeds.seed`.

    Raises:
        MerBenchError: fewer than two subjects, no replicates, or strata of another length.
    """
    if subjects < 2 or replicates < 1:
        raise MerBenchError(f"a bootstrap needs two subjects and one replicate, not {subjects} and {replicates}")
    groups = np.zeros(subjects, np.int64) if strata is None else np.asarray(strata)
    if len(groups) != subjects:
        raise MerBenchError(f"strata name {len(groups)} subjects, the counts hold {subjects}")
    rng = np.random.default_rng(seed)
    weights = np.zeros((replicates, subjects), np.int64)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        weights[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), replicates)
    return weights


def subject_bootstrap(
    counts_by_subject: np.ndarray,
    metric: Metric,
    *,
    replicates: int = 10_000,
    level: float = 0.95,
    strata: Sequence[str] | np.ndarray | None = None,
    seed: int,
) -> Interval:
    """Percentile interval of a pooled score over resampled subjects.

    Each replicate pools the counts of the drawn subjects; classes absent from a replicate score 0. The plain percentile
    interval is somewhat short for few subjects; one corrected for small samples comes later.

    Args:
        counts_by_subject: confusion counts of each held-out subject, (S, K, K), or (S, ..., K, K) for seeds or models
            that are resampled together.
        metric: from `metrics`, called with `absent="zero"`; must give one score for each replicate.
        replicates: how many.
        level: nominal coverage.
        strata: see `subject_weights`.
        seed: from `seeds.seed`.

    Raises:
        MerBenchError: as `subject_weights`, or a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise MerBenchError(f"the level of an interval must lie between 0 and 1, not {level}")
    counts = np.asarray(counts_by_subject)
    weights = subject_weights(len(counts), replicates, strata=strata, seed=seed)
    # Floats, because numpy multiplies whole numbers slowly; sums of counts stay exact.
    pooled = (weights.astype(np.float64) @ counts.reshape(len(counts), -1)).reshape(replicates, *counts.shape[1:])
    low, high = np.quantile(metric(pooled, absent="zero"), [(1 - level) / 2, (1 + level) / 2])
    lacking = (metrics.absent(pooled) > 0).reshape(replicates, -1).any(1)
    return Interval(float(low), float(high), level, int(lacking.sum()))


def chance(
    labels: np.ndarray,
    predictions: np.ndarray,
    num_classes: int,
    shuffles: int = 1000,
    *,
    seed: int,
    absent: Absent = "error",
) -> float:
    """Mean pooled UF1 of the same predictions shuffled over all clips.

    About 1/K for K classes if the predictions are as mixed as the labels; the UF1 of always saying one class if they
    do that.

    Args:
        labels: true classes, (n,).
        predictions: predicted classes, (n,).
        num_classes: K.
        shuffles: how many.
        seed: from `seeds.seed`.
        absent: see `metrics`; "zero" for a part of a composite.

    Raises:
        MerBenchError: as `metrics.confusion` and `metrics.uf1`, or no shuffles.
    """
    if shuffles < 1:
        raise MerBenchError(f"chance needs at least one shuffle, not {shuffles}")
    metrics.uf1(metrics.confusion(labels, predictions, num_classes), absent)
    truth, guesses = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    rng = np.random.default_rng(seed)
    # A block of shuffles at a time keeps the memory small for corpora of thousands of clips.
    blocks = [min(100, shuffles - start) for start in range(0, shuffles, 100)]
    return float(sum(_shuffled(truth, guesses, num_classes, n, rng).sum() for n in blocks) / shuffles)


def above_chance(interval: Interval, chance: float) -> bool:
    """Whether the lower end of the interval lies above chance."""
    return interval.low > chance


def mean_sd(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and sample standard deviation over seeds; the latter is NaN for a single value.

    Raises:
        MerBenchError: there are no values.
    """
    values = np.asarray(values, np.float64)
    if not values.size:
        raise MerBenchError("mean and SD of no values; score at least one seed")
    return float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else float("nan")


def _shuffled(
    truth: np.ndarray, guesses: np.ndarray, num_classes: int, shuffles: int, rng: np.random.Generator
) -> np.ndarray:
    """UF1 of each of so many shuffles, (shuffles,)."""
    mixed = rng.permuted(np.broadcast_to(guesses, (shuffles, guesses.size)), axis=1)
    cells = (np.arange(shuffles)[:, None] * num_classes + truth) * num_classes + mixed
    counts = np.bincount(cells.ravel(), minlength=shuffles * num_classes**2)
    return metrics.uf1(counts.reshape(shuffles, num_classes, num_classes), "zero")
