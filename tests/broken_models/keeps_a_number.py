"""Broken: as `keeps_state`, in an attribute that is no buffer, which a training cannot see."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)
        self.mean = 0.0

    def forward(self, flow: Tensor) -> Tensor:
        values = flow.flatten(1) / 255
        self.mean = 0.9 * self.mean + 0.1 * values.detach().mean(0)
        return self.fc(values - self.mean)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
