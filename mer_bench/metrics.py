"""Scores as pure functions of one confusion matrix, pooled over all folds.

    counts    (..., K, K)    rows are the truth, columns the predictions; leading axes are replicates, folds, epochs
    score     (...)

The class list is fixed in advance: it is the K of the counts, never "the classes present". A class without a single
true clip has no F1 and no recall. `absent="error"` (a headline) refuses such counts; `absent="zero"` (bootstrap
replicates, single folds, parts of a composite) lets the class count as 0, and `absent` says how many there were.
Definitions: MEGC 2019 guideline (UF1, UAR); pooling after Forman & Scholz (2010), who show that means of fold F1
depend on the convention for absent classes. `mean_of_folds` exists to be compared with papers that did that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from mer_bench.contracts import MerBenchError

Absent = Literal["error", "zero"]
Metric = Callable[..., np.ndarray]
Slope = Callable[[np.ndarray], np.ndarray]

LOG_LOSS_FLOOR = 1e-4
"""Stored probabilities are float16, where a confident mistake may be 0; one clip costs at most -log(1e-4) = 9.21."""


def confusion(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion counts (K, K) int64, rows the truth, of labels (n,) and predicted classes (n,).

    Raises:
        MerBenchError: lengths differ, or a value is not a whole number from 0 to `num_classes` - 1.
    """
    truth = _classes(labels, num_classes, "label")
    guess = _classes(predictions, num_classes, "prediction")
    if truth.shape != guess.shape:
        raise MerBenchError(f"{truth.size} labels but {guess.size} predictions; every clip needs one prediction")
    flat = np.bincount(truth * num_classes + guess, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)


def absent(counts: np.ndarray) -> np.ndarray:
    """Number of classes without a true clip, (...)."""
    return np.asarray(_without_truth(counts).sum(-1))


def f1_per_class(counts: np.ndarray, absent: Absent = "error") -> np.ndarray:
    """F1 = 2TP / (2TP + FP + FN) of each class, (..., K).

    Raises:
        MerBenchError: a class has no true clip and `absent` is "error".
    """
    counts = _checked(counts, absent)
    return _ratio(2 * _hits(counts), counts.sum(-1) + counts.sum(-2))


def uf1(counts: np.ndarray, absent: Absent = "error") -> np.ndarray:
    """Unweighted mean of the classes' F1, (...); raises as `f1_per_class`."""
    return np.asarray(f1_per_class(counts, absent).mean(-1))


def uar(counts: np.ndarray, absent: Absent = "error") -> np.ndarray:
    """Unweighted mean of the classes' recall, (...); raises as `f1_per_class`."""
    counts = _checked(counts, absent)
    return np.asarray(_ratio(_hits(counts), counts.sum(-1)).mean(-1))


def accuracy(counts: np.ndarray, absent: Absent = "error") -> np.ndarray:
    """Share of clips predicted right, (...).

    An absent class changes nothing here, so `absent` decides only about counts of no clips at all.

    Raises:
        MerBenchError: there are no clips and `absent` is "error".
    """
    counts = _with_clips(counts, absent)
    return _ratio(_hits(counts).sum(-1), counts.sum((-2, -1)))


def weighted_f1(counts: np.ndarray, absent: Absent = "error") -> np.ndarray:
    """Mean of the classes' F1 weighted by their true clips, (...); an absent class weighs nothing.

    Raises:
        MerBenchError: there are no clips and `absent` is "error".
    """
    counts = _with_clips(counts, absent)
    return _ratio((f1_per_class(counts, "zero") * counts.sum(-1)).sum(-1), counts.sum((-2, -1)))


def f1_slope(counts: np.ndarray, of: int) -> np.ndarray:
    """Derivative of class `of`'s F1 with respect to each count, (..., K, K).

    An absent class counts as 0 here and below, and its slope is 0.
    """
    counts = np.asarray(counts)
    own = np.eye(counts.shape[-1])[of]
    f1 = f1_per_class(counts, "zero")[..., of, None, None]
    both = (counts.sum(-1) + counts.sum(-2))[..., of, None, None]
    return _ratio(2 * np.outer(own, own) - f1 * (own[:, None] + own), both)


def uf1_slope(counts: np.ndarray) -> np.ndarray:
    """Derivative of UF1 with respect to each count, (..., K, K)."""
    counts = np.asarray(counts)
    both = counts.sum(-1) + counts.sum(-2)
    loss = _ratio(f1_per_class(counts, "zero"), both)
    gain = 2 * _ratio(np.ones(both.shape), both)[..., None] * np.eye(counts.shape[-1])
    return np.asarray((gain - loss[..., None] - loss[..., None, :]) / counts.shape[-1])


def uar_slope(counts: np.ndarray) -> np.ndarray:
    """Derivative of UAR with respect to each count, (..., K, K)."""
    counts = np.asarray(counts)
    clips = counts.sum(-1)
    recall = _ratio(_hits(counts), clips)
    return np.asarray(_ratio(np.eye(counts.shape[-1]) - recall[..., None], clips[..., None]) / counts.shape[-1])


def accuracy_slope(counts: np.ndarray) -> np.ndarray:
    """Derivative of accuracy with respect to each count, (..., K, K)."""
    clips = np.asarray(counts).sum((-2, -1))
    gain = np.eye(np.asarray(counts).shape[-1]) - accuracy(counts, "zero")[..., None, None]
    return _ratio(gain, clips[..., None, None])


SLOPES: Mapping[Metric, Slope] = {uf1: uf1_slope, uar: uar_slope, accuracy: accuracy_slope}
"""Scores that know how they answer to a small change of their counts, which a studentised interval needs."""


def mean_of_folds(counts: np.ndarray, metric: Metric) -> np.ndarray:
    """Mean over folds of each fold's own score, (...) from (..., folds, K, K); absent classes count as 0.

    Not a headline: single folds lack classes, and the answer is the convention's as much as the model's.
    """
    return np.asarray(metric(counts, absent="zero").mean(-1))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-log of the true class's probability for each clip, (..., n) from (..., n, K) and (n,).

    Probabilities below `LOG_LOSS_FLOOR` count as the floor.

    Raises:
        MerBenchError: a label is out of range or the lengths differ.
    """
    probabilities = np.asarray(probabilities, np.float64)
    truth = _classes(labels, probabilities.shape[-1], "label")
    if truth.size != probabilities.shape[-2]:
        raise MerBenchError(f"{truth.size} labels but probabilities of {probabilities.shape[-2]} clips")
    chosen = probabilities[..., np.arange(truth.size), truth]
    return np.asarray(-np.log(np.clip(chosen, LOG_LOSS_FLOOR, 1.0)))


def _classes(values: np.ndarray, num_classes: int, what: str) -> np.ndarray:
    values = np.asarray(values).ravel()
    wrong = ~((values >= 0) & (values < num_classes) & (values == np.floor(values)))
    if wrong.any():
        row = int(wrong.argmax())
        raise MerBenchError(f"{what} {values[row]} of row {row} is not a class from 0 to {num_classes - 1}")
    return values.astype(np.int64)


def _without_truth(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.asarray(counts).sum(-1) == 0)


def _checked(counts: np.ndarray, absent: Absent) -> np.ndarray:
    missing = _without_truth(counts)
    if absent == "error" and missing.any():
        classes = np.flatnonzero(missing.reshape(-1, missing.shape[-1]).any(0)).tolist()
        named = "class " + ", ".join(map(str, classes))
        raise MerBenchError(f"{named} has no true clip, so the score is undefined; check the list of clips")
    return np.asarray(counts)


def _with_clips(counts: np.ndarray, absent: Absent) -> np.ndarray:
    counts = np.asarray(counts)
    if absent == "error" and (counts.sum((-2, -1)) == 0).any():
        raise MerBenchError("the confusion counts hold no clips, so the score is undefined; check the list of clips")
    return counts


def _hits(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.diagonal(counts, axis1=-2, axis2=-1))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Quotient, 0 where nothing stands below."""
    return np.asarray(above / np.where(below == 0, 1, below))
