"""Optical flow from the onset: the picture that STSTNet and its successors are shown, its sequence, and bare vectors.

    onset, apex   (h, w, 3) uint8 BGR face crops
    u, v          (WORKING, WORKING) pixels at the working size, right and down positive
    strain        sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2)
    encoded       (size, size, 3) uint8: u, v, strain, each min-max scaled to 0..255 per clip
    clip          (frames, size, size, 3) uint8: the same for every frame, scaled by the clip's least and largest value
    vectors       (size, size, 2) float32: u, v, unscaled

Scaling each channel by itself drops the magnitude, and a border artefact can own the range; it is kept because the
public pictures of the MEGC 2019 corpora are made so (STSTNet, Liong et al. 2019; strain after Shreve et al. 2011).
The solver is DIS throughout. Papers of the field often name TV-L1 (Zach et al. 2007): OpenCV has it in its contrib
build alone, which cannot be installed beside the one used here, and scikit-image is not worth a dependency for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np

VERSION = 1
WORKING = 224
PRESET = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM


def version() -> str:
    """What a flow picture depends on besides its frames; enters cache keys."""
    return f"flow {VERSION}, cv2 {cv2.__version__}"


def encode(onset: np.ndarray, apex: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) uint8 of u, v, strain from two BGR crops; a channel without range is 0."""
    return np.asarray(encode_clip(onset, [apex], size)[0])


def encode_clip(onset: np.ndarray, others: Iterable[np.ndarray], size: int) -> np.ndarray:
    """(frames, size, size, 3) uint8 of u, v, strain from the onset to each other BGR crop.

    A channel has one range over the whole clip, so that motion is seen to grow and fade; without range it is 0.
    """
    fields = (field(onset, other) for other in others)
    channels = zip(*((u, v, strain(u, v)) for u, v in fields), strict=True)
    return np.stack([_scaled(channel, size) for channel in channels], axis=3)


def vectors(onset: np.ndarray, apex: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 2) float32: u, v in pixels of the working size, whatever `size` is."""
    return np.stack([resize(channel, size) for channel in field(onset, apex)], axis=2)


def field(onset: np.ndarray, apex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u, v (WORKING, WORKING) float32 in pixels, by DIS at its medium preset (Kroeger et al. 2016)."""
    return _solved(_grey(onset), _grey(apex))


def between(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u, v in pixels of two BGR crops at their own size."""
    return _solved(cv2.cvtColor(before, cv2.COLOR_BGR2GRAY), cv2.cvtColor(after, cv2.COLOR_BGR2GRAY))


def _solved(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with _one_thread():
        flow = cv2.DISOpticalFlow.create(PRESET).calc(before, after, None)  # type: ignore[call-overload]
    return flow[..., 0], flow[..., 1]


def strain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Optical strain magnitude of a flow field, per pixel."""
    uy, ux = np.gradient(u)
    vy, vx = np.gradient(v)
    return np.asarray(np.sqrt(ux**2 + vy**2 + 0.5 * (uy + vx) ** 2))


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """An encoded picture at another size: averaged when it shrinks, linear when it grows."""
    if picture.shape[:2] == (size, size):
        return picture
    smaller = size < min(picture.shape[:2])
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _scaled(channel: Sequence[np.ndarray], size: int) -> np.ndarray:
    """One channel of every frame as (frames, size, size) uint8."""
    small = np.stack([resize(frame.astype(np.float32), size) for frame in channel])
    low, high = float(small.min()), float(small.max())
    if high == low:
        return np.zeros(small.shape, np.uint8)
    return np.asarray(np.rint((small - low) / (high - low) * 255), np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    return resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), WORKING)


@contextmanager
def _one_thread() -> Iterator[None]:
    """DIS cuts the image into one stripe per thread and spreads matches within a stripe: one thread, one answer."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
