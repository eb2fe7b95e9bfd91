"""Stratified chance: every clip draws its class with the frequencies of the training clips, whatever it shows.

    flow           (N, 28, 28, 3)    decides which draw a clip gets, and nothing else
    probabilities  (N, num_classes)  1 for the class drawn

`majority` always says the most frequent class and so has the accuracy of the class mix but the UF1 of one class; this
says every class as often as it occurs, and its UF1 is about 1 / num_classes. A draw is named by the training's seed and
by the clip's own pixels, so it does not depend on which clips are asked about together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

from mer_bench.contracts import Baseline
from mer_bench.seeds import seed


class Prior:
    """Random classes, as often as in training."""

    def __init__(self, num_classes: int) -> None:
        self.frequencies = np.full(num_classes, 1 / num_classes)
        # The harness seeds torch by task, seed and fold before it builds a model.
        self.name = int(torch.randint(2**31, ()))

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        """Count labels (N,)."""
        self.frequencies = np.bincount(labels, minlength=len(self.frequencies)) / len(labels)

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """`flow` (N, S, S, 3) uint8 -> (N, num_classes), each row 1 for one class."""
        pixels = (hashlib.sha256(np.ascontiguousarray(clip)).hexdigest() for clip in inputs["flow"])
        draws = np.array([seed("prior", self.name, name) / 2**63 for name in pixels])
        present = np.flatnonzero(self.frequencies)
        ends = np.cumsum(self.frequencies[present])
        drawn = present[np.searchsorted(ends[:-1], draws, side="right")]
        return np.eye(len(self.frequencies))[drawn]

    def keep(self) -> dict[str, np.ndarray]:
        """Arrays for `restore`."""
        return {"frequencies": self.frequencies, "name": np.array(self.name)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Draw as the model that was kept."""
        self.frequencies, self.name = arrays["frequencies"], int(arrays["name"])


BASELINE = Baseline(model=Prior, view="flow@28")
