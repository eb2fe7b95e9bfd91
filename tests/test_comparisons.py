"""Differences, tests and ranks against scipy, scikit-learn's numbers and hand-worked cases."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mer_bench import comparisons, metrics
from mer_bench.contracts import MerBenchError


def model(right, size=16, seeds=2, number=0, classes=3):
    """Counts (size, seeds, K, K) of a model that is right about so often; the clips are always the same."""
    clips = np.random.default_rng(99).integers(1, 6, (size, classes))
    rng = np.random.default_rng(number)
    said = right * np.eye(classes) + (1 - right) / (classes - 1) * (1 - np.eye(classes))
    draw = [[[rng.multinomial(n, said[k]) for k, n in enumerate(row)] for _ in range(seeds)] for row in clips]
    return np.array(draw)


def uf1_gap(ours, theirs):
    return metrics.uf1(ours, "zero").mean(-1) - metrics.uf1(theirs, "zero").mean(-1)


@pytest.mark.parametrize(("size", "metric"), [(9, metrics.uf1), (9, metrics.uar), (20, metrics.uf1)])
def test_the_paired_test_agrees_with_scipy(size, metric):
    ours, theirs = model(0.7, size), model(0.6, size, number=5)
    rows = np.concatenate([ours, theirs])

    def swapped(first, second, axis):
        """The difference, of rows of the stacked answers as scipy has swapped them."""
        scores = [metric(rows[chosen].sum(-4), absent="zero").mean(-1) for chosen in (first, second)]
        return scores[0] - scores[1]

    told = scipy_stats.permutation_test(
        (np.arange(size), np.arange(size) + size),
        swapped,
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000 if size > 13 else np.inf,
        rng=np.random.default_rng(0),
    ).pvalue
    found = comparisons.permutation_p(ours, theirs, metric, swaps=10_000, seed=0)
    assert found == pytest.approx(told, abs=1e-9 if size <= 13 else 0.03)


def test_a_model_does_not_differ_from_itself():
    for size in (6, 30):
        ours = model(0.6, size)
        found = comparisons.difference(ours, ours, seed=0)
        assert (found.value, found.interval.low, found.interval.high, found.p) == (0, 0, 0, 1)
        assert found.within_seed_noise


def test_a_much_better_model_is_shown_to_be_so_whatever_its_seeds():
    ours, theirs = model(0.9, 30, seeds=3), model(0.5, 30, seeds=1, number=1)
    found = comparisons.difference(ours, theirs, seed=0)
    assert found.value == pytest.approx(float(uf1_gap(ours.sum(0), theirs.sum(0))))
    assert 0 < found.interval.low < found.value < found.interval.high and found.p < 0.001
    sd = metrics.uf1(ours.sum(0)).std(ddof=1)
    assert found.seed_error == pytest.approx(sd / np.sqrt(3)) and not found.within_seed_noise
    back = comparisons.difference(theirs, ours, seed=0)
    mirrored = (-found.value, -found.interval.high, -found.interval.low, found.p)
    assert (back.value, back.interval.low, back.interval.high, back.p) == pytest.approx(mirrored)


def test_repeated_seeds_are_no_more_subjects():
    ours, theirs = model(0.7, 14, seeds=1), model(0.6, 14, seeds=1, number=3)
    once = comparisons.difference(ours, theirs, seed=0)
    often = comparisons.difference(np.repeat(ours, 4, 1), np.repeat(theirs, 3, 1), seed=0)
    assert once.seed_error is None and not once.within_seed_noise
    ends = (once.interval.low, once.interval.high, once.p)
    assert (often.interval.low, often.interval.high, often.p) == pytest.approx(ends)


def test_holm_by_hand():
    assert comparisons.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert comparisons.holm([0.6, 0.7]) == (1, 1)
    assert comparisons.holm([0.02]) == (0.02,)
    assert comparisons.holm([]) == ()


def test_ranks_of_clear_cases():
    best, twin, worst = model(0.9, 30), model(0.9, 30, number=1), model(0.4, 30, number=2)
    found = comparisons.ranks([worst, best, twin, best], seed=0)
    assert [r.low for r in found] == [4, 1, 1, 1] and [r.high for r in found] == [4, 3, 3, 3]
    assert sorted(r.place for r in found) == [1, 2, 3, 4] and found[0].place == 4
    assert [r.tied_with_first for r in found] == [False, True, True, True]
    assert comparisons.ranks([best], seed=0) == (comparisons.Rank(1, 1, 1),)


def test_ranks_of_two_follow_the_interval_of_their_difference():
    """With one pair the statement is that of a paired interval; equal models never part."""
    apart = [comparisons.ranks([model(r, 40), model(0.5, 40, number=1)], seed=0)[1].low for r in (0.5, 0.56, 0.9)]
    assert apart[0] == 1 and apart[2] == 2


@pytest.mark.filterwarnings("error")
def test_of_two_subjects_nothing_is_shown():
    best, worst = model(0.95, 2), model(0.1, 2, number=1)
    assert [(r.low, r.high) for r in comparisons.ranks([best, worst], seed=0)] == [(1, 2), (1, 2)]


def test_models_of_other_clips_do_not_pair():
    ours = model(0.7)
    with pytest.raises(MerBenchError, match="do not pair"):
        comparisons.difference(ours, model(0.7, 15), seed=0)
    with pytest.raises(MerBenchError, match="other clips"):
        comparisons.difference(ours, ours[::-1], seed=0)
    with pytest.raises(MerBenchError, match="no models"):
        comparisons.ranks([], seed=0)
