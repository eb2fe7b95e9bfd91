"""Intervals over subjects, each method against scipy, a slow loop or a closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mer_bench import bootstrap, intervals, metrics
from mer_bench.contracts import MerBenchError
from mer_bench.intervals import METHODS


def subjects(count, seed=0, classes=3):
    return np.random.default_rng(seed).poisson(2 * np.eye(classes) + 0.7, (count, classes, classes))


def uf1(pooled):
    return metrics.uf1(pooled, "zero")


@pytest.mark.parametrize("metric", [metrics.uf1, metrics.uar, metrics.accuracy])
def test_the_percentile_agrees_with_a_loop_over_drawn_subjects(metric):
    counts, corpora = subjects(9), ["a"] * 4 + ["b"] * 5
    found = bootstrap.subject_bootstrap(
        counts, metric, method="percentile", replicates=300, level=0.9, strata=corpora, seed=5
    )
    scores = []
    for weights in bootstrap.subject_weights(9, 300, strata=corpora, seed=5):
        drawn = [s for s, times in enumerate(weights) for _ in range(times)]
        scores.append(float(metric(sum(counts[s] for s in drawn), absent="zero")))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, [5, 95])))
    assert (found.level, found.method) == (0.9, "percentile")


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_unstratified_intervals_agree_with_scipy(method):
    counts = subjects(24, seed=3)
    found = bootstrap.subject_bootstrap(counts, metrics.uf1, method=method.lower(), replicates=40_000, seed=0)
    told = scipy_stats.bootstrap(
        (np.arange(24),),
        lambda drawn, axis: uf1(counts[drawn].sum(axis - 2 if axis < 0 else axis)),
        n_resamples=40_000,
        method=method,
        rng=np.random.default_rng(1),
        batch=5000,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((told.low, told.high), abs=0.003)


def slow_error(counts, weights, strata, metric):
    """The infinitesimal jackknife by finite differences, stratum by stratum."""
    whole = np.tensordot(weights, counts, 1).astype(float)
    share = [(metric(whole + 1e-6 * c, "zero") - metric(whole - 1e-6 * c, "zero")) / 2e-6 for c in counts]
    variance = 0
    for name in set(strata):
        drawn = [share[i] for i, of in enumerate(strata) if of == name for _ in range(int(weights[i]))]
        variance += len(drawn) * np.var(drawn, ddof=1)
    return np.sqrt(variance)


@pytest.mark.parametrize("metric", [metrics.uf1, metrics.uar, metrics.accuracy])
def test_the_studentised_bootstrap_agrees_with_a_loop(metric):
    counts, corpora = subjects(11, seed=4) + 1, ["a"] * 6 + ["b"] * 5
    found = bootstrap.subject_bootstrap(
        counts, metric, method="bootstrap-t", replicates=250, level=0.8, strata=corpora, seed=6
    )
    estimate = float(metric(counts.sum(0)))
    ratios = []
    for weights in bootstrap.subject_weights(11, 250, strata=corpora, seed=6):
        value = float(metric(np.tensordot(weights, counts, 1)))
        ratios.append((value - estimate) / slow_error(counts, weights, corpora, metric))
    error = slow_error(counts, np.ones(11), corpora, metric)
    high, low = estimate - error * np.percentile(ratios, [10, 90])
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(0, 10**6), st.integers(3, 12), st.floats(0.5, 1))
def test_a_studentised_end_is_never_far_beyond_the_t_factor_s(number, size, lean):
    """Models that say one class nearly always hang on the few subjects of whom they say another."""
    rng = np.random.default_rng(number)
    said = lean * np.eye(3)[[0, 0, 0]] + (1 - lean) * np.eye(3)
    counts = rng.multinomial(rng.integers(1, 9, (size, 3)), said)
    found, beside = (
        bootstrap.subject_bootstrap(counts, metrics.accuracy, method=method, replicates=200, seed=1)
        for method in ("bootstrap-t", "t-factor")
    )
    estimate = float(metrics.accuracy(counts.sum(0)))
    reach = intervals.REACH * max(estimate - beside.low, beside.high - estimate)
    # t-factor's own ends are cut to what a score can be
    if beside.low > 0 and beside.high < 1:
        assert max(estimate - found.low, found.high - estimate) <= reach + 1e-9


def right_or_wrong(values):
    """Subjects of one clip each: the accuracy is a plain mean."""
    return np.where(np.asarray(values)[:, None, None], np.diag([1, 0]), np.array([[0, 1], [0, 0]]))


def test_the_t_factor_gives_the_t_interval_of_a_mean():
    rng = np.random.default_rng(3)
    size, hits = 20, np.clip(rng.normal(500, 90, 20).round(), 0, 1000).astype(int)
    counts = np.stack([np.array([[h, 1000 - h], [0, 0]]) for h in hits])
    found = bootstrap.subject_bootstrap(counts, metrics.accuracy, method="t-factor", replicates=40_000, seed=0)
    shares = hits / 1000
    half = scipy_stats.t.ppf(0.975, size - 1) * shares.std(ddof=1) / np.sqrt(size)
    assert (found.low, found.high) == pytest.approx((shares.mean() - half, shares.mean() + half), abs=0.003)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_of_many_subjects_are_the_textbook_one(method):
    right = np.random.default_rng(3).random(400) < 0.7
    found = bootstrap.subject_bootstrap(right_or_wrong(right), metrics.accuracy, method=method, replicates=4000, seed=0)
    half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert (found.low, found.high) == pytest.approx((right.mean() - half, right.mean() + half), abs=0.008)


@pytest.mark.parametrize("method", METHODS)
def test_intervals_stay_within_what_a_score_can_be(method):
    counts = np.array([np.diag([3, 2])] * 9 + [[[1, 2], [2, 1]]])
    found = bootstrap.subject_bootstrap(counts, metrics.uf1, method=method, replicates=500, seed=0)
    assert 0 <= found.low < found.high <= 1
    perfect = bootstrap.subject_bootstrap(counts[:9], metrics.uf1, method=method, replicates=500, seed=0)
    assert (perfect.low, perfect.high) == (1, 1)
    two = np.stack([np.stack([c, np.eye(2, dtype=int)[::-1] * 2]) for c in counts])
    gap = bootstrap.subject_bootstrap(two, metrics.uf1, parts=[1, -1], method=method, replicates=500, seed=0)
    assert 0 < gap.low < gap.high <= 1


def test_too_few_subjects_to_studentise_are_widened_instead():
    """Of two subjects half of the replicates hold one alone, which has no standard error."""
    two = subjects(2) + 1
    found, plain = (
        bootstrap.subject_bootstrap(two, metrics.uf1, method=method, replicates=400, seed=0)
        for method in ("bootstrap-t", "percentile")
    )
    wider = scipy_stats.t.ppf(0.975, 1) / 1.96 * np.sqrt(2)
    assert found.method == "t-factor"
    assert found.high - found.low == pytest.approx(wider * (plain.high - plain.low), rel=1e-4)
    mostly = np.array([np.diag([3, 2])] * 19 + [[[1, 2], [2, 1]]])
    found = bootstrap.subject_bootstrap(mostly, metrics.uf1, replicates=400, seed=0)
    assert found.method == "t-factor" and found.low < uf1(mostly.sum(0)) < found.high == 1


def test_intervals_of_each_class():
    counts = np.stack([subjects(15, 1), subjects(15, 2)], 1)
    found = bootstrap.class_intervals(counts, method="percentile", replicates=400, seed=3)
    weights = bootstrap.subject_weights(15, 400, seed=3)
    f1 = metrics.f1_per_class(np.einsum("rs,sgjk->rgjk", weights, counts), "zero").mean(1)
    for k in range(3):
        assert (found[k].low, found[k].high) == pytest.approx(tuple(np.percentile(f1[:, k], [2.5, 97.5])))
    for one, estimate in zip(
        bootstrap.class_intervals(counts, replicates=400, seed=3), metrics.f1_per_class(counts.sum(0)).mean(0),
        strict=True,
    ):  # fmt: skip
        assert one.low < estimate < one.high


def test_weights_draw_as_many_as_there_are_within_each_corpus():
    corpora = np.array(["b", "a", "b", "c", "b", "a"])
    weights = bootstrap.subject_weights(6, 20_000, strata=corpora, seed=1)
    for name, size in (("a", 2), ("b", 3), ("c", 1)):
        assert (weights[:, corpora == name].sum(1) == size).all()
    # Drawn with replacement: each subject's count is binomial(n, 1/n).
    assert weights.mean(0) == pytest.approx(np.ones(6), abs=0.03)
    assert weights[:, 0].var() == pytest.approx(2 / 3, abs=0.03)
    assert (bootstrap.subject_weights(6, 10, seed=1).sum(1) == 6).all()
    assert (bootstrap.subject_weights(6, 10, seed=1) != bootstrap.subject_weights(6, 10, seed=2)).any()


def test_replicates_without_a_class_are_counted():
    counts = np.array([np.diag([3, 0]), np.diag([3, 0]), np.diag([3, 0]), np.diag([3, 1])])
    found = bootstrap.subject_bootstrap(counts, metrics.uf1, method="percentile", replicates=20_000, seed=0)
    assert found.absent / 20_000 == pytest.approx(0.75**4, abs=0.02)
    assert (found.low, found.high) == (0.5, 1.0)
    assert bootstrap.subject_bootstrap(subjects(20), metrics.uf1, replicates=50, seed=0).absent == 0


def test_seeds_of_a_subject_are_drawn_together():
    counts = np.stack([subjects(7, seed) for seed in (0, 1)], axis=1)
    counts[1:, :, 2] = 0

    found = bootstrap.subject_bootstrap(counts, metrics.uf1, method="percentile", replicates=200, seed=4)
    weights = bootstrap.subject_weights(7, 200, seed=4)
    scores = [np.mean([metrics.uf1(np.tensordot(w, counts[:, i], 1), "zero") for i in (0, 1)]) for w in weights]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))
    assert found.absent == (weights[:, 0] == 0).sum()


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(MerBenchError, match="two subjects"):
        bootstrap.subject_bootstrap(subjects(1), metrics.uf1, seed=0)
    with pytest.raises(MerBenchError, match="strata name 2 subjects, the counts hold 3"):
        bootstrap.subject_bootstrap(subjects(3), metrics.uf1, strata=["a", "b"], seed=0)
    with pytest.raises(MerBenchError, match="level"):
        bootstrap.subject_bootstrap(subjects(3), metrics.uf1, level=95, seed=0)
    with pytest.raises(MerBenchError, match="unknown method of intervals 'wald'; known: percentile, "):
        bootstrap.subject_bootstrap(subjects(3), metrics.uf1, method="wald", seed=0)
