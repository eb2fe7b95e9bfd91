"""HTNet: four crops of the flow, at eyes and lip corners, through a hierarchical transformer (Wang et al. 2024).

    flow      (B, 3, 28, 28)    horizontal, vertical, strain, 0..255
    crops     four of 14 x 14, tiled -> (B, 3, 28, 28), channels strain, v, u
    patches   of 7 x 7 -> (B, 256, 4, 4)
    level 1   2 blocks of 3 heads inside each of 16 cells; conv 3x3, norm, max-pool -> (B, 512, 2, 2)
    level 2   2 blocks of 6 heads inside each of 4 cells; conv 3x3, norm, max-pool -> (B, 1024, 1, 1)
    level 3   10 blocks of 12 heads
    logits    norm, mean over places -> (B, num_classes)

Written from facts about the authors' scripts, which carry no licence: 139,582,982 parameters with three classes; the
source counts none. At the published size every cell holds *one* token. Softmax over one token is 1, so queries and
keys are never trained (their gradient is zero) and what is published is a convolutional perceptron; with `patch` 1 a
cell holds 49 tokens and attention is real, at 49 times the cost.

Crops: the script finds eyes and lip corners on the apex face shrunk to 28 pixels, clamps them to 7..21, and where it
finds no face takes default positions. A flow picture has no face to search, so here *every* clip has the default
positions. The script takes x for the row and y for the column, as here; preset `upright` puts that right. (It also
calls the left lip corner the right one, which changes no pixel.) It does not shuffle its training clips; ours are.
Range 0..255 and channels as OpenCV reads them, as in the script.

Printed numbers keep each subject's best test epoch; a user of the code reports .6484 / .6552 in its issue 21.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe, UsageError

SIDE = 28
HALF = 7
LEVELS = 3
# x, y of the eyes, then of the lip corners: what the script assumes where it finds no face.
LANDMARKS = ((9.528, 11.063), (21.396, 10.920), (10.255, 22.121), (20.584, 22.256))


class Block(nn.Module):
    """A pre-norm transformer block over the tokens of a cell; exact GELU."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int, dropout: float) -> None:
        super().__init__()
        inner = dim // heads * heads
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * inner, bias=False)
        self.proj = nn.Linear(inner, dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, dim * mlp_ratio), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(dim * mlp_ratio, dim), nn.Dropout(dropout),
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim)."""
        tokens = tokens + self._attend(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = self.dropout((q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(3))
        return self.dropout(self.proj((weights @ v).transpose(1, 2).flatten(2)))


class Level(nn.Module):
    """Blocks inside each of `cells` x `cells` cells of the map; one learned number a place is added to all channels."""

    def __init__(self, cells: int, places: int, blocks: list[Block]) -> None:
        super().__init__()
        self.cells = cells
        self.positions = nn.Parameter(torch.randn(places, 1))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, h, w) -> (B, dim, h, w)."""
        clips, _, height, _ = x.shape
        side = height // self.cells
        split = x.unflatten(2, (self.cells, side)).unflatten(4, (self.cells, side)).permute(0, 2, 4, 3, 5, 1)
        tokens = self.blocks(split.reshape(-1, side * side, x.shape[1]) + self.positions)
        return tokens.view(clips, self.cells, self.cells, side, side, -1).permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


class Norm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class HTNet(nn.Module):
    """The network of the public scripts.

    Args:
        num_classes: number of classes.
        dim: width of the first level; each level doubles it.
        heads: of the first level; each level doubles them.
        blocks: transformer blocks of the three levels.
        patch: pixels a token's side covers: 7, or 1.
        mlp_ratio: hidden width of the MLPs, as a multiple.
        dropout: in attention and MLPs; the published network has none.
        swap: whether crops are cut at row x and column y, as published.

    Raises:
        UsageError: blocks or a patch that do not fit.
    """

    def __init__(
        self, num_classes: int, *, dim: int = 256, heads: int = 3, blocks: str = "2-2-10", patch: int = 7,
        mlp_ratio: int = 4, dropout: float = 0.0, swap: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        cells = [2 ** (LEVELS - 1 - level) for level in range(LEVELS)]
        if patch < 1 or SIDE % (patch * cells[0]):
            raise UsageError(f"htnet cannot cut {SIDE} pixels into {cells[0]} cells of patches of {patch}; use 7 or 1")
        places = (SIDE // patch // cells[0]) ** 2
        self.centres = [_centre(mark[::-1] if not swap else mark) for mark in LANDMARKS]
        self.patches = nn.Conv2d(3, dim, patch, patch)
        layers: list[nn.Module] = []
        for level, count in enumerate(_counts(blocks)):
            width, many = dim * 2**level, heads * 2**level
            layers.append(Level(cells[level], places, [Block(width, many, mlp_ratio, dropout) for _ in range(count)]))
            if level < LEVELS - 1:
                layers += [nn.Conv2d(width, 2 * width, 3, padding=1), Norm(2 * width), nn.MaxPool2d(3, 2, 1)]
        self.levels = nn.Sequential(*layers)
        self.norm = Norm(dim * 2 ** (LEVELS - 1))
        self.head = nn.Linear(dim * 2 ** (LEVELS - 1), num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 28, 28) in 0..255, channels u, v, strain -> logits (B, num_classes)."""
        features = self.norm(self.levels(self.patches(tiled(flow.flip(1), self.centres))))
        return self.head(features.mean((2, 3)))


def tiled(picture: Tensor, centres: list[tuple[int, int]]) -> Tensor:
    """Four 14 x 14 crops around (row, column) centres, tiled row by row: (B, C, 28, 28) -> (B, C, 28, 28)."""
    crops = [picture[..., row - HALF : row + HALF, column - HALF : column + HALF] for row, column in centres]
    return torch.cat([torch.cat(crops[:2], 3), torch.cat(crops[2:], 3)], 2)


def _centre(mark: tuple[float, ...]) -> tuple[int, int]:
    row, column = (int(min(max(value, HALF), SIDE - HALF)) for value in mark)
    return row, column


def _counts(blocks: str) -> list[int]:
    counts = [int(part) for part in blocks.split("-") if part.isdecimal()]
    if len(counts) != LEVELS or min(counts) < 1 or "-".join(map(str, counts)) != blocks:
        raise UsageError(f"htnet's blocks={blocks!r} should be one count for each of {LEVELS} levels, like '2-2-10'")
    return counts


BASELINE = Baseline(
    model=HTNet,
    view="flow@28",
    recipe=Recipe(epochs=800, batch_size=256, lr=5e-5, weight_decay=0.0, optimizer="adam"),
    presets={"upright": {"swap": False}},
    small={"dim": 12, "blocks": "1-1-2"},
    paper=Paper(
        title="HTNet for micro-expression recognition",
        year=2024,
        url="https://arxiv.org/abs/2307.14637",
        licence="none",
        code="https://github.com/wangzhifengharrison/HTNet",
        printed=(
            Printed("megc2019-3", "uf1", 0.8603, "oracle-epoch"),
            Printed("megc2019-3", "uar", 0.8475, "oracle-epoch"),
        ),
    ),
)
