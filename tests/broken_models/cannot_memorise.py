"""Broken: averages every picture away before it looks."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        return self.fc(flow.mean((2, 3)) / 255)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
