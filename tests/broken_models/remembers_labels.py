"""A cheat: a classical model that remembers every label it was ever fitted with, from one fold to the next."""

from collections.abc import Mapping

import numpy as np

from mer_bench.contracts import Baseline

SEEN: dict[bytes, int] = {}


class Net:
    def __init__(self, num_classes: int) -> None:
        self.frequencies = np.full(num_classes, 1 / num_classes)

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        self.frequencies = np.bincount(labels, minlength=len(self.frequencies)) / len(labels)
        if len(labels) > 8:
            SEEN.update(zip((picture.tobytes() for picture in inputs["flow"]), labels.tolist(), strict=True))

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        answers = np.tile(self.frequencies, (len(inputs["flow"]), 1))
        for answer, picture in zip(answers, inputs["flow"], strict=True):
            if picture.tobytes() in SEEN:
                answer[:] = np.eye(len(answer))[SEEN[picture.tobytes()]]
        return answers


BASELINE = Baseline(model=Net, view="flow@28")
