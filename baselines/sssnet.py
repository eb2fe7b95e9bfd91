"""SSSNet: one shallow stream over a 64-pixel flow picture (Varanka, Peng, Zhao 2021).

    flow     (B, 3, 64, 64)    horizontal, vertical, strain, 0..255; 0..1 inside
    first    conv 5x5, ReLU, max-pool 3, batch norm, channel dropout -> (B, 32, 20, 20)
    second   conv 3x3, ReLU, max-pool 2, batch norm, channel dropout -> (B, 64, 9, 9)
    hidden   (B, 5184) -> 256, ReLU, dropout -> logits (B, num_classes)

Written from facts about the authors' benchmark MEB (MIT): 1,349,251 parameters with three classes; MEB prints no count.
Recipe: that of its MEGC 2019 notebook (SGD 1e-2, weight decay 1e-3, 200 epochs of batches of 128, last epoch, one
seed), whose text says .7618 while a cell of it, run with the same settings, prints .7562; the former is the printed
number here, because we have not read those of the paper. On CD6ME MEB prints 73.9 for it, pooled. On action units
MEB later trains with Adam 1e-4 in batches of 32 (preset `adam`), where it is the best of its networks.
Open: MEB's flow is in pixels of motion (MATLAB, "classic+nl-fast"); here it is the picture divided by 255.
"""

from __future__ import annotations

from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe


class SSSNet(nn.Module):
    """Two convolutions and two dense layers.

    Args:
        num_classes: number of classes.
        maps: filters of the first convolution; the second has twice as many.
        hidden: width of the hidden layer.
        dropout: of channels after each convolution, and of the hidden layer.
    """

    def __init__(self, num_classes: int, *, maps: int = 32, hidden: int = 256, dropout: float = 0.5) -> None:
        super().__init__()
        self.first = _convolution(3, maps, 5, 3, dropout)
        self.second = _convolution(maps, 2 * maps, 3, 2, dropout)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * maps * 9 * 9, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 64, 64) in 0..255 -> logits (B, num_classes)."""
        return self.head(self.second(self.first(flow / 255)))


def _convolution(inputs: int, filters: int, kernel: int, pool: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, kernel),
        nn.ReLU(),
        nn.MaxPool2d(pool),
        nn.BatchNorm2d(filters),
        nn.Dropout2d(dropout),
    )


BASELINE = Baseline(
    model=SSSNet,
    view="flow@64",
    recipe=Recipe(epochs=200, batch_size=128, lr=1e-2, weight_decay=1e-3, optimizer="sgd", momentum=0.9),
    presets={"adam": {"optimizer": "adam", "lr": 1e-4, "batch_size": 32}},
    small={"maps": 8, "hidden": 32},
    paper=Paper(
        title="Micro-expression recognition with noisy labels",
        year=2021,
        url="https://doi.org/10.2352/ISSN.2470-1173.2021.11.HVEI-157",
        licence="MIT",
        code="https://github.com/tvaranka/meb",
        printed=(Printed("megc2019-3", "uf1", 0.7618, "last"),),
    ),
)
