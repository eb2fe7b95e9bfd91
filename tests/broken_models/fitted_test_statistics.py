"""A cheat: a classical model that scales the clips it predicts by their own mean and deviation."""

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import LogisticRegression

from mer_bench.contracts import Baseline


class Net:
    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.model = LogisticRegression()

    def fit(self, inputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
        self.constant = np.bincount(labels, minlength=self.num_classes) / len(labels)
        self.several = len(set(labels)) > 1
        if self.several:
            self.model.fit(_scaled(inputs["flow"]), labels)

    def predict_proba(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        answer = np.tile(self.constant, (len(inputs["flow"]), 1))
        if self.several:
            answer[:] = 0
            answer[:, self.model.classes_] = self.model.predict_proba(_scaled(inputs["flow"]))
        return answer


def _scaled(flow: np.ndarray) -> np.ndarray:
    values = flow.reshape(len(flow), -1).astype(float)
    return (values - values.mean(0)) / (values.std(0) + 1)


BASELINE = Baseline(model=Net, view="flow@28")
