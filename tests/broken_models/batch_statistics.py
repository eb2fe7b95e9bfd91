"""A cheat: normalises by mean and deviation of the clips it is shown, in evaluation those of the test subject."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(28 * 28 * 3, track_running_stats=False)
        self.fc = nn.Linear(28 * 28 * 3, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        values = flow.flatten(1) / 255
        return self.fc(self.norm(values) if len(values) > 1 else values)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
