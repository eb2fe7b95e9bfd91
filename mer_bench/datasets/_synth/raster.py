"""A z-buffer in numpy: which triangle each pixel shows, and where in it; and warping pictures."""

from __future__ import annotations

import cv2
import numpy as np

NOTHING = -1


def raster(
    points: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the triangles that face the camera, nearest first.

    Args:
        points: (V, 3) x, y in pixels (pixel centres at .5) and depth, smaller is nearer.
        triangles: (T, 3) vertex numbers; clockwise on the screen is the front.
        height: of the picture.
        width: of the picture.

    Returns:
        Triangle number (h, w), `NOTHING` where there is none; barycentric weights (h, w, 3) float32; depth (h, w)
        float32, infinite where there is none.
    """
    corners = points[triangles]
    area = _doubled_area(corners[:, 0], corners[:, 1], corners[:, 2])
    low = np.ceil(corners[..., :2].min(1) - 0.5).astype(int).clip(0, (width, height))
    high = np.floor(corners[..., :2].max(1) - 0.5).astype(int).clip(-1, (width - 1, height - 1))
    box = high - low + 1
    drawn = np.flatnonzero((area > 1e-9) & (box > 0).all(1))

    # One row per pixel of each triangle's bounding box; those outside the triangle are dropped.
    count = box[drawn].prod(1)
    owner = np.repeat(drawn, count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    x, y = low[owner, 0] + step % box[owner, 0], low[owner, 1] + step // box[owner, 0]
    pixel = np.stack([x + 0.5, y + 0.5], axis=1)
    a, b, c = corners[owner, 0], corners[owner, 1], corners[owner, 2]
    first = _doubled_area(pixel, b, c) / area[owner]
    second = _doubled_area(a, pixel, c) / area[owner]
    weights = np.stack([first, second, 1 - first - second], axis=1)
    inside = (weights >= 0).all(1)
    owner, weights, place = owner[inside], weights[inside], (y * width + x)[inside]
    depth = (weights * corners[owner, :, 2]).sum(1)

    # Far to near: of several values for one place numpy keeps the last.
    order = np.argsort(-depth, kind="stable")
    shown = np.full(height * width, NOTHING)
    shown[place[order]] = order
    hit = shown != NOTHING
    number = np.full(height * width, NOTHING)
    number[hit] = owner[shown[hit]]
    weight = np.zeros((height * width, 3), np.float32)
    weight[hit] = weights[shown[hit]]
    nearest = np.full(height * width, np.inf, np.float32)
    nearest[hit] = depth[shown[hit]]
    return number.reshape(height, width), weight.reshape(height, width, 3), nearest.reshape(height, width)


def normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, towards the camera for the front of a face (z is away from it)."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    face = np.cross(c - a, b - a)
    total = np.zeros_like(points)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(triangles[:, corner], face[:, axis], len(points))
    unit: np.ndarray = total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-9)
    return unit


def look_up(image: np.ndarray, place: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`image` at the pixels `place` (h, w, 2) float32, x and y; beyond the border it is repeated."""
    found = cv2.remap(image, place, None, interpolation, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(found)


def spread(values: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W, 3), the same in every channel; arithmetic with it is many times faster than broadcasting."""
    return np.asarray(cv2.merge([values, values, values]))


def _doubled_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area of triangles given by (n, 2 or more) corners."""
    area: np.ndarray = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return area
