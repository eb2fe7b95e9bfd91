"""Dual-Inception: two streams of two inception blocks, over horizontal and vertical flow (Zhou, Mao, Xue 2019).

    flow      (B, 3, 28, 28)    horizontal, vertical, strain, 0..255; strain is not looked at
    u, v      (B, 1, 28, 28)    0..1, a stream each
    block     1x1 | 1x1, 3x3 | 1x1, 5x5 | max-pool 3, 1x1    ReLU after each convolution, joined, max-pool 2
    stream    (B, 1, 28, 28) -> (B, 24, 14, 14) -> (B, 64, 7, 7)
    joined    (B, 6272) -> 1024, ReLU -> logits (B, num_classes)

Written from facts about the authors' script (Keras, MIT) and the port in Off-TANet (GPL), whose README counts 6.45 M
parameters, as here: 6,449,867 with three classes. The script shows each stream a grey picture three times over, 96
weights more for the same functions; the port has no ReLU on the 1x1 path. Range and initial weights are the script's.

Its flow runs from the onset to the *middle* of the clip, ours to the apex. It trains on the two *other* corpora alone:
all other subjects of the test subject's corpus validate, and the weights with the lowest validation loss are tested
(`inner`), in up to 100 repetitions; which one is printed is not said (.7322 / .7278 are from a table in HTNet's
README). Here they train like everyone. The script asks for `class_weight='auto'`, a word that Keras 2 does not know;
the recipe has no weights. The port: 1e-3, batches of 64 (a twentieth of the steps of the published 3), 501 epochs
(preset `off-tanet`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe

FILTERS = (6, 16)


class Inception(nn.Module):
    """Four paths over one picture, joined by channels (in the order point, small, large, pooled) and halved."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.point = nn.Sequential(_convolution(inputs, filters, 1))
        self.small = nn.Sequential(_convolution(inputs, filters, 1), nn.ReLU(), _convolution(filters, filters, 3))
        self.large = nn.Sequential(_convolution(inputs, filters, 1), nn.ReLU(), _convolution(filters, filters, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(inputs, filters, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, 4 * filters, h // 2, w // 2)."""
        paths = (self.point, self.small, self.large, self.pooled)
        # each path ends with ReLU: that of a maximum is the maximum of ReLUs, on a quarter of the values
        return F.relu(F.max_pool2d(torch.cat([path(x) for path in paths], 1), 2))


class DualInception(nn.Module):
    """Two streams that share nothing, joined by one hidden layer.

    Args:
        num_classes: number of classes.
        hidden: width of the hidden layer.
        dropout: after the hidden layer; the published network has none.
    """

    def __init__(self, num_classes: int, *, hidden: int = 1024, dropout: float = 0.0) -> None:
        super().__init__()
        first, second = FILTERS
        self.u, self.v = (nn.Sequential(Inception(1, first), Inception(4 * first, second)) for _ in range(2))
        self.head = nn.Sequential(
            nn.Linear(2 * 4 * second * 7 * 7, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 28, 28) in 0..255, channels u, v, strain -> logits (B, num_classes)."""
        scaled = flow / 255
        streams = self.u(scaled[:, 0:1]), self.v(scaled[:, 1:2])
        return self.head(torch.cat([stream.flatten(1) for stream in streams], 1))


def _convolution(inputs: int, filters: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, filters, kernel, padding=kernel // 2)


BASELINE = Baseline(
    model=DualInception,
    view="flow@28",
    recipe=Recipe(epochs=40, batch_size=3, lr=1e-4, weight_decay=0.0, optimizer="adam"),
    presets={"off-tanet": {"epochs": 501, "batch_size": 64, "lr": 1e-3}},
    small={"hidden": 64},
    paper=Paper(
        title="Dual-Inception Network for Cross-Database Micro-Expression Recognition",
        year=2019,
        url="https://github.com/xly135846/MEGC2019",
        licence="MIT",
        code="https://github.com/xly135846/MEGC2019",
        printed=(Printed("megc2019-3", "uf1", 0.7322, "unstated"), Printed("megc2019-3", "uar", 0.7278, "unstated")),
    ),
)
