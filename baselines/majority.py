"""The floor: every clip gets the class frequencies of the training clips, so the prediction is their majority class.

flow           (N, 28, 28, 3)    ignored but for its length
probabilities  (N, num_classes)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mer_bench.contracts import Baseline


class Majority:
    """Class frequencies of the training clips, whatever the input."""

    def __init__(self, num_classes: int) -> None:
        self.frequencies = np.full(num_classes, 1 / num_classes)

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        """Count labels (N,)."""
        self.frequencies = np.bincount(labels, minlength=len(self.frequencies)) / len(labels)

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """N clips -> (N, num_classes), all rows alike."""
        return np.tile(self.frequencies, (len(inputs["flow"]), 1))

    def keep(self) -> dict[str, np.ndarray]:
        """Arrays for `restore`."""
        return {"frequencies": self.frequencies}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Say what the model that was kept says."""
        self.frequencies = arrays["frequencies"]


BASELINE = Baseline(model=Majority, view="flow@28")
