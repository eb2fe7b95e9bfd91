"""What methods without gradients share: a clip described once for all folds, and probabilities from a decision.

    arrays of a view (N, ...)       --describe, one clip at a time-->  features (N, D)
    decisions (N, classes present)  --softmax-->  probabilities (N, num_classes), 0 where a class is absent

No library is imported here: a method brings its own classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FEATURES = "features"


def described(model: Any, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """`{"features": (N, D)}` from a model's own `describe(clip)`; the arrays as they are if it has none.

    `describe` sees one clip, its arrays without their first axis, and never a label, so nothing can pass from one clip
    to another. The harness asks once for all folds; what is described already passes through, so that a model's `fit`
    and `predict_proba` may ask again and also stand a view's bare arrays.
    """
    describe = getattr(model, "describe", None)
    if describe is None or FEATURES in arrays:
        return arrays
    count = len(next(iter(arrays.values())))
    return {FEATURES: np.stack([describe({key: array[row] for key, array in arrays.items()}) for row in range(count)])}


class Ranked:
    """A scikit-learn classifier that decides but knows no probabilities, such as a support vector machine.

    Its probabilities are the softmax of its decision values: they rank the classes as the classifier does, and mean
    no more; calibrating them would take clips that a fold does not have.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        classifier: with `fit` and `decision_function`.
    """

    def __init__(self, num_classes: int, classifier: Any) -> None:
        self.num_classes, self.classifier = num_classes, classifier
        self.classes = np.arange(0)

    def fit(self, values: np.ndarray, labels: np.ndarray) -> None:
        """Fit on values (N, D) and labels (N,); with a single class there is nothing to decide."""
        self.classes = np.unique(labels)
        if len(self.classes) > 1:
            self.classifier.fit(values, labels)

    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, num_classes), rows sum to 1."""
        decisions = np.zeros((len(values), len(self.classes)))
        if len(self.classes) > 1:
            said = self.classifier.decision_function(values)
            decisions = said if said.ndim == 2 else np.stack([-said, said], axis=1)
        weights = np.exp(decisions - decisions.max(1, keepdims=True))
        probabilities = np.zeros((len(values), self.num_classes))
        probabilities[:, self.classes] = weights / weights.sum(1, keepdims=True)
        return probabilities
