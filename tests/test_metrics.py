from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as oracle

from mer_bench import metrics
from mer_bench.contracts import MerBenchError

STSTNET = np.array([[219, 22, 9], [40, 62, 7], [21, 3, 59]])
ALL = (metrics.uf1, metrics.uar, metrics.accuracy, metrics.weighted_f1)


@st.composite
def answers(draw, every_class=False):
    """Labels, predictions and the number of classes of some clips."""
    k = draw(st.integers(2, 6))
    n = draw(st.integers(1, 60))
    labels, predictions = (draw(arrays(np.int8, n, elements=st.integers(0, k - 1))) for _ in range(2))
    if every_class:
        labels = np.concatenate([labels, np.arange(k, dtype=np.int8)])
        predictions = np.concatenate([predictions, draw(arrays(np.int8, k, elements=st.integers(0, k - 1)))])
    return labels, predictions, k


def test_documented_example():
    assert metrics.uf1(STSTNET) == pytest.approx(0.7353, abs=5e-5)
    assert metrics.uar(STSTNET) == pytest.approx(0.7186, abs=5e-5)
    assert metrics.accuracy(STSTNET) == pytest.approx(0.7692, abs=5e-5)


def test_rows_are_the_truth():
    assert metrics.confusion(np.array([0, 0, 2]), np.array([1, 0, 2]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@given(answers(every_class=True))
def test_headlines_agree_with_scikit_learn(case):
    labels, predictions, k = case
    counts = metrics.confusion(labels, predictions, k)
    of = {"labels": range(k), "zero_division": 0}
    assert (counts == oracle.confusion_matrix(labels, predictions, labels=range(k))).all()
    assert metrics.f1_per_class(counts) == pytest.approx(oracle.f1_score(labels, predictions, average=None, **of))
    assert metrics.uf1(counts) == pytest.approx(oracle.f1_score(labels, predictions, average="macro", **of))
    assert metrics.uar(counts) == pytest.approx(oracle.recall_score(labels, predictions, average="macro", **of))
    assert metrics.uar(counts) == pytest.approx(oracle.balanced_accuracy_score(labels, predictions))
    assert metrics.accuracy(counts) == pytest.approx(oracle.accuracy_score(labels, predictions))
    assert metrics.weighted_f1(counts) == pytest.approx(oracle.f1_score(labels, predictions, average="weighted", **of))


@given(answers())
def test_absent_classes_are_zero_only_when_asked(case):
    labels, predictions, k = case
    counts = metrics.confusion(labels, predictions, k)
    of = {"labels": range(k), "zero_division": 0}
    missing = sorted(set(range(k)) - set(labels.tolist()))
    assert metrics.absent(counts) == len(missing)
    assert metrics.uf1(counts, absent="zero") == pytest.approx(
        oracle.f1_score(labels, predictions, average="macro", **of)
    )
    assert metrics.uar(counts, absent="zero") == pytest.approx(
        oracle.recall_score(labels, predictions, average="macro", **of)
    )
    assert metrics.accuracy(counts) == pytest.approx(oracle.accuracy_score(labels, predictions))
    assert metrics.weighted_f1(counts) == pytest.approx(oracle.f1_score(labels, predictions, average="weighted", **of))
    if missing:
        named = f"class {', '.join(map(str, missing))} has no true clip"
        for metric in (metrics.uf1, metrics.uar, metrics.f1_per_class):
            with pytest.raises(MerBenchError, match=named):
                metric(counts)


@given(answers(), st.randoms(use_true_random=False), st.integers(0, 60))
def test_counts_know_neither_order_nor_cut(case, random, cut):
    labels, predictions, k = case
    counts = metrics.confusion(labels, predictions, k)
    order = random.sample(range(len(labels)), len(labels))
    assert (metrics.confusion(labels[order], predictions[order], k) == counts).all()
    parts = [metrics.confusion(labels[s], predictions[s], k) for s in (slice(cut), slice(cut, None))]
    assert (sum(parts) == counts).all()


@given(arrays(np.int64, (2, 4, 3, 3), elements=st.integers(0, 9)))
def test_leading_axes_are_scored_one_by_one(counts):
    for metric in ALL:
        scores = metric(counts, absent="zero")
        assert scores.shape == (2, 4)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert scores[1, 2] == metric(counts[1, 2], absent="zero")
    assert metrics.f1_per_class(counts, absent="zero").shape == (2, 4, 3)
    assert metrics.absent(counts).shape == (2, 4)
    folds = metrics.mean_of_folds(counts, metrics.uf1)
    assert folds == pytest.approx([np.mean([metrics.uf1(c, absent="zero") for c in row]) for row in counts])


def test_mean_of_folds_is_not_the_pooled_score():
    folds = np.array([np.diag([9, 0]), np.diag([0, 1])])
    assert metrics.uf1(folds.sum(0)) == 1
    assert metrics.mean_of_folds(folds, metrics.uf1) == 0.5
    assert metrics.mean_of_folds(folds, metrics.accuracy) == 1


def test_no_clips_is_an_error_unless_zero_is_asked_for():
    for metric in ALL:
        assert metric(np.zeros((3, 3), int), absent="zero") == 0
        with pytest.raises(MerBenchError):
            metric(np.zeros((3, 3), int))


@pytest.mark.parametrize("bad", [[0, 3], [0, -1], [0, 0.5], [0, float("nan")]])
def test_classes_out_of_range_are_errors(bad):
    good = np.array([0, 1])
    with pytest.raises(MerBenchError, match=r"label .* of row 1 is not a class from 0 to 2"):
        metrics.confusion(np.array(bad), good, 3)
    with pytest.raises(MerBenchError, match=r"prediction .* of row 1"):
        metrics.confusion(good, np.array(bad), 3)
    with pytest.raises(MerBenchError, match=r"label .* of row 1"):
        metrics.log_loss(np.full((2, 3), 1 / 3), np.array(bad))


def test_a_missing_clip_is_an_error():
    with pytest.raises(MerBenchError, match="3 labels but 2 predictions"):
        metrics.confusion(np.array([0, 1, 2]), np.array([0, 1]), 3)
    with pytest.raises(MerBenchError, match="3 labels but probabilities of 2"):
        metrics.log_loss(np.full((2, 3), 1 / 3), np.array([0, 1, 2]))


def test_log_loss_agrees_with_scikit_learn_and_survives_a_zero():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), (3, 50))
    labels = rng.integers(0, 4, 50)
    losses = metrics.log_loss(probabilities, labels)
    assert losses.shape == (3, 50)
    clipped = np.clip(probabilities, metrics.LOG_LOSS_FLOOR, 1)
    assert losses == pytest.approx(-np.log(clipped[:, np.arange(50), labels]))
    even = rng.dirichlet(np.full(4, 20.0), 50)
    assert metrics.log_loss(even, labels).mean() == pytest.approx(oracle.log_loss(labels, even, labels=range(4)))
    sure = np.array([[1, 0], [1, 0]], np.float16)
    assert metrics.log_loss(sure, np.array([0, 1])) == pytest.approx([0, -np.log(1e-4)])
    assert metrics.log_loss(np.zeros((2, 0, 3)), np.zeros(0, np.int8)).shape == (2, 0)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_slopes_against_finite_differences(shape):
    counts = np.random.default_rng(5).poisson(3, (*shape, 4, 4)).astype(float)
    counts[..., 3, :] = counts[..., :, 3] = 0
    pairs = [(partial(metric, absent="zero"), slope) for metric, slope in metrics.SLOPES.items()]
    pairs += [
        (lambda c, k=k: metrics.f1_per_class(c, "zero")[..., k], partial(metrics.f1_slope, of=k)) for k in range(4)
    ]
    for score, slope in pairs:
        found = slope(counts)
        assert found.shape == counts.shape
        for row, column in np.ndindex(3, 3):
            step = np.zeros((4, 4))
            step[row, column] = 1e-5
            told = (score(counts + step) - score(counts - step)) / 2e-5
            assert found[..., row, column] == pytest.approx(told, abs=1e-7)
