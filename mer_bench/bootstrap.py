"""How sure a number is: intervals of pooled scores over subjects drawn alike.

    counts by subject  (S, G, K, K)  ──  weights (R, S), rows sum to S  ──►  replicates (R, G, K, K)  ──►  scores (R,)
    G are the seeds, or the seeds of two models; a score is a weighted sum over them

Clips of one subject resemble each other, so subjects are drawn, never clips. In a composite they are drawn within each
corpus, whose sizes are fixed by design. The seeds' spread is another matter (the training's chance, not the sample's)
and stands beside the interval, never inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer_bench import intervals, metrics
from mer_bench.contracts import MerBenchError
from mer_bench.intervals import METHOD, METHODS
from mer_bench.metrics import Metric

DIGITS = 12
BLOCK = 1000
"""Replicates whose slopes are held in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a score.

    Args:
        low: lower end.
        high: upper end.
        level: nominal coverage.
        absent: number of replicates in which a class had no true clip, which then scored 0.
        method: how it was made, of `intervals.METHODS`.
    """

    low: float
    high: float
    level: float = 0.95
    absent: int = 0
    method: str = METHOD


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
    parts: Sequence[float] | np.ndarray | None = None,
    method: str = METHOD,
    replicates: int = 10_000,
    level: float = 0.95,
    strata: Sequence[str] | np.ndarray | None = None,
    seed: int,
) -> Interval:
    """Interval of a pooled score over subjects drawn alike, corrected for small samples.

    Each replicate pools the counts of the drawn subjects; classes absent from a replicate score 0.

    Args:
        counts_by_subject: confusion counts of each held-out subject, (S, K, K), or (S, G, K, K) for seeds or models
            that are resampled together.
        metric: uf1, uar or accuracy of `metrics`.
        parts: the score is the sum of these parts of the G scores, (G,); by default their mean. Negative parts make a
            difference.
        method: of `intervals.METHODS`.
        replicates: how many.
        level: nominal coverage.
        strata: see `subject_weights`.
        seed: from `seeds.seed`.

    Raises:
        MerBenchError: as `subject_weights`, an unknown method, or a level outside (0, 1).
    """
    drawn = _draw(counts_by_subject, parts, method, replicates, level, strata, seed)

    def score(pooled: np.ndarray) -> np.ndarray:
        return metric(pooled, absent="zero")

    return _interval(drawn, score, metrics.SLOPES[metric])


def class_intervals(
    counts_by_subject: np.ndarray,
    *,
    method: str = METHOD,
    replicates: int = 10_000,
    level: float = 0.95,
    strata: Sequence[str] | np.ndarray | None = None,
    seed: int,
) -> tuple[Interval, ...]:
    """Interval of each class's F1 (mean over G), class by class; arguments as in `subject_bootstrap`."""
    drawn = _draw(counts_by_subject, None, method, replicates, level, strata, seed)

    def of_class(k: int) -> Interval:
        return _interval(
            drawn,
            lambda pooled: metrics.f1_per_class(pooled, "zero")[..., k],
            lambda pooled: metrics.f1_slope(pooled, k),
        )

    return tuple(of_class(k) for k in range(drawn.counts.shape[-1]))


@dataclass(frozen=True)
class _Drawn:
    """Replicates of the pooled counts, and what an interval of any score of them needs."""

    counts: np.ndarray
    weights: np.ndarray
    pooled: np.ndarray
    parts: np.ndarray
    groups: np.ndarray
    method: str
    level: float


def _draw(
    counts_by_subject: np.ndarray,
    parts: Sequence[float] | np.ndarray | None,
    method: str,
    replicates: int,
    level: float,
    strata: Sequence[str] | np.ndarray | None,
    seed: int,
) -> _Drawn:
    if not 0 < level < 1:
        raise MerBenchError(f"the level of an interval must lie between 0 and 1, not {level}")
    if method not in METHODS:
        raise MerBenchError(f"unknown method of intervals {method!r}; known: {', '.join(METHODS)}")
    counts = np.asarray(counts_by_subject)
    counts = counts[:, None] if counts.ndim == 3 else counts
    weights = subject_weights(len(counts), replicates, strata=strata, seed=seed)
    # Floats, because numpy multiplies whole numbers slowly; sums of counts stay exact.
    pooled = (weights.astype(np.float64) @ counts.reshape(len(counts), -1)).reshape(replicates, *counts.shape[1:])
    shares = np.full(counts.shape[1], 1 / counts.shape[1]) if parts is None else np.asarray(parts, np.float64)
    groups = np.zeros(len(counts), np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    return _Drawn(counts, weights, pooled, shares, groups, method, level)


def _interval(drawn: _Drawn, score: metrics.Slope, slope: metrics.Slope) -> Interval:
    """Ends of the score's interval by the method asked for, within what the score can be.

    Where there are too few subjects to studentise, the t-factor stands in, and the interval says so.
    """
    whole = drawn.counts.sum(0)
    estimate, values = float(score(whole) @ drawn.parts), score(drawn.pooled) @ drawn.parts
    freedom = len(drawn.counts) - len(np.unique(drawn.groups))
    method, ends = drawn.method, None
    if method == "percentile":
        ends = intervals.percentile(values, drawn.level)
    elif method == "bca":
        ends = intervals.bca(values, estimate, _jackknife(drawn, score, whole), drawn.level)
    elif method == "bootstrap-t":
        errors = _errors(drawn, slope, drawn.pooled, drawn.weights)
        error = float(_errors(drawn, slope, whole[None], np.ones((1, len(drawn.counts))))[0])
        ends = intervals.bootstrap_t(values, errors, estimate, error, drawn.level)
    if method == "t-factor" or ends is None:
        method, ends = "t-factor", intervals.t_factor(values, estimate, freedom, drawn.level)
    elif method == "bootstrap-t":
        ends = intervals.bounded(ends, intervals.t_factor(values, estimate, freedom, drawn.level), estimate)
    floor, ceiling = float(np.minimum(drawn.parts, 0).sum()), float(np.maximum(drawn.parts, 0).sum())
    lacking = (metrics.absent(drawn.pooled) > 0).any(-1)
    # Rounded, or the last bit of a sum puts a model's difference from itself on one side of 0.
    low, high = round(max(ends[0], floor), DIGITS), round(min(ends[1], ceiling), DIGITS)
    return Interval(low, high, drawn.level, int(lacking.sum()), method)


def _errors(drawn: _Drawn, slope: metrics.Slope, pooled: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each replicate's standard error, from the score's slope at its pooled counts (infinitesimal jackknife), (R,)."""
    flat = drawn.counts.reshape(len(drawn.counts), -1)
    found = []
    for start in range(0, len(pooled), BLOCK):
        part = slice(start, start + BLOCK)
        slopes = slope(pooled[part]) * drawn.parts[:, None, None]
        shares = slopes.reshape(len(slopes), -1) @ flat.T
        found.append(intervals.standard_errors(shares, weights[part], drawn.groups))
    return np.concatenate(found)


def _jackknife(drawn: _Drawn, score: metrics.Slope, whole: np.ndarray) -> np.ndarray:
    """Each subject's influence on the score: how far it falls, within its stratum, when it is left out, (S,)."""
    without = score(whole - drawn.counts) @ drawn.parts
    found = np.zeros(len(without))
    for group in np.unique(drawn.groups):
        members = drawn.groups == group
        found[members] = (members.sum() - 1) * (without[members].mean() - without[members])
    return found
