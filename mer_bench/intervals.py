"""From bootstrap replicates of a score to the two ends of an interval, by four methods.

    percentile     the quantiles of the replicates: too short for few subjects
    t-factor       the same quantiles, moved away from the estimate by t(n-1) / z * sqrt(n / (n-1))
    bca            bias-corrected and accelerated: other quantiles (Efron 1987)
    bootstrap-t    quantiles of (replicate - estimate) / its own standard error (Efron 1982, Hall 1988), no farther from
                   the estimate than twice the t-factor's farther end

`tests/benchmarks/calibration.py` draws corpora of known truth and counts how often each method covers it
(`reports/calibration.md`); `METHOD` is the one chosen there.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

METHODS = ("percentile", "t-factor", "bca", "bootstrap-t")
METHOD = "bootstrap-t"
NO_ERROR = 1e-12
"""A standard error below this is none: every subject drawn answers alike."""
FEW = 0.01
"""Share of replicates without a standard error that the studentised bootstrap can do without."""
REACH = 2.0
"""How far a studentised end may lie from the estimate, in lengths of the t-factor's farther side.

Where a score hangs on one or two subjects, replicates without them have next to no error of their own, and a UF1 of .40
would get [.23, 1]. Where it was tried the bound took no coverage away (reports/LOG.md, 2026-11-21).
"""

Ends = tuple[float, float]


def percentile(values: np.ndarray, level: float) -> Ends:
    """The middle `level` of the replicates (R,)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def widening(freedom: int, level: float) -> float:
    """How much wider an interval with so many degrees of freedom is than the percentile one.

    The bootstrap's spread is too small by sqrt((n-1)/n) and knows nothing of its own uncertainty, which Student's t
    adds (Hesterberg 2015, "What teachers should know about the bootstrap", expanded percentile interval).
    """
    freedom = max(freedom, 1)
    wider = stdtrit(freedom, (1 + level) / 2) / ndtri((1 + level) / 2) * np.sqrt((freedom + 1) / freedom)
    return float(wider)


def t_factor(values: np.ndarray, estimate: float, freedom: int, level: float) -> Ends:
    """Percentile ends widened about the estimate; `freedom` is the number of subjects less that of strata."""
    low, high = percentile(values, level)
    wider = widening(freedom, level)
    return estimate + (low - estimate) * wider, estimate + (high - estimate) * wider


def bca(values: np.ndarray, estimate: float, influences: np.ndarray, level: float) -> Ends:
    """Bias-corrected and accelerated ends.

    Args:
        values: replicates, (R,).
        estimate: the score of the sample itself.
        influences: of each subject on the score, (S,), as the jackknife gives them.
        level: nominal coverage.
    """
    below = ((values < estimate).mean() + (values <= estimate).mean()) / 2
    if not 0 < below < 1:
        return percentile(values, level)
    bias, spread = ndtri(below), float((influences**2).sum())
    skew = float((influences**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(values, ndtr(bias + z / (1 - skew * z)))
    return float(low), float(high)


def bootstrap_t(values: np.ndarray, errors: np.ndarray, estimate: float, error: float, level: float) -> Ends | None:
    """Ends from studentised replicates; None where more than a few replicates have no standard error.

    Such replicates hold one subject over and over (there are hardly any subjects) or score alike throughout.

    Args:
        values: replicates, (R,).
        errors: each replicate's own standard error, (R,); the few without any are left out.
        estimate: the score of the sample itself.
        error: its standard error.
        level: nominal coverage.
    """
    usable = errors > NO_ERROR
    if error <= NO_ERROR or usable.mean() < 1 - FEW:
        return None
    low, high = percentile((values[usable] - estimate) / errors[usable], level)
    return estimate - high * error, estimate - low * error


def bounded(ends: Ends, others: Ends, estimate: float) -> Ends:
    """Studentised ends, no farther from the estimate than `REACH` times the farther of the others."""
    reach = REACH * max(estimate - others[0], others[1] - estimate)
    return max(ends[0], estimate - reach), min(ends[1], estimate + reach)


def standard_errors(shares: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Standard error of a sum of subjects' shares when subjects are drawn within their strata, (R,).

    Args:
        shares: each subject's linear share in each replicate's score, (R, S).
        weights: how often each replicate holds each subject, (R, S).
        groups: each subject's stratum, (S,).
    """
    variance = np.zeros(len(weights))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            share, weight, size = shares[:, members], weights[:, members], len(members)
            mean = (weight * share).sum(-1, keepdims=True) / size
            variance += size / (size - 1) * (weight * (share - mean) ** 2).sum(-1)
    return np.asarray(np.sqrt(variance))
