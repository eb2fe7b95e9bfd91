"""Broken: right for three classes, and for no other number."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, 3)

    def forward(self, flow: Tensor) -> Tensor:
        return self.fc(flow.flatten(1) / 255)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
