"""Ridge regression on raw flow: the simplest thing that sees motion, and hard to beat.

    flow           (N, 28, 28, 3) uint8    horizontal, vertical, strain
    values         (N, 2352) in 0..1
    probabilities  (N, num_classes)        softmax of one-against-rest scores

Its one number (alpha 300) was fixed in advance, so it needs no selection and cannot leak.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import RidgeClassifier

from mer_bench.classical import Ranked
from mer_bench.contracts import Baseline


class RidgeFlow:
    """`RidgeClassifier(alpha=300, class_weight="balanced")` on values / 255.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        alpha: ridge penalty.
    """

    def __init__(self, num_classes: int, *, alpha: float = 300.0) -> None:
        self.ridge = Ranked(num_classes, RidgeClassifier(alpha=alpha, class_weight="balanced"))

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        """Fit on `flow` (N, S, S, 3) uint8 and labels (N,)."""
        self.ridge.fit(_values(inputs), labels)

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """`flow` (N, S, S, 3) uint8 -> (N, num_classes), rows sum to 1."""
        return self.ridge.predict_proba(_values(inputs))

    def keep(self) -> dict[str, np.ndarray]:
        """Arrays for `restore`."""
        return self.ridge.keep()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Decide as the model that was kept."""
        self.ridge.restore(arrays)


def _values(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    flow = np.asarray(inputs["flow"], dtype=np.float64)
    return flow.reshape(len(flow), -1) / 255


BASELINE = Baseline(model=RidgeFlow, view="flow@28")
