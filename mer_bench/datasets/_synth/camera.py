"""From light to file: lamp ripple, gain, sensor noise, JPEG.

The lamp flickers at twice the mains frequency, and a rolling shutter reads its rows one after the other: at 100 and 200
frames a second the ripple stands still or alternates, as it does in the laboratory recordings.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from mer_bench.contracts import MerBenchError
from mer_bench.datasets._synth.motion import drift
from mer_bench.datasets._synth.raster import spread
from mer_bench.seeds import seed

RIPPLE_HZ, RIPPLE, SHUTTER = 100.0, 0.004, 0.004
"""Lamp flicker, its share of the light, and seconds to read a frame."""
GAIN = 0.01
NOISE = 1.6
"""Deviation in grey levels at mid-grey; the part that grows with light is shot noise."""
NOISE_FIELDS, FIELD = 6, 512
JPEG_QUALITY = 95


class Sensor:
    """One clip's recording: draws its gain and ripple phase once, then exposes frames in order."""

    def __init__(self, frames: int, fps: float, rng: np.random.Generator) -> None:
        self.rng, self.fps, self.taken = rng, fps, 0
        self.phase = rng.uniform(0, 2 * np.pi)
        self.gain = 1 + GAIN / np.sqrt(2) * drift(frames, fps, rng)

    def expose(self, light: np.ndarray) -> np.ndarray:
        """The next frame: (H, W, 3) float32 light -> uint8 BGR."""
        height, width = light.shape[:2]
        seconds = self.taken / self.fps + np.arange(height) / height * SHUTTER
        ripple = 1 + RIPPLE * np.sin(self.phase + 2 * np.pi * RIPPLE_HZ * seconds)
        image = light * (ripple * self.gain[self.taken]).astype(np.float32)[:, None, None]
        self.taken += 1
        top, left = self.rng.integers(0, (FIELD - height, FIELD - width))
        field = _noise()[self.rng.integers(NOISE_FIELDS), top : top + height, left : left + width]
        # numpy is slow along an axis of three: the mean is spelt out, the rest is OpenCV's, which rounds and clips
        brightness = np.clip((image[..., 0] + image[..., 1] + image[..., 2]) / 3, 0, 255)
        noise = spread(NOISE * field * np.sqrt(0.35 + brightness / 170))
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U))


def jpeg(image: np.ndarray) -> bytes:
    """The file of a frame.

    Raises:
        MerBenchError: OpenCV was built without JPEG.
    """
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise MerBenchError("OpenCV cannot write JPEG files; install opencv-python-headless from PyPI")
    return data.tobytes()


@cache
def _noise() -> np.ndarray:
    """A few fields of unit normals, of which frames show random parts; drawing fresh ones would double the time."""
    rng = np.random.default_rng(seed("synth", "noise"))
    return rng.normal(size=(NOISE_FIELDS, FIELD, FIELD)).astype(np.float32)
