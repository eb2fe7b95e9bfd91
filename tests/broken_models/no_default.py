"""Broken: an option without a default."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int, *, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28 * 3, hidden), nn.Linear(hidden, num_classes))

    def forward(self, flow: Tensor) -> Tensor:
        return self.net(flow / 255)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
