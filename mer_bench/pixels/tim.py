"""TIM, the temporal interpolation model: a clip of any length as one of a fixed length (Zhou, Zhao, Pietikainen 2011).

    frames (n, ...)  --weights (length, n)-->  (length, ...)      first on first, last on last

The n frames are the nodes of a path graph. The eigenvectors of its Laplacian put them on a smooth curve,

    f_k(t) = sin(pi k t + pi (n - k) / (2 n)),  k = 1..n-1,     frame i at t = i / n,

and the published algorithm (SVD of the centred frames, then a linear map onto that curve) reads new frames off the
curve at evenly spaced t in [1/n, 1]. With x = n t - 1/2 these are f_k = cos(pi k x / n), the cosines of the DCT-II,
which are orthogonal on the nodes. Frames that are linearly independent, as noisy ones are, meet the curve exactly, so
the whole algorithm is cosine interpolation and its answer a fixed mixture of the frames:

    w(x, i) = 1/n + 2/n sum_k cos(pi k x / n) cos(pi k (i - 1/2) / n)

This form needs no SVD and also stands repeated frames, which the published one does not. "Towards a practical
lipreading system", CVPR 2011, section 3; used on micro-expressions since Pfister, Li, Zhao, Pietikainen (ICCV 2011).
"""

from __future__ import annotations

import numpy as np

VERSION = 1


def version() -> str:
    """What an interpolated clip depends on besides its frames; enters cache keys."""
    return f"tim {VERSION}"


def weights(count: int, length: int) -> np.ndarray:
    """(length, count): each of `count` frames' share in each of `length` new ones; rows sum to 1."""
    orders = np.arange(1, count)

    def curve(at: np.ndarray) -> np.ndarray:
        return np.asarray(np.cos(np.pi * np.outer(at, orders) / count))

    nodes, places = np.arange(count) + 0.5, np.linspace(0.5, count - 0.5, length)
    return np.asarray((1 + 2 * curve(places) @ curve(nodes).T) / count)


def interpolate(frames: np.ndarray, length: int) -> np.ndarray:
    """(n, ...) uint8 -> (length, ...) uint8; values that overshoot are cut off."""
    mixed = np.tensordot(weights(len(frames), length), frames.astype(np.float64), axes=1)
    # Rounded twice, so that a half does not hang on the last bit of a sum.
    return np.asarray(np.rint(mixed.round(6)).clip(0, 255), np.uint8)
