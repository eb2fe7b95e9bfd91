"""R3D-18: an 18-layer residual network with 3-D convolutions (Tran, Wang, Torresani, Ray, LeCun, Paluri 2018).

    flow_clip  (B,   3, 8, 112, 112)    u, v, strain of 8 frames, 0..255
    stem       (B,  64, 8,  56,  56)    conv 3x7x7, stride 1x2x2
    layers     (B,  64, 8,  56,  56)  (B, 128, 4, 28, 28)  (B, 256, 2, 14, 14)  (B, 512, 1, 7, 7)
    logits     (B, num_classes)         from the mean over time and place

The control for whatever uses more than two frames. Parameter names and initial values are torchvision's (BSD-3-Clause),
so that its weights fit; the network is written out because torchvision's has a fixed width. The paper trains on
Kinetics-400 and knows nothing of micro-expressions: the recipe here is ours, fixed in advance and not tuned.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Recipe

CHANNELS = (64, 128, 256, 512)


class Block(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm3d(outputs))
        self.downsample = (
            nn.Sequential()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, h, w) -> (B, C', T', h', w')."""
        return F.relu(self.conv2(self.conv1(x)) + self.downsample(x))


class R3D18(nn.Module):
    """The network.

    Args:
        num_classes: number of classes.
        image_size: side of the input in pixels.
        width: factor on every channel count, rounded to multiples of 8.
        dropout: before the classifier; the paper has none.
    """

    def __init__(self, num_classes: int, *, image_size: int = 112, width: float = 1.0, dropout: float = 0.0) -> None:
        super().__init__()
        channels = [max(1, round(count * width / 8)) * 8 for count in CHANNELS]
        self.stem = nn.Sequential(
            nn.Conv3d(3, channels[0], (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
            nn.BatchNorm3d(channels[0]),
            nn.ReLU(inplace=True),
        )
        for number, (before, after) in enumerate(pairwise([channels[0], *channels]), 1):
            layer = nn.Sequential(Block(before, after, 1 if number == 1 else 2), Block(after, after, 1))
            self.add_module(f"layer{number}", layer)
        self.fc = nn.Linear(channels[-1], num_classes)
        self.dropout = dropout
        self._initialise()

    def forward(self, flow_clip: Tensor) -> Tensor:
        """(B, 3, T, S, S) in 0..255 -> logits (B, num_classes)."""
        features = self.stem(flow_clip / 127.5 - 1)
        for number in range(1, len(CHANNELS) + 1):
            features = self.get_submodule(f"layer{number}")(features)
        return self.fc(F.dropout(features.mean((2, 3, 4)), self.dropout, self.training))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.fc.weight, 0, 0.01)
        nn.init.zeros_(self.fc.bias)


RECIPE = Recipe(
    epochs=30, batch_size=16, lr=5e-4, weight_decay=0.05, schedule="onecycle", class_weights="balanced", flip=0.5,
    shift=0.05,
)  # fmt: skip

BASELINE = Baseline(
    model=R3D18,
    view="flow_clip",
    recipe=RECIPE,
    small={"image_size": 24, "width": 0.125},
    paper=Paper(
        title="A Closer Look at Spatiotemporal Convolutions for Action Recognition",
        year=2018,
        url="https://arxiv.org/abs/1711.11248",
        licence="BSD-3-Clause",
        code="https://github.com/pytorch/vision",
    ),
)
