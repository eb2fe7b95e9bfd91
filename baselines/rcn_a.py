"""RCN-A: a recurrent convolution, weighed by where its own classifier looks (Xia, Peng, Khor, Feng, Zhao 2020).

    flow      (B, 3, 60, 60)    horizontal, vertical, strain, 0..255; 0..1 inside
    stem      conv 5x5, batch norm, ReLU, max-pool 2, dropout -> x (B, 64, 28, 28)
    step      y <- ReLU(BN(conv 1x1(x))), then twice y <- ReLU(BN(conv 3x3(x + y))), one convolution for both
    features  max-pool 2, dropout, average to (B, 64, 7, 7)
    map       (B, 1, 7, 7)    classifier weights times x averaged to 7 x 7, each class scaled to 0..1, mean over classes
    logits    features * map -> (B, num_classes)

The attention has no parameters of its own ("parameter-free"): 55,747 in all with three classes; the source counts none.
Written from facts about the authors' script, which carries no licence. It makes a StepLR(10, .5) and never steps it, so
the published rate is constant; its defaults (64 maps, 7 x 7, 100 epochs, SGD 5e-4) are the recipe, its README's example
(32 maps, 5 x 5, 20 epochs) the preset `readme`. It scores the last epoch.

Open: the size of the pictures (60 pixels is MEB's choice, whose notebook says .6821 for 200 epochs at 1e-2) and the
flow. A class whose map is flat, which the script divides by zero, has the map 0 here. Printed numbers as HTNet's README
reprints them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe

TINY = 1e-12


class RecurrentConvolution(nn.Module):
    """A convolution that sees its input plus its own last answer; its weights and batch norm serve every step."""

    def __init__(self, maps: int, steps: int, dropout: float) -> None:
        super().__init__()
        self.steps = steps
        self.start = nn.Sequential(nn.Conv2d(maps, maps, 1), nn.BatchNorm2d(maps), nn.ReLU())
        self.step = nn.Sequential(nn.Conv2d(maps, maps, 3, padding=1), nn.BatchNorm2d(maps), nn.ReLU())
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps, h, w) -> (B, maps, h // 2, w // 2)."""
        state = self.start(x)
        for _ in range(self.steps):
            state = self.step(x + state)
        return self.down(state)


class RCNA(nn.Module):
    """The published variant of the attention (`model_version` 3).

    Args:
        num_classes: number of classes.
        maps: channels of every layer.
        pool: side of the grid that the classifier sees.
        steps: times the recurrent convolution is applied.
        dropout: after the stem and after the recurrent convolution.
    """

    def __init__(
        self, num_classes: int, *, maps: int = 64, pool: int = 7, steps: int = 2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, maps, 5), nn.BatchNorm2d(maps), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(dropout)
        )
        self.recurrent = RecurrentConvolution(maps, steps, dropout)
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.classifier = nn.Linear(pool * pool * maps, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, 0, 0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 60, 60) in 0..255 -> logits (B, num_classes)."""
        x = self.stem(flow / 255)
        weighed = self.pool(self.recurrent(x)) * attention(self.pool(x), self.classifier.weight)
        return self.classifier(weighed.flatten(1))


def attention(features: Tensor, weight: Tensor) -> Tensor:
    """Where the classes look, on average: (B, C, p, p) and (K, C * p * p) -> (B, 1, p, p) in 0..1."""
    templates = weight.view(-1, *features.shape[1:])
    maps = torch.einsum("bchw,kchw->bkhw", features, templates)
    maps = maps - maps.amin((2, 3), keepdim=True)
    return (maps / maps.amax((2, 3), keepdim=True).clamp(min=TINY)).mean(1, keepdim=True)


BASELINE = Baseline(
    model=RCNA,
    view="flow@60",
    recipe=Recipe(epochs=100, batch_size=64, lr=5e-4, weight_decay=0.0, optimizer="sgd", momentum=0.9),
    presets={"readme": {"maps": 32, "pool": 5, "epochs": 20}},
    small={"maps": 16, "pool": 5},
    paper=Paper(
        title="Revealing the Invisible with Model and Data Shrinking"
        " for Composite-database Micro-expression Recognition",
        year=2020,
        url="https://arxiv.org/abs/2006.09674",
        licence="none",
        code="https://github.com/xiazhaoqiang/ParameterFreeRCNs-MicroExpressionRec",
        printed=(Printed("megc2019-3", "uf1", 0.7432, "last"), Printed("megc2019-3", "uar", 0.7190, "last")),
    ),
)
