"""A cheat: looks the labels up in the corpus."""

from collections.abc import Mapping

import numpy as np

from mer_bench.contracts import Baseline
from mer_bench.pixels.inputs import load


class Net:
    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        corpus = load("synth-3", "flow@28")
        pictures, known = corpus.arrays["flow"], corpus.clips["label"]
        self.labels = {picture.tobytes(): label for picture, label in zip(pictures, known, strict=True)}

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.eye(self.num_classes)[[self.labels.get(picture.tobytes(), 0) for picture in inputs["flow"]]]


BASELINE = Baseline(model=Net, view="flow@28")
