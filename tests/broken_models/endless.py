"""Broken: a loop that waits for an error below what it can reach, in a process it starts besides."""

import subprocess
import sys

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(28 * 28 * 3, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        while True:
            subprocess.run([sys.executable, "-c", "import time; time.sleep(600)  # a broken model's"])
        return self.fc(flow.flatten(1))


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
