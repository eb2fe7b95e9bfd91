"""Bi-WOOF and a linear support vector machine: orientation of flow, weighted twice (Liong, See, Wong, Phan 2018).

    uv             (S, S, 2) float32    flow from onset to apex in pixels
    strain         (S, S)               sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), derivatives by 3x3 Sobel
    features       (200,)               8 orientations in each of 5 x 5 blocks, of length 1
    probabilities  (num_classes,)       softmax of decision values, for ranking only

In a block each pixel votes for its orientation with its magnitude, the histogram is brought to sum 1 and multiplied by
the block's summed strain; the whole is brought to length 1. So the authors' script does it. The paper's flow is TV-L1;
here it is the project's DIS, measured at 224 pixels and averaged to 100 before strain is taken. C is open (here 1); a
public benchmark's script takes strain first and shrinks then, keeps lengths, and has C = 1e-4.

Printed in table III of the STSTNet paper, UF1 / UAR: all clips .6296 / .6227, SMIC .5727 /
.5829, CASME II .7805 / .8026, SAMM .5211 / .5139. Written from the paper and from facts about the script, which carries
no licence.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from sklearn.svm import SVC

from mer_bench.classical import Linear
from mer_bench.contracts import Baseline, Paper, Printed, UsageError

SOBEL_SUM = 8
"""What OpenCV's 3x3 kernel makes of a slope of 1."""


class BiWOOF(Linear):
    """Bi-weighted oriented optical flow, and `SVC(kernel="linear", C=cost)`.

    Args:
        num_classes: number of classes; a class without training clips gets probability 0.
        blocks: on each side of the picture.
        bins: orientations.
        cost: penalty C of a clip on the wrong side of its margin.
    """

    def __init__(self, num_classes: int, *, blocks: int = 5, bins: int = 8, cost: float = 1.0) -> None:
        if min(blocks, bins) < 1:
            raise UsageError(f"bi_woof needs blocks and bins of at least 1, not blocks={blocks}, bins={bins}")
        self.blocks, self.bins = blocks, bins
        super().__init__(num_classes, SVC(kernel="linear", C=cost), SVC(kernel="precomputed", C=cost))

    def describe(self, clip: Mapping[str, np.ndarray]) -> np.ndarray:
        """`uv` (S, S, 2) float32 -> (blocks * blocks * bins,) float32."""
        u, v = np.moveaxis(np.asarray(clip["uv"], np.float32), 2, 0)
        return histograms(u, v, self.blocks, self.bins)


def histograms(u: np.ndarray, v: np.ndarray, blocks: int, bins: int) -> np.ndarray:
    """(H, W) each -> (blocks * blocks * bins,) float32 of length 1, or of zeros where nothing moves.

    By block row, block column and orientation; orientations are equal shares of -pi..pi from the first.
    """
    height, width = u.shape
    block = (np.arange(height) * blocks // height)[:, None] * blocks + np.arange(width) * blocks // width
    turn = (np.arctan2(v, u, dtype=np.float64) + np.pi) / (2 * np.pi)
    orientation = np.minimum((turn * bins).astype(np.int64), bins - 1)
    votes = np.bincount(
        (block * bins + orientation).ravel(), np.hypot(u, v).ravel(), minlength=blocks**2 * bins
    ).reshape(-1, bins)
    weights = np.bincount(block.ravel(), strain(u, v).ravel(), minlength=blocks**2)
    shares = votes / np.maximum(votes.sum(1, keepdims=True), np.finfo(float).tiny)
    found = (shares * weights[:, None]).ravel()
    return np.asarray(found / max(float(np.linalg.norm(found)), np.finfo(float).tiny), np.float32)


def strain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Optical strain magnitude (H, W) of a flow field; derivatives a pixel, the border continued by its last pixel."""
    ux, uy, vx, vy = (
        cv2.Sobel(channel, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / SOBEL_SUM, borderType=cv2.BORDER_REPLICATE)
        for channel in (u, v)
        for dx in (1, 0)
    )
    return np.asarray(np.sqrt(ux**2 + vy**2 + 0.5 * (uy + vx) ** 2))


BASELINE = Baseline(
    model=BiWOOF,
    view="uv@100",
    paper=Paper(
        title="Less is More: Micro-expression Recognition from Video using Apex Frame",
        year=2018,
        url="https://arxiv.org/abs/1606.01721",
        licence="none",
        code="https://github.com/christy1206/biwoof",
        printed=(Printed("megc2019-3", "uf1", 0.6296, "last"), Printed("megc2019-3", "uar", 0.6227, "last")),
    ),
)
