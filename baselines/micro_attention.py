"""Micro-Attention: residual blocks, each weighed by a map over its own layers (Wang, Peng, Bi, Chen 2020).

    flow      (B, 3, 224, 224)    horizontal, vertical, strain, 0..255; 0..1 inside
    stem      conv 7x7 stride 2, ReLU, max-pool 3 stride 2 -> (B, 32, 56, 56)
    block     a = ReLU(BN(conv 3x3(x))), b = ReLU(BN(conv 3x3(a))), s = conv 1x1(x)
              map (B, 1, h, w) = softmax over places of the channel mean of conv 1x1([a; b; s])
              (b + s) * (1 + map), then max-pool 2
    blocks    (B, 64, 28, 28) -> (B, 128, 14, 14) -> (B, 256, 7, 7)
    logits    12,544 -> 4096, ReLU, dropout -> (B, num_classes)

Written from facts about the port in Off-TANet's repository (GPL), whose README counts 53.38 M parameters: 53,384,195
with three classes, as here. We found no code by the authors, whose paper pre-trains on macro-expressions (abstract) and
is not followed in that. The mean over the channels of a convolution is a convolution by the mean weights, computed as
such here; nearly all of its 9 c^2 weights are thus redundant, in the port too. Recipe: the port's (SGD 1e-3, weight
decay 5e-4, a tenth of the rate every 10 epochs, batches of 10, 51 epochs).

Printed: the port's figures on a composite of CASME, CASME II and CAS(ME)^2, means of folds, at one epoch for all
subjects chosen afterwards on those very folds. Open: its flow is in pixels of motion, here the picture divided by 255.
`image_size` and `width` follow the task's scale; 224 pixels drawn from a corpus of 28-pixel pictures hold no more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe

CHANNELS = (32, 64, 128, 256)
HIDDEN = 4096


class Block(nn.Module):
    """A residual block and its map, which adds to the block's answer where it looks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(inputs, outputs), _convolution(outputs, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)
        self.look = nn.Conv2d(3 * outputs, 3 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        a, b, s = self._layers(x)
        return (b + s) * (1 + self._map(a, b, s))

    def attention(self, x: Tensor) -> Tensor:
        """The map (B, 1, h, w) over the block's input; it sums to 1."""
        return self._map(*self._layers(x))

    def _layers(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a = self.first(x)
        return a, self.second(a), self.shortcut(x)

    def _map(self, *layers: Tensor) -> Tensor:
        weight, bias = self.look.weight.mean(0, keepdim=True), self.look.bias.mean(0, keepdim=True)
        logits = F.conv2d(torch.cat(layers, 1), weight, bias)
        return logits.flatten(1).softmax(1).view_as(logits)


class MicroAttention(nn.Module):
    """The network of Off-TANet's port.

    Args:
        num_classes: number of classes.
        image_size: side of the input in pixels.
        width: factor on every channel count and on the hidden layer, rounded to multiples of 8.
        dropout: after the hidden layer.
    """

    def __init__(self, num_classes: int, *, image_size: int = 224, width: float = 1.0, dropout: float = 0.5) -> None:
        super().__init__()
        stem, *widths = (_scaled(count, width) for count in CHANNELS)
        blocks: list[nn.Module] = []
        for inputs, outputs in zip([stem, *widths], widths, strict=False):
            # Rounding up only matters at sizes whose half is odd, of which 224 has none.
            blocks += [Block(inputs, outputs), nn.MaxPool2d(2, ceil_mode=True)]
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.Sequential(*blocks)
        side, hidden = -(-image_size // 32), _scaled(HIDDEN, width)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(widths[-1] * side * side, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..255 -> logits (B, num_classes)."""
        return self.head(self.blocks(self.stem(flow / 255)))


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width / 8)) * 8


PUBLISHED = Recipe(
    epochs=51, batch_size=10, lr=1e-3, weight_decay=5e-4, optimizer="sgd", schedule="step", gamma=0.1, decay_epochs=10,
)  # fmt: skip

BASELINE = Baseline(
    model=MicroAttention,
    view="flow",
    recipe=PUBLISHED,
    # More dropout: else eight clips are memorised before batch norm's running statistics have settled.
    small={"image_size": 32, "width": 0.0625, "dropout": 0.8},
    paper=Paper(
        title="Micro-attention for micro-expression recognition",
        year=2020,
        url="https://arxiv.org/abs/1811.02360",
        licence="none published; the port in Off-TANet is GPL",
        code="https://github.com/ECNU-Cross-Innovation-Lab/PRICAI2021-Off-TANet",
        printed=(
            Printed("casme-composite-3", "uf1", 0.7021, "oracle-global-epoch"),
            Printed("casme-composite-3", "uar", 0.7086, "oracle-global-epoch"),
        ),
    ),
)
