import numpy as np
import pytest
from sklearn.metrics import f1_score

from mer_bench import stats
from mer_bench.contracts import MerBenchError


def test_chance_of_mixed_predictions_is_one_in_k():
    labels = np.arange(600) % 3
    for k, predictions in ((3, labels), (3, np.roll(labels, 1))):
        assert stats.chance(labels, predictions, k, shuffles=400, seed=0) == pytest.approx(1 / 3, abs=0.005)


def test_chance_of_one_class_for_all_is_its_uf1():
    labels = np.array([0] * 60 + [1] * 25 + [2] * 15)
    always = np.zeros(100, int)
    assert stats.chance(labels, always, 3, seed=0) == pytest.approx(f1_score(labels, always, average="macro"))


def test_chance_agrees_with_a_loop():
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 4, 80), rng.choice(4, 80, p=[0.5, 0.3, 0.1, 0.1])
    loop = [f1_score(labels, rng.permutation(predictions), average="macro", zero_division=0) for _ in range(600)]
    found = stats.chance(labels, predictions, 4, shuffles=1050, seed=2)
    assert found == pytest.approx(np.mean(loop), abs=4 * np.std(loop) / np.sqrt(400))
    assert found == stats.chance(labels, predictions, 4, shuffles=1050, seed=2)


def test_chance_of_a_part_needs_the_zero_convention():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])
    with pytest.raises(MerBenchError, match="class 2 has no true clip"):
        stats.chance(labels, predictions, 3, seed=0)
    assert 0 < stats.chance(labels, predictions, 3, seed=0, absent="zero") < 2 / 3


def test_mean_and_sd_over_seeds():
    assert stats.mean_sd([1, 2, 4]) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    mean, sd = stats.mean_sd([0.7])
    assert mean == 0.7 and np.isnan(sd)


def test_what_cannot_be_summed_is_an_error():
    with pytest.raises(MerBenchError, match="one shuffle"):
        stats.chance(np.array([0, 1]), np.array([0, 1]), 2, shuffles=0, seed=0)
    with pytest.raises(MerBenchError, match="no values"):
        stats.mean_sd([])
