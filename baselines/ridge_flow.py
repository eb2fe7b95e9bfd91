"""Ridge regression on raw flow: the simplest thing that sees motion, and hard to beat.

    flow           (N, 28, 28, 3) uint8    horizontal, vertical, strain
    values         (N, 2352) in 0..1
    probabilities  (N, num_classes)        softmax of one-against-rest scores

Its one number (alpha 300) was fixed in advance, so it needs no selection and cannot leak.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import solve
from sklearn.linear_model import RidgeClassifier

from mer_bench.classical import Linear
from mer_bench.contracts import Baseline


class DualRidge:
    """`RidgeClassifier(alpha, class_weight="balanced")` from inner products alone, to rounding.

    With C the weighted centring, W the class weights' roots and K the products it solves
    (W C K C' W + alpha) d = W (Y - mean): one system of the fold's clips, where scikit-learn multiplies all features
    anew in every fold (the dual form: Saunders, Gammerman, Vovk 1998).

    Args:
        alpha: ridge penalty.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.dual, self.intercept = np.zeros((0, 1)), np.zeros(1)

    def fit(self, products: np.ndarray, labels: np.ndarray) -> None:
        """Fit on products (N, N) and labels (N,) of at least two classes."""
        classes, owner, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = (len(labels) / (len(classes) * counts))[owner]
        targets = np.where(owner[:, None] == np.arange(len(classes)), 1.0, -1.0)
        if len(classes) == 2:
            targets = targets[:, 1:]
        share, root, mean = weights / weights.sum(), np.sqrt(weights)[:, None], np.average(targets, 0, weights)
        around = products @ share
        system = products - around - around[:, None]
        system += share @ around
        system *= root
        system *= root.T
        system.flat[:: len(system) + 1] += self.alpha
        self.dual = root * solve(system, root * (targets - mean), assume_a="pos", overwrite_a=True, check_finite=False)
        # the dual's columns sum to 0, so that a clip's product with the mean clip cancels
        self.intercept = mean - around @ self.dual

    def decision_function(self, products: np.ndarray) -> np.ndarray:
        """(M, N) products with the fitted clips -> (M, classes), or (M,) for two classes."""
        said = products @ self.dual + self.intercept
        return said if said.shape[1] > 1 else said[:, 0]


class RidgeFlow(Linear):
    """`RidgeClassifier(alpha=300, class_weight="balanced")` on values / 255.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        alpha: ridge penalty.
    """

    def __init__(self, num_classes: int, *, alpha: float = 300.0) -> None:
        super().__init__(num_classes, RidgeClassifier(alpha=alpha, class_weight="balanced"), DualRidge(alpha))

    def describe(self, clip: Mapping[str, np.ndarray]) -> np.ndarray:
        """`flow` (S, S, 3) uint8 -> (3 S S,) in 0..1."""
        return np.asarray(clip["flow"], np.float64).ravel() / 255


BASELINE = Baseline(model=RidgeFlow, view="flow@28")
