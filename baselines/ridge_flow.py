"""Ridge regression on raw flow: the simplest thing that sees motion, and hard to beat.

    flow           (N, 28, 28, 3) uint8    horizontal, vertical, strain
    values         (N, 2352) in 0..1
    probabilities  (N, num_classes)        softmax of one-against-rest scores

Its one number (alpha 300) was fixed in advance, so it needs no selection and cannot leak.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier

from mer_bench.contracts import Baseline


class RidgeFlow:
    """`RidgeClassifier(alpha=300, class_weight="balanced")` on values / 255.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        alpha: ridge penalty.
    """

    def __init__(self, num_classes: int, *, alpha: float = 300.0) -> None:
        self.num_classes, self.alpha = num_classes, alpha
        self.classes = np.arange(0)
        self.ridge: RidgeClassifier | None = None

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        """Fit on `flow` (N, S, S, 3) uint8 and labels (N,)."""
        self.classes = np.unique(labels)
        # With a single class there is nothing to regress on, and scikit-learn refuses.
        self.ridge = None
        if len(self.classes) > 1:
            self.ridge = RidgeClassifier(alpha=self.alpha, class_weight="balanced").fit(_values(inputs), labels)

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """`flow` (N, S, S, 3) uint8 -> (N, num_classes), rows sum to 1."""
        scores = np.zeros((len(inputs["flow"]), len(self.classes)))
        if self.ridge is not None:
            decision = self.ridge.decision_function(_values(inputs))
            scores = decision if decision.ndim == 2 else np.stack([-decision, decision], axis=1)
        probabilities = np.zeros((len(scores), self.num_classes))
        probabilities[:, self.classes] = softmax(scores, axis=1)
        return probabilities


def _values(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    flow = np.asarray(inputs["flow"], dtype=np.float64)
    return flow.reshape(len(flow), -1) / 255


BASELINE = Baseline(model=RidgeFlow, view="flow@28")
