"""Broken: the published learning rate lies outside the search space."""

from typing import Any

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        return self.fc(flow.flatten(1) / 255)


def suggest(trial: Any) -> None:
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe(lr=5e-5), suggest=suggest)
