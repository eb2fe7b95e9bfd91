"""A linear support vector machine on raw flow: what the MEB study calls OF + SVM.

    flow           (N, 28, 28, 3) uint8    horizontal, vertical, strain
    values         (N, 2352) in 0..1
    probabilities  (N, num_classes)        softmax of decision values, for ranking only

The study (Varanka, Li, Peng, Zhao 2022) runs it at C = 28 for action units across six corpora: mean F1 36.2 over action
units and 34.9 over corpora, ahead of STSTNet's 31.8 and RCN-A's 28.7 there. It prints no emotion score. Its flow is not
this view's, so C = 28 is no more than a fixed choice: with more values than clips any large C separates the training
clips. Written from that description.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.svm import SVC

from mer_bench.classical import Linear
from mer_bench.contracts import Baseline, Paper


class FlowSVM(Linear):
    """`SVC(kernel="linear", C=cost)`, one against one, on values / 255.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        cost: penalty C of a clip on the wrong side of its margin.
    """

    def __init__(self, num_classes: int, *, cost: float = 28.0) -> None:
        super().__init__(num_classes, SVC(kernel="linear", C=cost), SVC(kernel="precomputed", C=cost))

    def describe(self, clip: Mapping[str, np.ndarray]) -> np.ndarray:
        """`flow` (S, S, 3) uint8 -> (3 S S,) in 0..1."""
        return np.asarray(clip["flow"], np.float64).ravel() / 255


BASELINE = Baseline(
    model=FlowSVM,
    view="flow@28",
    paper=Paper(
        title="Data Leakage and Evaluation Issues in Micro-Expression Analysis",
        year=2022,
        url="https://arxiv.org/abs/2211.11425",
        licence="MIT",
        code="https://github.com/tvaranka/meb",
    ),
)
