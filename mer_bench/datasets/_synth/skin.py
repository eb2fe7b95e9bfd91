"""What is painted on a head: skin, wrinkles, lips, brows, lashes and hair, drawn by chance on a flat canvas.

The canvas is the mean face seen from the front, x and y in IODs as in `asset`; a head looks its colours up by where its
surface lies on the mean face. Colours are B, G, R in 0..255 before lighting. Nothing is taken from a photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

LEFT, RIGHT, TOP, BOTTOM = -1.7, 1.7, -2.0, 2.6
DENSITY = 220
"""Canvas pixels per IOD."""
WIDTH, HEIGHT = round((RIGHT - LEFT) * DENSITY), round((BOTTOM - TOP) * DENSITY)
SUBPIXEL_BITS = 3
PALE, DARK = np.array([150.0, 178, 222]), np.array([42.0, 62, 105])
HAIR = np.array([[20.0, 22, 28], [30, 42, 62], [45, 70, 105], [90, 135, 170], [130, 132, 135]])
HAIR_SHARES = (0.38, 0.27, 0.15, 0.08, 0.12)
BLACK_HAIR = np.array([18.0, 20, 24])


@dataclass(frozen=True, eq=False)
class Looks:
    """What a subject is painted with: sex changes brows and beard, age the wrinkles, melanin the skin."""

    male: bool
    age: float
    melanin: float
    skin: np.ndarray
    hair: np.ndarray


def looks(rng: np.random.Generator) -> Looks:
    """A random subject's."""
    melanin = rng.beta(1.2, 1.4)
    tint = np.exp(rng.normal(0, 0.05, 3) * (1, 0.6, 0.4))
    hair = HAIR[rng.choice(len(HAIR), p=HAIR_SHARES)]
    return Looks(
        male=bool(rng.integers(2)),
        age=rng.beta(1.3, 1.8),
        melanin=melanin,
        skin=((1 - melanin) * PALE + melanin * DARK) * tint,
        hair=hair if melanin < 0.6 else BLACK_HAIR,
    )


def paint(landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A subject's canvas, (HEIGHT, WIDTH, 3) float32 BGR; `landmarks` (68, 2) on the mean face."""
    look = looks(rng)
    canvas = Canvas(look.skin, rng)
    _complexion(canvas, look)
    _spots(canvas)
    _wrinkles(canvas, look)
    if look.male:
        _beard(canvas)
    _mouth(canvas, look, landmarks)
    _nostrils(canvas, landmarks)
    _brows(canvas, look, landmarks)
    _lids(canvas, landmarks)
    _hair(canvas, look)
    return np.clip(canvas.colour, 0, 255)


def to_canvas(points: np.ndarray) -> np.ndarray:
    """(..., 2) positions on the mean face -> canvas pixels."""
    return (np.asarray(points, float) - (LEFT, TOP)) * DENSITY


def octaves(
    rng: np.random.Generator, height: int, width: int, cells: int, count: int, persistence: float = 0.6
) -> np.ndarray:
    """(height, width) float32 noise of unit deviation, from `cells` bumps across doubling `count` - 1 times."""
    total = np.zeros((height, width), np.float32)
    for k in range(count):
        across = cells * 2**k
        grid = rng.normal(size=(max(2, int(height / width * across)), max(2, across))).astype(np.float32)
        total += persistence**k * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(total / total.std())


class Canvas:
    """The picture being painted, `colour` (HEIGHT, WIDTH, 3), and its brushes."""

    def __init__(self, colour: np.ndarray, rng: np.random.Generator) -> None:
        self.rng = rng
        self.colour = np.ones((HEIGHT, WIDTH, 3), np.float32) * colour.astype(np.float32)
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self.x, self.y = columns / DENSITY + LEFT, rows / DENSITY + TOP

    def blob(self, x: float, y: float, width: float, height: float) -> np.ndarray:
        """(HEIGHT, WIDTH) a soft spot, 1 in its middle."""
        spot: np.ndarray = np.exp(-(((self.x - x) / width) ** 2) - ((self.y - y) / height) ** 2)
        return spot

    def noise(self, cells: int, count: int, persistence: float = 0.6) -> np.ndarray:
        """(HEIGHT, WIDTH) see `octaves`."""
        return octaves(self.rng, HEIGHT, WIDTH, cells, count, persistence)

    def tint(self, mask: np.ndarray, colour: Sequence[float] | np.ndarray = (1, 1, 1)) -> None:
        """Brighten (or darken, where negative) by the share `mask` times `colour`."""
        for channel, share in enumerate(np.asarray(colour, np.float32)):
            self.colour[..., channel] *= 1 + mask * share

    def cover(self, mask: np.ndarray, colour: np.ndarray) -> None:
        """Paint `colour` over, as opaque as `mask`."""
        self.colour += mask[..., None] * (np.asarray(colour, np.float32) - self.colour)

    def line(self, points: Sequence[Sequence[float]] | np.ndarray, width: float, depth: float, blur: float) -> None:
        """A dark soft line along a smooth curve; width and blur in IODs."""
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        thickness = max(1, round(width * DENSITY))
        cv2.polylines(mask, [fixed_point(curve(points))], False, (1.0,), thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        self.tint(-depth * np.clip(cv2.GaussianBlur(mask, (0, 0), blur * DENSITY), 0, 1))


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Positions on the mean face -> OpenCV's whole numbers with `SUBPIXEL_BITS` behind the point."""
    return np.asarray(np.round(to_canvas(points) * 2**SUBPIXEL_BITS).astype(np.int32))


def curve(points: Sequence[Sequence[float]] | np.ndarray, count: int = 60) -> np.ndarray:
    """(count, 2) points along a polygon, evenly spaced and rounded off."""
    corners = np.asarray(points, float)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    place = np.linspace(0, along[-1], count)
    even = [np.pad(np.interp(place, along, corners[:, axis]), 3, "edge") for axis in range(2)]
    return np.stack([np.convolve(values, np.full(7, 1 / 7), "valid") for values in even], axis=1)


def _complexion(canvas: Canvas, look: Looks) -> None:
    """Red cheeks, nose and chin, shadows under the eyes, mottling and pores."""
    rng = canvas.rng
    cheeks = canvas.blob(-0.62, 0.75, 0.32, 0.28) + canvas.blob(0.62, 0.75, 0.32, 0.28)
    red = cheeks + 0.9 * canvas.blob(0, 0.68, 0.2, 0.2) + 0.5 * canvas.blob(0, 1.55, 0.25, 0.15)
    canvas.tint(rng.uniform(0.4, 1.5) * (1 - 0.5 * look.melanin) * red, (-0.10, -0.10, 0.03))
    shadows = canvas.blob(-0.5, 0.2, 0.28, 0.13) + canvas.blob(0.5, 0.2, 0.28, 0.13)
    canvas.tint(-rng.uniform(0.05, 0.22) * shadows, (0.8, 1, 0.9))
    canvas.tint(0.025 * canvas.noise(6, 4), (0.8, 1, 0.7))
    canvas.tint(0.030 * canvas.noise(160, 2, 0.9))
    canvas.tint(0.020 * canvas.noise(3, 2), (1.2, 1, 0.8))


def _spots(canvas: Canvas) -> None:
    """Moles, and freckles on one face in five."""
    rng = canvas.rng
    for _ in range(rng.poisson(14) + (80 if rng.random() < 0.2 else 0)):
        place = to_canvas(np.array([rng.uniform(-0.9, 0.9), rng.uniform(-0.4, 1.6)]))
        radius, depth = rng.gamma(2, 1.2) / 300 * DENSITY, rng.uniform(0.08, 0.4)
        reach = 9
        column, row = place.astype(int)
        part = slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1)
        rows, columns = np.mgrid[part]
        spot = depth * np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / (2 * radius**2 + 1e-6))
        canvas.colour[part] *= 1 - spot[..., None].astype(np.float32) * np.array([1, 0.9, 0.7], np.float32)


def _wrinkles(canvas: Canvas, look: Looks) -> None:
    """Lines of the forehead, beside the mouth, under the eyes and between the brows."""
    for k in range(4):
        y = -0.62 - 0.13 * k + canvas.rng.normal(0, 0.02)
        canvas.line(
            [[-0.6, y + 0.03], [-0.2, y - 0.02], [0.2, y - 0.02], [0.6, y + 0.03]], 0.01, 0.22 * look.age, 0.008
        )
    for s in (-1, 1):
        fold = [[s * 0.24, 0.72], [s * 0.36, 0.85], [s * 0.46, 1.02], [s * 0.5, 1.18]]
        canvas.line(fold, 0.013, 0.12 + 0.3 * look.age, 0.012)
        canvas.line([[s * 0.22, 0.12], [s * 0.4, 0.24], [s * 0.62, 0.2]], 0.01, 0.1 + 0.2 * look.age, 0.01)
        canvas.line([[s * 0.07, -0.2], [s * 0.05, -0.38]], 0.01, 0.25 * look.age, 0.008)


def _beard(canvas: Canvas) -> None:
    strength = canvas.rng.uniform(0, 0.35)
    jaw = canvas.blob(-0.75, 1.1, 0.3, 0.6) + canvas.blob(0.75, 1.1, 0.3, 0.6)
    where = canvas.blob(0, 1.5, 0.95, 0.6) + jaw + 0.8 * canvas.blob(0, 0.93, 0.35, 0.1)
    where = np.clip(where, 0, 1) * np.clip((canvas.y - 0.75) / 0.3, 0, 1)
    canvas.tint(-strength * where * (1 + 0.5 * np.clip(canvas.noise(330, 1), -1, 1.5)), (0.75, 0.9, 1))


def _mouth(canvas: Canvas, look: Looks, landmarks: np.ndarray) -> None:
    outline = np.vstack([curve(landmarks[48:55]), curve(landmarks[[54, 55, 56, 57, 58, 59, 48]])])
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.round(to_canvas(outline)).astype(np.int32)], (255,))
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.017 * DENSITY)
    plain = look.male or canvas.rng.random() < 0.75
    colour = look.skin * ((0.78, 0.68, 0.93) if plain else (0.55, 0.42, 0.85))
    canvas.cover(0.85 * soft, colour * (1 + 0.05 * canvas.noise(60, 3)[..., None]))
    canvas.line(landmarks[[48, 60, 61, 62, 63, 64, 54]], 0.013, 0.65, 0.007)


def _nostrils(canvas: Canvas, landmarks: np.ndarray) -> None:
    for s, (x, y) in ((-1, landmarks[32]), (1, landmarks[34])):
        canvas.tint(-0.75 * canvas.blob(x + s * 0.035, y - 0.015, 0.055, 0.035))


def _brows(canvas: Canvas, look: Looks, landmarks: np.ndarray) -> None:
    """Some five hundred hairs each, steep beside the nose and flat at the temple."""
    rng = canvas.rng
    thickness = rng.uniform(0.045, 0.085) * (1.15 if look.male else 0.85)
    for side, points in ((-1, landmarks[17:22]), (1, landmarks[26:21:-1])):
        middle = curve(points, 80) + (0, 0.05)
        layer = np.zeros((HEIGHT, WIDTH), np.float32)
        for _ in range(int(rng.uniform(420, 620))):
            inward = rng.beta(1.4, 1.2)
            start = middle[int(inward * 79)] + (0, rng.normal(0, thickness * 0.42 * (0.45 + 0.55 * inward)))
            angle = -0.25 - 1.05 * inward**2 + rng.normal(0, 0.2)
            end = start + rng.uniform(0.05, 0.11) * np.array([side * np.cos(angle), 0.75 * np.sin(angle)])
            (x0, y0), (x1, y1) = fixed_point(start).tolist(), fixed_point(end).tolist()
            cv2.line(layer, (x0, y0), (x1, y1), (rng.uniform(0.35, 0.8),), 1, cv2.LINE_AA, SUBPIXEL_BITS)
        canvas.cover(np.clip(cv2.GaussianBlur(layer, (0, 0), 0.8) * 1.4, 0, 0.9), 0.8 * look.hair)


def _lids(canvas: Canvas, landmarks: np.ndarray) -> None:
    for upper, lower in (((36, 37, 38, 39), (39, 40, 41, 36)), ((42, 43, 44, 45), (45, 46, 47, 42))):
        canvas.line(landmarks[list(upper)] + (0, -0.005), 0.020, 0.75, 0.007)
        canvas.line(landmarks[list(upper)] + (0, -0.085), 0.013, 0.30, 0.010)
        canvas.line(landmarks[list(lower)] + (0, 0.012), 0.010, 0.35, 0.007)


def _hair(canvas: Canvas, look: Looks) -> None:
    rng = canvas.rng
    line = -1.05 + rng.normal(0, 0.08) + 0.28 * canvas.x**2
    mask = np.clip((line - canvas.y) / 0.10 + 0.35 * canvas.noise(40, 3), 0, 1)
    sides = np.clip((np.abs(canvas.x) - 1.02) / 0.06, 0, 1) * np.clip((0.5 - canvas.y) / 0.2, 0, 1)
    if rng.random() < 0.8:
        mask = np.maximum(mask, sides)
    strands = 0.22 * canvas.noise(300, 1) + 0.12 * canvas.noise(12, 3)
    canvas.cover(mask, look.hair * np.exp(strands)[..., None])
