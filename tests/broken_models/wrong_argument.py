"""Broken: forward asks for something that no view provides."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)

    def forward(self, frames: Tensor) -> Tensor:
        return self.fc(frames.flatten(1) / 255)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
