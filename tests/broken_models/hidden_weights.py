"""Broken: layers in a plain list: never trained, and not in the state dict."""

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.hidden = [nn.Linear(28 * 28 * 3, 64), nn.ReLU()]
        self.fc = nn.Linear(64, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        values = flow.flatten(1) / 255
        for layer in self.hidden:
            values = layer(values)
        return self.fc(values)


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
