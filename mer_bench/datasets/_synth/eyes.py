"""Eyeballs: white, iris, pupil, the lid's shadow and a highlight, by where a pixel lies on the ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IRIS = np.array([[28.0, 45, 70], [25, 35, 50], [70, 95, 95], [140, 115, 80], [110, 100, 85]])
IRIS_SHARES = (0.4, 0.25, 0.12, 0.15, 0.08)
WHITE = np.array([205.0, 212, 222])
PUPIL = np.array([10.0, 10, 12])


@dataclass(frozen=True, eq=False)
class Gaze:
    """A subject's iris colour (BGR) and where both eyes look, as a share of the iris radius."""

    iris: np.ndarray
    direction: np.ndarray


def gaze(rng: np.random.Generator) -> Gaze:
    """A random subject's."""
    return Gaze(IRIS[rng.choice(len(IRIS), p=IRIS_SHARES)], rng.normal(0, 0.008, 2))


def colours(points: np.ndarray, ball: np.ndarray, look: Gaze) -> np.ndarray:
    """(n, 3) BGR of points (n, 2 or more) on an eyeball whose vertices are `ball` (m, 3); canonical coordinates."""
    low, high = ball.min(0), ball.max(0)
    centre, radius = (low + high)[:2] / 2, (high[0] - low[0]) / 2
    offset = points[:, :2] - centre
    place = (offset - look.direction) / (radius / 2)
    r, angle = np.hypot(place[:, 0], place[:, 1]), np.arctan2(place[:, 1], place[:, 0])
    fibres = 1 + 0.125 * np.sin(40 * angle + 3 * np.sin(7 * angle))
    iris = look.iris * (fibres * (1 - 0.35 * np.clip((r - 0.75) / 0.25, 0, 1)))[:, None]
    iris = np.where((r < 0.42)[:, None], PUPIL, iris) * (1 - 0.6 * np.clip((r - 0.9) / 0.1, 0, 1))[:, None]
    white = WHITE * (1 - 0.25 * np.clip(np.abs(offset[:, 0]) / radius, 0, 1) ** 2)[:, None]
    inside = np.clip((1.03 - r) / 0.06, 0, 1)[:, None]
    colour = white * (1 - inside) + iris * inside
    colour *= (0.45 + 0.55 * np.clip((offset[:, 1] + 0.16) / 0.16, 0, 1))[:, None]
    highlight = 0.8 * np.exp(-(((offset[:, 0] - 0.03) / 0.02) ** 2) - ((offset[:, 1] + 0.035) / 0.02) ** 2)[:, None]
    lit: np.ndarray = colour * (1 - highlight) + 255 * highlight
    return lit
