"""The committed head: a mean face, how faces differ, and what each facial action moves.

Coordinates are canonical: x right, y down, z away from the camera, in inter-ocular distances (IOD) from the middle
between the eyes. `build_asset.py` makes the file; NOTICE says where it comes from (CC0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("head.npz")
SKIN, RIGHT_EYE, LEFT_EYE = 0, 1, 2
"""Parts of the mesh. Sides are the person's own: the right eye is on the left of the picture."""


@dataclass(frozen=True, eq=False)
class Asset:
    """The head, V vertices and T triangles.

    Args:
        mean: (V, 3) the mean face.
        triangles: (T, 3) vertex numbers, clockwise as seen by the camera.
        part: (T,) SKIN, RIGHT_EYE or LEFT_EYE.
        modes: (60, V, 3) identity components, each of one standard deviation.
        units: facial action -> (V, 3) displacement at full strength.
        landmarks: (68, 2) where features are painted on the mean face, in the usual order of 68 landmarks.
        landmark_vertices: (68,) the vertices that carry them.
    """

    mean: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    modes: np.ndarray
    units: Mapping[str, np.ndarray]
    landmarks: np.ndarray
    landmark_vertices: np.ndarray


@cache
def load() -> Asset:
    """The asset, read once."""
    with np.load(FILE) as stored:
        units = stored["units"] * stored["unit_scale"]
        return Asset(
            mean=stored["mean"].astype(float),
            triangles=stored["triangles"].astype(int),
            part=stored["part"].astype(int),
            modes=stored["modes"] * stored["mode_scale"].astype(float),
            units={str(name): unit.astype(float) for name, unit in zip(stored["unit_names"], units, strict=True)},
            landmarks=stored["landmarks"].astype(float),
            landmark_vertices=stored["landmark_vertices"].astype(int),
        )
