"""Broken: always seven classes, whatever the task has."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, 7)

    def forward(self, flow: Tensor) -> Tensor:
        return self.fc(flow.flatten(1) / 255)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
