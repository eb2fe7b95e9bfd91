"""What stands beside a score and its interval: chance, and the spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mer_bench import metrics
from mer_bench.contracts import MerBenchError
from mer_bench.metrics import Absent


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


def chance_band(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int, shuffles: int = 1000, *, seed: int
) -> tuple[float, float]:
    """Between which UF1 95 of 100 shuffles of the same predictions over all clips lie; arguments as in `chance`."""
    truth, guesses = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    scores = _shuffled(truth, guesses, num_classes, shuffles, np.random.default_rng(seed))
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


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
