"""Who is ahead: paired differences over subjects, tests, corrections, and ranks.

    counts of each model  (S, seeds, K, K), subjects in one order
        difference  ──►  value, interval, p     two models, subject by subject
        holm        ──►  p corrected            several challengers of one model
        ranks       ──►  places a model may hold, and who is tied with the first

Both models have answered for the same subjects, so a subject is drawn, or swapped, with both of its answers. Clips of a
subject are never treated as independent, and seeds are never counted as more subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np

from mer_bench import bootstrap, metrics, stats
from mer_bench.bootstrap import Interval
from mer_bench.contracts import MerBenchError
from mer_bench.intervals import NO_ERROR
from mer_bench.metrics import Metric

EXACT = 13
"""Up to so many subjects all swaps are tried; above, random ones."""
BLOCK = 500
"""Replicates of all models held in memory at a time."""
SAME = 1e-12
"""Differences nearer than this are equal: a sum's last bit depends on its order."""


@dataclass(frozen=True)
class Difference:
    """A challenger's score minus another's, on the same subjects.

    Args:
        value: the difference of the means over seeds.
        interval: over subjects, paired.
        p: two-sided, by swapping the two models' answers of whole subjects; not corrected (see `holm`).
        seed_error: standard error of `value` from the seeds alone; None if neither model has two seeds.
    """

    value: float
    interval: Interval
    p: float
    seed_error: float | None

    @property
    def within_seed_noise(self) -> bool:
        """Whether the seeds alone could make such a difference: it is less than two of their standard errors."""
        return self.seed_error is not None and abs(self.value) < 2 * self.seed_error


@dataclass(frozen=True)
class Rank:
    """A model's place by its score (1 is best), and the places it may hold at the level asked for.

    `low` is one more than the number of models shown to be better, `high` the number of models less those shown to be
    worse; a model whose `low` is 1 is tied with the first.
    """

    place: int
    low: int
    high: int

    @property
    def tied_with_first(self) -> bool:
        """No other model is shown to be better."""
        return self.low == 1


def difference(
    ours: np.ndarray,
    theirs: np.ndarray,
    metric: Metric = metrics.uf1,
    *,
    strata: Sequence[str] | np.ndarray | None = None,
    replicates: int = 10_000,
    level: float = 0.95,
    seed: int,
) -> Difference:
    """A challenger against another model.

    Args:
        ours: the challenger's counts, (S, seeds, K, K).
        theirs: the other model's, subjects in the same order; it may have another number of seeds.
        metric: uf1, uar or accuracy of `metrics`.
        strata: each subject's corpus.
        replicates: of the interval, and random swaps of the test.
        level: of the interval.
        seed: from `seeds.seed`.

    Raises:
        MerBenchError: the models answer for other subjects, clips or classes; or as `bootstrap.subject_bootstrap`.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    _checked(ours, theirs)
    parts = np.concatenate([np.full(ours.shape[1], 1 / ours.shape[1]), np.full(theirs.shape[1], -1 / theirs.shape[1])])
    both = np.concatenate([ours, theirs], 1)
    interval = bootstrap.subject_bootstrap(
        both, metric, parts=parts, replicates=replicates, level=level, strata=strata, seed=seed
    )
    scores = [metric(counts.sum(0), absent="zero") for counts in (ours, theirs)]
    p = permutation_p(ours, theirs, metric, swaps=replicates, seed=seed)
    value = round(float(scores[0].mean() - scores[1].mean()), bootstrap.DIGITS)
    return Difference(value, interval, p, _seed_error(scores))


def permutation_p(
    ours: np.ndarray, theirs: np.ndarray, metric: Metric = metrics.uf1, *, swaps: int = 10_000, seed: int
) -> float:
    """Two-sided p of a paired test that swaps the two models' answers of whole subjects (sign-flip by subject).

    All swaps for up to `EXACT` subjects, else random ones with the observed one among them. Models with other numbers
    of seeds are repeated to a common number, so that a subject's seeds are swapped together.
    """
    common = lcm(ours.shape[1], theirs.shape[1])
    pair = [np.repeat(counts, common // counts.shape[1], 1).astype(np.float64) for counts in (ours, theirs)]
    middle, half = (pair[0] + pair[1]).sum(0) / 2, (pair[0] - pair[1]) / 2
    size = len(half)
    if size <= EXACT:
        signs = 1.0 - 2 * (np.arange(2**size)[:, None] >> np.arange(size) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (swaps, size))
    moved = (signs @ half.reshape(size, -1)).reshape(len(signs), *middle.shape)
    gaps = (metric(middle + moved, absent="zero") - metric(middle - moved, absent="zero")).mean(-1)
    observed = abs(sum(metric(middle + side * half.sum(0), absent="zero").mean() * side for side in (1, -1)))
    extreme = int((np.abs(gaps) >= observed - SAME).sum())
    return extreme / len(gaps) if size <= EXACT else (extreme + 1) / (len(gaps) + 1)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction of several p values, in their order: smallest times n, next times n - 1, ...

    Holm (1979). A corrected value below .05 is shown with all others at a familywise error of 5 %.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    found = np.empty(len(values))
    found[order] = np.minimum(stepped, 1)
    return tuple(found.tolist())


def ranks(
    models: Sequence[np.ndarray],
    metric: Metric = metrics.uf1,
    *,
    strata: Sequence[str] | np.ndarray | None = None,
    replicates: int = 4000,
    level: float = 0.95,
    seed: int,
) -> tuple[Rank, ...]:
    """Which places each model may hold, all statements together at the level asked for.

    Every pair is compared at once: a model is shown to be better where the difference exceeds the largest studentised
    difference that resampled subjects make anywhere, each over its own standard error (Mogstad, Romano, Shaikh, Wilhelm
    2024, "Inference for ranks", with the studentised bootstrap).

    Args:
        models: each model's counts, (S, seeds, K, K), subjects in one order.
        metric: uf1, uar or accuracy of `metrics`.
        strata: each subject's corpus.
        replicates: how many.
        level: of all statements together.
        seed: from `seeds.seed`.

    Raises:
        MerBenchError: the models answer for other subjects, clips or classes, or there are none.
    """
    if not models:
        raise MerBenchError("ranks of no models; run one first")
    for other in models[1:]:
        _checked(models[0], other)
    weights = bootstrap.subject_weights(len(models[0]), replicates, strata=strata, seed=seed)
    groups = np.zeros(len(models[0])) if strata is None else np.unique(strata, return_inverse=True)[1]
    scores, errors = (found[0] for found in _scored(models, np.ones((1, len(models[0]))), metric, groups))
    most = []
    for start in range(0, replicates, BLOCK):
        drawn, spread = _scored(models, weights[start : start + BLOCK].astype(np.float64), metric, groups)
        moved = np.abs(_gaps(drawn) - _gaps(scores))
        # A difference that moved without a standard error cannot be judged: it stands for any size.
        unknown = np.where(moved > SAME, np.inf, 0.0)
        most.append(np.divide(moved, spread, out=unknown, where=spread > NO_ERROR).max((-2, -1)))
    needed = np.quantile(np.concatenate(most), level, method="higher")  # there is nothing between two infinities
    better = _gaps(scores) > np.maximum(needed * np.maximum(errors, NO_ERROR), SAME)
    order = np.argsort(-scores, kind="stable")
    place = np.empty(len(models), np.int64)
    place[order] = 1 + np.arange(len(models))
    return tuple(
        Rank(int(place[i]), int(1 + better[:, i].sum()), int(len(models) - better[i].sum())) for i in range(len(models))
    )


def _scored(
    models: Sequence[np.ndarray], weights: np.ndarray, metric: Metric, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (R, M) of models over so weighted subjects (R, S), and standard errors of their differences (R, M, M)."""
    scores, shares = [], []
    for counts in models:
        flat = counts.reshape(len(counts), -1)
        pooled = (weights @ flat).reshape(len(weights), *counts.shape[1:])
        scores.append(metric(pooled, absent="zero").mean(-1))
        slope = metrics.SLOPES[metric](pooled) / counts.shape[1]
        shares.append(slope.reshape(len(weights), -1) @ flat.T)
    products = _products(np.stack(shares, 1), weights, groups)
    own = np.diagonal(products, axis1=-2, axis2=-1)
    return np.stack(scores, 1), np.sqrt(np.maximum(own[:, :, None] + own[:, None, :] - 2 * products, 0))


def _products(shares: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Covariances (R, M, M) of sums of shares (R, M, S) when subjects are drawn within their strata."""
    found = np.zeros((len(shares), shares.shape[1], shares.shape[1]))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        size, weight = len(members), weights[:, None, members]
        if size > 1:
            share = shares[:, :, members]
            away = share - (weight * share).sum(-1, keepdims=True) / size
            found += size / (size - 1) * (weight * away) @ away.swapaxes(-2, -1)
    return found


def _gaps(scores: np.ndarray) -> np.ndarray:
    """Differences of all pairs, (..., M, M): row less column."""
    return np.asarray(scores[..., :, None] - scores[..., None, :])


def _checked(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raise unless both models answer for the same clips: each subject's class sizes must agree."""
    if ours.ndim != 4 or ours.shape[::2] != theirs.shape[::2]:
        raise MerBenchError(f"counts of shapes {ours.shape} and {theirs.shape} do not pair; run both on one task")
    if (ours.sum(-1)[:, :1] != theirs.sum(-1)).any() or (ours.sum(-1) != theirs.sum(-1)[:, :1]).any():
        raise MerBenchError("the two models answer for other clips; run both on one version of the task")


def _seed_error(scores: Sequence[np.ndarray]) -> float | None:
    squares = [stats.mean_sd(s)[1] ** 2 / len(s) for s in scores if len(s) > 1]
    return float(np.sqrt(sum(squares))) if squares else None
