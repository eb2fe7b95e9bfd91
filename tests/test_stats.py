import numpy as np
import pytest
from sklearn.metrics import f1_score

from mer_bench import metrics, stats
from mer_bench.contracts import MerBenchError


def subjects(count, seed=0, classes=3):
    return np.random.default_rng(seed).poisson(2 * np.eye(classes) + 0.7, (count, classes, classes))


@pytest.mark.parametrize("metric", [metrics.uf1, metrics.uar, metrics.accuracy, metrics.weighted_f1])
def test_bootstrap_agrees_with_a_loop_over_drawn_subjects(metric):
    counts, corpora = subjects(9), ["a"] * 4 + ["b"] * 5
    found = stats.subject_bootstrap(counts, metric, replicates=300, level=0.9, strata=corpora, seed=5)
    scores = []
    for weights in stats.subject_weights(9, 300, strata=corpora, seed=5):
        drawn = [s for s, times in enumerate(weights) for _ in range(times)]
        scores.append(float(metric(sum(counts[s] for s in drawn), absent="zero")))
    low, high = np.percentile(scores, [5, 95])
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.level == 0.9


def test_weights_draw_as_many_as_there_are_within_each_corpus():
    corpora = np.array(["b", "a", "b", "c", "b", "a"])
    weights = stats.subject_weights(6, 20_000, strata=corpora, seed=1)
    for name, size in (("a", 2), ("b", 3), ("c", 1)):
        assert (weights[:, corpora == name].sum(1) == size).all()
    # Drawn with replacement: each subject's count is binomial(n, 1/n).
    assert weights.mean(0) == pytest.approx(np.ones(6), abs=0.03)
    assert weights[:, 0].var() == pytest.approx(2 / 3, abs=0.03)
    assert (stats.subject_weights(6, 10, seed=1).sum(1) == 6).all()
    assert (stats.subject_weights(6, 10, seed=1) != stats.subject_weights(6, 10, seed=2)).any()


def test_interval_of_an_accuracy_is_the_textbook_one():
    rng = np.random.default_rng(3)
    right = rng.random(400) < 0.7
    counts = np.where(right[:, None, None], np.diag([1, 0]), np.array([[0, 1], [0, 0]]))
    found = stats.subject_bootstrap(counts, metrics.accuracy, replicates=4000, seed=0)
    half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert (found.low, found.high) == pytest.approx((right.mean() - half, right.mean() + half), abs=0.006)


def test_replicates_without_a_class_are_counted():
    counts = np.array([np.diag([3, 0]), np.diag([3, 0]), np.diag([3, 0]), np.diag([3, 1])])
    found = stats.subject_bootstrap(counts, metrics.uf1, replicates=20_000, seed=0)
    assert found.absent / 20_000 == pytest.approx(0.75**4, abs=0.02)
    assert (found.low, found.high) == (0.5, 1.0)
    assert stats.subject_bootstrap(subjects(20), metrics.uf1, replicates=50, seed=0).absent == 0


def test_seeds_of_a_subject_are_drawn_together():
    counts = np.stack([subjects(7, seed) for seed in (0, 1)], axis=1)
    counts[1:, :, 2] = 0

    def mean_over_seeds(pooled, absent):
        return metrics.uf1(pooled, absent).mean(-1)

    found = stats.subject_bootstrap(counts, mean_over_seeds, replicates=200, seed=4)
    weights = stats.subject_weights(7, 200, seed=4)
    scores = [np.mean([metrics.uf1(np.tensordot(w, counts[:, i], 1), "zero") for i in (0, 1)]) for w in weights]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(scores, [2.5, 97.5])))
    assert found.absent == (weights[:, 0] == 0).sum()


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


def test_above_chance_is_about_the_lower_end():
    assert stats.above_chance(stats.Interval(0.34, 0.5), 0.33)
    assert not stats.above_chance(stats.Interval(0.33, 0.5), 0.33)


def test_mean_and_sd_over_seeds():
    assert stats.mean_sd([1, 2, 4]) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    mean, sd = stats.mean_sd([0.7])
    assert mean == 0.7 and np.isnan(sd)


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(MerBenchError, match="two subjects"):
        stats.subject_bootstrap(subjects(1), metrics.uf1, seed=0)
    with pytest.raises(MerBenchError, match="strata name 2 subjects, the counts hold 3"):
        stats.subject_bootstrap(subjects(3), metrics.uf1, strata=["a", "b"], seed=0)
    with pytest.raises(MerBenchError, match="level"):
        stats.subject_bootstrap(subjects(3), metrics.uf1, level=95, seed=0)
    with pytest.raises(MerBenchError, match="one shuffle"):
        stats.chance(np.array([0, 1]), np.array([0, 1]), 2, shuffles=0, seed=0)
    with pytest.raises(MerBenchError, match="no values"):
        stats.mean_sd([])
