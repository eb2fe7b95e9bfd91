"""Broken: takes the whole process with it, as a fault in a compiled extension would."""

import os

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        os.abort()
        return self.fc(flow.flatten(1))


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
