"""Broken: features cut off from their gradient."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(28 * 28 * 3, 16)
        self.second = nn.Linear(16, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        return self.second(self.first(flow.flatten(1) / 255).relu().detach())


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
