"""What methods without gradients share: a clip described once for all folds, and probabilities from a decision.

    arrays of a view (N, ...)       --describe, one clip at a time-->  features (N, D)
    features                        --two clips at a time----------->  products (N, N), for linear methods
    decisions (N, classes present)  --softmax-->  probabilities (N, num_classes), 0 where a class is absent

No library is imported here: a method brings its own classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

FEATURES = "features"
PRODUCTS = "products"
MOST_PRODUCTS = 4096
"""Clips up to which inner products are kept: 128 MiB; with more, a fold is fitted on features."""


def described(model: Any, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """`{"features": (N, D)}` from a model's own `describe(clip)`; the arrays as they are if it has none.

    `describe` sees one clip, its arrays without their first axis, and never a label, so nothing can pass from one clip
    to another. The harness asks once for all folds; what is described already passes through, so that a model's `fit`
    and `predict_proba` may ask again and also stand a view's bare arrays.
    """
    describe = getattr(model, "describe", None)
    if describe is None or FEATURES in arrays or PRODUCTS in arrays:
        return arrays
    count = len(next(iter(arrays.values())))
    return {FEATURES: np.stack([describe({key: array[row] for key, array in arrays.items()}) for row in range(count)])}


def prepared(model: Any, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What the harness keeps of all clips for all folds: `described`, and for `Linear` methods their inner products.

    A product is of two clips and of no third, and knows no label; `part` gives a fit its training clips' alone. So one
    Gram matrix serves all folds, which then cost a small problem each, whatever the number of features.
    """
    found = described(model, arrays)
    if not isinstance(model, Linear) or len(found[FEATURES]) > MOST_PRODUCTS:
        return found
    values = np.asarray(found[FEATURES], np.float64)
    return {PRODUCTS: values @ values.T}


def part(arrays: Mapping[str, np.ndarray], rows: np.ndarray, fitted: np.ndarray) -> dict[str, np.ndarray]:
    """Some clips of what was `prepared`; of their products those with the clips that the model is fitted on."""
    return {
        key: array[np.ix_(rows, fitted)] if key == PRODUCTS else np.asarray(array[rows])
        for key, array in arrays.items()
    }


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
        self.linear: Mapping[str, np.ndarray] | None = None

    def fit(self, values: np.ndarray, labels: np.ndarray) -> None:
        """Fit on values (N, D) and labels (N,); with a single class there is nothing to decide."""
        self.classes, self.linear = np.unique(labels), None
        if len(self.classes) > 1:
            self.classifier.fit(values, labels)

    def predict_proba(self, values: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, num_classes), rows sum to 1."""
        decisions = np.zeros((len(values), len(self.classes)))
        if len(self.classes) > 1:
            said = self._decided(values)
            decisions = said if said.ndim == 2 else np.stack([-said, said], axis=1)
        weights = np.exp(decisions - decisions.max(1, keepdims=True))
        probabilities = np.zeros((len(values), self.num_classes))
        probabilities[:, self.classes] = weights / weights.sum(1, keepdims=True)
        return probabilities

    def keep(self) -> dict[str, np.ndarray]:
        """Arrays that decide as the fitted classifier does, if it is linear; for `restore`."""
        if len(self.classes) < 2:
            return {"classes": self.classes}
        weights, offsets = np.atleast_2d(self.classifier.coef_), np.atleast_1d(self.classifier.intercept_)
        pairs = len(self.classes) > 2 and getattr(self.classifier, "decision_function_shape", "") == "ovr"
        return {"classes": self.classes, "weights": weights, "offsets": offsets, "pairs": np.array(pairs)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Decide as the classifier that was kept."""
        self.classes = arrays["classes"]
        self.linear = {name: arrays[name] for name in ("weights", "offsets", "pairs")} if len(self.classes) > 1 else {}

    def _decided(self, values: np.ndarray) -> np.ndarray:
        if self.linear is None:
            return np.asarray(self.classifier.decision_function(values))
        said = values @ self.linear["weights"].T + self.linear["offsets"]
        if self.linear["pairs"]:
            return _votes(said, len(self.classes))
        return np.asarray(said[:, 0] if said.shape[1] == 1 else said)


def _votes(said: np.ndarray, classes: int) -> np.ndarray:
    """Decisions (N, pairs), positive for the first of each pair -> (N, classes): votes, and less than 1/3 for sureness.

    As scikit-learn makes one decision a class of its pairwise support vector machines.
    """
    first, second = np.triu_indices(classes, 1)
    sides = np.eye(classes)[first] - np.eye(classes)[second]
    votes = (said >= 0) @ (sides > 0).astype(float) + (said < 0) @ (sides < 0).astype(float)
    sure = said @ sides
    return np.asarray(votes + sure / (3 * (np.abs(sure) + 1)))


class Linear:
    """A method that needs no more of its clips, once described, than their inner products.

    A subclass describes a clip. The harness gives `products`: (N, N) to `fit`, (M, N) to `predict_proba`; given
    features or a view's bare arrays it is fitted on features, with the same answers to rounding.

    Args:
        num_classes: as of `Ranked`.
        on_features: the classifier, fitted on (N, D).
        on_products: the same classifier, fitted on (N, N).
    """

    def __init__(self, num_classes: int, on_features: Any, on_products: Any) -> None:
        self.ways = {FEATURES: Ranked(num_classes, on_features), PRODUCTS: Ranked(num_classes, on_products)}

    def describe(self, clip: Mapping[str, np.ndarray]) -> np.ndarray:
        """One clip's arrays -> (D,)."""
        raise NotImplementedError

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        """Fit on clips and labels (N,)."""
        key = PRODUCTS if PRODUCTS in inputs else FEATURES
        self.ways[key].fit(described(self, inputs)[key], labels)

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Clips -> (N, num_classes), rows sum to 1."""
        key = PRODUCTS if PRODUCTS in inputs else FEATURES
        return self.ways[key].predict_proba(described(self, inputs)[key])

    def keep(self) -> dict[str, np.ndarray]:
        """Arrays for `restore`, of a model fitted on clips or features."""
        return self.ways[FEATURES].keep()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Decide as the model that was kept."""
        self.ways[FEATURES].restore(arrays)
