"""Broken: calls sys.exit when it is built."""

import sys

from torch import nn

from mer_bench.contracts import Baseline, Recipe


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        sys.exit(f"no GPU for {num_classes} classes")


BASELINE = Baseline(model=Net, view="flow@28", recipe=Recipe())
