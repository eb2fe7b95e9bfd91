"""OFF-ApexNet: two small convolutional streams, one over horizontal and one over vertical flow (Gan et al. 2019).

    flow     (B, 3, 28, 28)    horizontal, vertical, strain, 0..255; strain is not looked at
    u, v     (B, 1, 28, 28)    0..1, a stream each
    stream   conv 5x5, ReLU, max-pool 2 -> (B, 6, 14, 14) -> conv 5x5, ReLU, max-pool 2 -> (B, 16, 7, 7)
    joined   (B, 1568) -> 1024, ReLU, dropout -> 1024, ReLU, dropout -> logits (B, num_classes)

We found no official code. Written from facts about the port in Off-TANet's repository (GPL), whose README counts 2.66 M
parameters: 2,664,475 with three classes, as here. Of the 4.54 M multiply-adds a clip .71 M meet zeros (see `forward`).
Recipe: that port's (Adam 1e-4, batches of 64, 3000 epochs); MEB trains as long, with weight decay and batches of 32
(preset `meb`). Open: whether convolutions are followed by ReLU (not in the port, but in MEB; `conv_relu`), and the
range of the flow (both feed motion in pixels; here 0..1).

The printed pair is from STSTNet's table III, by the same authors, whose own "UAR" there is a mean precision; how the
epoch was chosen is not said. MEB's leak-free .7032 against .8390 with the best test epoch, the largest such gap known,
is another network under this name: one stream over both channels, 3x3 kernels, one hidden layer.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe
from mer_bench.layers import Dropout

FILTERS = (6, 16)
IDLE = 2
"""Maps of zeros beside a stream's six: processors take them by eights."""


class OffApexNet(nn.Module):
    """Two streams that share nothing, joined by a perceptron.

    Args:
        num_classes: number of classes.
        hidden: width of both hidden layers.
        conv_relu: whether a convolution is followed by ReLU.
        dropout: after each hidden layer.
    """

    def __init__(self, num_classes: int, *, hidden: int = 1024, conv_relu: bool = True, dropout: float = 0.5) -> None:
        super().__init__()
        self.u, self.v = _stream(conv_relu), _stream(conv_relu)
        self.head = nn.Sequential(
            nn.Linear(2 * FILTERS[-1] * 7 * 7, hidden), nn.ReLU(), Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 28, 28) in 0..255, channels u, v, strain -> logits (B, num_classes)."""
        # The streams side by side take a sixth off the training step on a CPU: one convolution in which each sees its
        # own channel, then one of two groups. A group of eight maps is quick, one of six or of one is not.
        filters, biases = _beside(self.u[0], self.v[0], ((0, 1), (1, 0)), IDLE)
        maps = self._halved(F.conv2d(flow[:, :2] / 255, filters, biases, padding=2))
        filters, biases = _beside(self.u[3], self.v[3], ((0, IDLE), (0, IDLE)), 0)
        maps = self._halved(F.conv2d(maps, filters, biases, padding=2, groups=2))
        return self.head(maps.flatten(1))

    def _halved(self, maps: Tensor) -> Tensor:
        """Both streams' pooling and ReLU, which have no weights."""
        return self.u[2](self.u[1](maps))


def _stream(relu: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, filters in pairwise((1, *FILTERS)):
        # ReLU of a maximum is the maximum of ReLUs, on a quarter of the values
        layers += [nn.Conv2d(inputs, filters, 5, padding=2), nn.MaxPool2d(2), nn.ReLU() if relu else nn.Identity()]
    return nn.Sequential(*layers)


def _beside(u: nn.Conv2d, v: nn.Conv2d, blind: tuple[tuple[int, int], ...], idle: int) -> tuple[Tensor, Tensor]:
    """Both streams' filters and biases as one convolution's.

    Args:
        u, v: a layer of each stream.
        blind: for each stream, channels before and after its own that its filters do not see.
        idle: filters of zeros after each stream's own.
    """
    sides = [F.pad(layer.weight, (0, 0, 0, 0, *others, 0, idle)) for layer, others in zip((u, v), blind, strict=True)]
    return torch.cat(sides), torch.cat([F.pad(layer.bias, (0, idle)) for layer in (u, v)])


BASELINE = Baseline(
    model=OffApexNet,
    view="flow@28",
    recipe=Recipe(epochs=3000, batch_size=64, lr=1e-4, weight_decay=0.0, optimizer="adam"),
    presets={
        "meb": {"batch_size": 32, "weight_decay": 1e-3},
        "no-relu": {"conv_relu": False},
        # A tenth of the published length: what two processor cores can afford.
        "short-300": {"epochs": 300},
    },
    small={"hidden": 64},
    paper=Paper(
        title="OFF-ApexNet on Micro-expression Recognition System",
        year=2019,
        url="https://arxiv.org/abs/1805.08699",
        licence="none published; the port in Off-TANet is GPL",
        code="https://github.com/ECNU-Cross-Innovation-Lab/PRICAI2021-Off-TANet",
        printed=(
            Printed("megc2019-3", "uf1", 0.7196, "unstated"),
            Printed("megc2019-3", "uar", 0.7096, "unstated"),
        ),
    ),
)
