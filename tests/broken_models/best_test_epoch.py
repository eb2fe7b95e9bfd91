"""A cheat: keeps the epoch with the best score on the test subject, whose labels it finds in the training loop."""

import sys

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)
        self.best: tuple[int, Tensor] | None = None

    def forward(self, flow: Tensor) -> Tensor:
        logits = self.fc(flow.flatten(1) / 255)
        caller = sys._getframe()
        while caller is not None and "data" not in caller.f_locals:
            caller = caller.f_back
        if self.training or caller is None or "part" not in caller.f_locals:
            return logits
        labels = caller.f_locals["data"].labels[caller.f_locals["part"]]
        right = int((logits.argmax(1) == labels).sum())
        if self.best is None or right > self.best[0]:
            self.best = right, logits.clone()
        return self.best[1]


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe(lr=1e-3, batch_size=8))
