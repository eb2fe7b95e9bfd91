"""LBP-TOP and a linear support vector machine: the baseline of the MEGC 2019 challenge.

    clip           (10, S, S) uint8             grey, onset to offset, interpolated to 10 frames (TIM)
    codes          (3, 2, S - 2, S - 2) 0..15   planes XY, XT, YT; 4 neighbours at radii 1 (x), 1 (y), 4 (time)
    features       (1200,)                      a histogram of 16 codes for each of 5 x 5 blocks and 3 planes
    probabilities  (num_classes,)               softmax of decision values, for ranking only

A pixel's code in a plane has one bit for each neighbour on the plane's two axes, set where the neighbour is at least as
bright (Zhao, Pietikainen 2007). With radius 4 in time only frames 5 and 6 of 10 have both neighbours, and the same
pixels are coded in all three planes. Every histogram sums to 1. The guideline fixes radii, neighbours, blocks and TIM;
it leaves open the picture's size (here 128 pixels), C (here 1) and where blocks begin (here: equal shares of the coded
pixels).

Printed as the challenge's baseline in table III of the STSTNet paper, UF1 / UAR: all clips .5882 / .5785, SMIC .2000 /
.5280, CASME II .7026 / .7429, SAMM .3954 / .4102. The SMIC pair cannot be: on its 70, 51 and 43 clips a UAR of .5280
forces UF1 to .398 or more, whatever the confusion matrix. Written from the paper and the guideline; no code was used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.svm import SVC

from mer_bench.classical import Linear
from mer_bench.contracts import Baseline, Paper, Printed, UsageError

CODES = 16


class LBPTOP(Linear):
    """Histograms of local binary patterns on three orthogonal planes, and `SVC(kernel="linear", C=cost)`.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        radii: in x, y and time.
        blocks: on each side of the picture.
        cost: penalty C of a clip on the wrong side of its margin.
    """

    def __init__(
        self, num_classes: int, *, radii: tuple[int, ...] = (1, 1, 4), blocks: int = 5, cost: float = 1.0
    ) -> None:
        if len(radii) != 3 or min(radii) < 1 or blocks < 1:
            raise UsageError(f"lbp_top needs three radii and blocks of at least 1, not radii={radii}, blocks={blocks}")
        self.radii, self.blocks = radii, blocks
        super().__init__(num_classes, SVC(kernel="linear", C=cost), SVC(kernel="precomputed", C=cost))

    def describe(self, clip: Mapping[str, np.ndarray]) -> np.ndarray:
        """`clip` (T, S, S) uint8 -> (blocks * blocks * 3 * 16,) float32."""
        return histograms(np.asarray(clip["clip"]), self.radii, self.blocks)


def histograms(clip: np.ndarray, radii: tuple[int, ...], blocks: int) -> np.ndarray:
    """(T, H, W) -> (blocks * blocks * 3 * 16,) float32: by block row, block column, plane (XY, XT, YT) and code.

    Raises:
        UsageError: no pixel has all its neighbours, or a block has no pixel.
    """
    rx, ry, rt = radii
    frames, height, width = (side - 2 * radius for side, radius in zip(clip.shape, (rt, ry, rx), strict=True))
    if frames < 1 or min(height, width) < blocks:
        shape = "x".join(map(str, clip.shape))
        raise UsageError(f"lbp_top cannot code {shape} with radii={radii} in {blocks}x{blocks} blocks: too small")

    def seen(t: int, y: int, x: int) -> np.ndarray:
        """The clip as its inner pixels see it at an offset."""
        return clip[rt + t : rt + t + frames, ry + y : ry + y + height, rx + x : rx + x + width]

    centre = seen(0, 0, 0)
    block = (np.arange(height) * blocks // height)[:, None] * blocks + np.arange(width) * blocks // width
    planes = []
    for (first, second), (radius, other) in _planes(rx, ry, rt):
        around = [radius * first, other * second, -radius * first, -other * second]
        code = sum((seen(*step) >= centre).astype(np.int64) << bit for bit, step in enumerate(around))
        counts = np.bincount((block * CODES + code).ravel(), minlength=blocks**2 * CODES).reshape(-1, CODES)
        planes.append(counts / counts.sum(1, keepdims=True))
    return np.stack(planes, 1).astype(np.float32).ravel()


def _planes(rx: int, ry: int, rt: int) -> list[tuple[tuple[np.ndarray, np.ndarray], tuple[int, int]]]:
    """Directions (t, y, x) and radii of the first two neighbours in XY, XT and YT; the others are opposite."""
    right, up, before = np.array([0, 0, 1]), np.array([0, -1, 0]), np.array([-1, 0, 0])
    return [((right, up), (rx, ry)), ((right, before), (rx, rt)), ((up, before), (ry, rt))]


PRINTED = (
    ("megc2019-3", 0.5882, 0.5785),
    ("megc2019-3/smic", 0.2000, 0.5280),
    ("megc2019-3/casme2", 0.7026, 0.7429),
    ("megc2019-3/samm", 0.3954, 0.4102),
)

BASELINE = Baseline(
    model=LBPTOP,
    view="clip@128",
    paper=Paper(
        title="Dynamic Texture Recognition Using Local Binary Patterns with an Application to Facial Expressions",
        year=2007,
        url="https://doi.org/10.1109/TPAMI.2007.1110",
        licence="no code used",
        printed=tuple(
            Printed(task, metric, value, "last")
            for task, uf1, uar in PRINTED
            for metric, value in (("uf1", uf1), ("uar", uar))
        ),
    ),
)
