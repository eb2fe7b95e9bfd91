"""Broken: weights from a generator of its own, which no seed of the harness reaches."""

import torch
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(28 * 28 * 3, num_classes, generator=torch.Generator().manual_seed(0)))

    def forward(self, flow: Tensor) -> Tensor:
        return flow.flatten(1) / 255 @ self.weight


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
