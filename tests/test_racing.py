"""The race: its test against scipy, its false alarms by simulation, and what it never does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mer_bench.searching import racing


def by_fold(losses):
    return dict(enumerate(map(float, losses)))


@pytest.mark.parametrize("seed", range(5))
def test_without_a_prior_it_is_the_paired_t_test(seed):
    gaps = np.random.default_rng(seed).normal(0.3, 1, 7)
    assert racing.p_worse(gaps) == pytest.approx(stats.ttest_1samp(gaps, 0, alternative="greater").pvalue)


def test_a_prior_counts_as_so_many_more_folds():
    gaps, prior = np.array([0.1, 0.2, 0.15]), 0.04
    variance = (racing.PRIOR * prior + 2 * gaps.var(ddof=1)) / (racing.PRIOR + 2)
    expected = stats.t.sf(gaps.mean() / np.sqrt(variance / 3), racing.PRIOR + 2)
    assert racing.p_worse(gaps, prior) == pytest.approx(expected)
    assert racing.p_worse(gaps, prior) > racing.p_worse(gaps)


@pytest.mark.parametrize(
    ("gaps", "p"), [([], 1.0), ([5.0], 1.0), ([0.0, 0.0], 1.0), ([1.0, 1.0], 0.0), ([-1, -1], 1.0)]
)
def test_little_or_nothing_is_seen_in_little_or_equal_gaps(gaps, p):
    assert racing.p_worse(np.array(gaps, float)) == p


def test_the_incumbent_finished_every_fold_and_ties_go_to_the_lower_trial():
    losses = {4: by_fold([0.5, 0.5]), 2: by_fold([0.6, 0.4]), 9: by_fold([0.1]), 7: by_fold([0.9, 0.9])}
    assert racing.incumbent(losses, 2) == 2
    assert racing.incumbent({9: by_fold([0.1])}, 2) is None


def test_no_look_before_anybody_finished():
    assert racing.look(by_fold([9, 9, 9]), {}, 16) is None


def test_a_clearly_worse_trial_is_dropped_at_the_first_look_and_not_before():
    rng = np.random.default_rng(0)
    finished = {n: by_fold(0.5 + 0.05 * rng.standard_normal(16)) for n in range(4)}
    bad = 1.5 + 0.05 * rng.standard_normal(16)
    said = [racing.look(by_fold(bad[:k]), finished, 16) for k in range(1, 5)]
    assert [look.drops for look in said] == [False, False, True, True]
    assert said[2].reason.startswith(f"worse than trial {racing.incumbent(finished, 16)} by ")


def test_a_better_trial_is_never_dropped():
    finished = {0: by_fold(np.full(16, 0.7)), 1: by_fold(np.full(16, 0.8))}
    for k in range(1, 16):
        assert not racing.look(by_fold(np.full(k, 0.6)), finished, 16).drops


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(0, 4))
def test_p_is_a_probability_and_falls_as_the_challenger_gets_worse(gaps, prior):
    here, worse = racing.p_worse(np.array(gaps), prior), racing.p_worse(np.array(gaps) + 1, prior)
    assert 0 <= worse <= here + 1e-12 <= 1 + 1e-12


@pytest.mark.parametrize("folds", [16, 26, 68])
def test_an_equally_good_trial_is_dropped_in_at_most_a_fifth_of_studies(folds):
    """A slow reading of the committed simulation: every look through the module itself, against a lucky incumbent."""
    rng, dropped = np.random.default_rng(folds), 0
    for _ in range(100):
        finished = {n: by_fold(row) for n, row in enumerate(rng.standard_normal((10, folds)))}
        challenger = rng.standard_normal(folds)
        ks = range(racing.FIRST, folds)
        dropped += any(racing.look(by_fold(challenger[:k]), finished, folds).drops for k in ks)
    assert dropped / 100 <= 0.28  # .2 and two standard errors of 100 studies
