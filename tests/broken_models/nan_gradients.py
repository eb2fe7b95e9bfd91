"""Broken: a root below 0 that is never looked at: its value is fine and its gradient is not."""

import torch
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(28 * 28 * 3, 16)
        self.second = nn.Linear(16, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        hidden = self.first(flow.flatten(1) / 255)
        return self.second(torch.where(hidden > 0, hidden.sqrt(), 0))


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
