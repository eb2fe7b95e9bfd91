"""Broken: noise in training from a generator that nobody has seeded."""

import numpy as np
import torch
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)
        self.noise = np.random.default_rng()

    def forward(self, flow: Tensor) -> Tensor:
        values = flow.flatten(1) / 255
        if self.training:
            values = values + torch.from_numpy(self.noise.normal(0, 0.1, values.shape)).float()
        return self.fc(values)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
