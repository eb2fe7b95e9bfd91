"""How a clip unfolds: when the expression comes and goes, and what else moves meanwhile.

    amounts  (F, M)   for each frame, how much of each facial action and rigid motion it shows

Times are in milliseconds, so that one clip is the same event at any frame rate. The head is never still, lids drift,
and in some clips a partial blink runs into the expression: the confounds that every real corpus has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mer_bench.datasets._synth.head import RIGID
from mer_bench.datasets._synth.muscles import Expression

SHORTEST, LONGEST = 180.0, 500.0
"""Onset to offset, ms: the range of micro-expressions."""
APEX_SHAPE = (5.0, 5.5)
"""Beta distribution of the apex's place between onset and offset."""
LEAD_FRAMES = (2, 5)
BLINK_SHARE, BLINK_NEAR, BLINK_WIDTH = 0.18, 50.0, 45.0
"""Share of clips with a partial blink, its distance from the apex (ms, deviation) and width (ms, deviation)."""
LID_DRIFT = 0.05
JITTER = {"tx": 0.5, "ty": 0.5, "tz": 0.4, "pitch": 0.6, "yaw": 0.6, "roll": 0.25}
"""Deviation from onset to apex in units of `head.RIGID_STEP`; each clip scales all by |N(0, 1)|."""
KNOT = 100.0
"""Milliseconds between the knots of slow random paths."""
LIDS = ("eyeBlinkLeft", "eyeBlinkRight")


@dataclass(frozen=True)
class Timing:
    """Frame counts of a clip: frames before the onset, onset to apex, apex to offset, and frames after the offset."""

    before: int
    rise: int
    fall: int
    after: int

    @property
    def frames(self) -> int:
        """Frames on disk."""
        return self.before + self.rise + self.fall + 1 + self.after


def timing(rng: np.random.Generator, fps: float) -> Timing:
    """Random; the expression lasts 180 to 500 ms."""
    total = rng.uniform(SHORTEST, LONGEST) / 1000 * fps
    rise = max(2, round(total * rng.beta(*APEX_SHAPE)))
    before, after = rng.integers(*LEAD_FRAMES, size=2, endpoint=True)
    return Timing(int(before), rise, max(2, round(total) - rise), int(after))


def strength(times: Timing) -> np.ndarray:
    """(F,) share of the expression: 0 up to the onset, a raised cosine to 1 at the apex, and back to 0."""
    frame = np.arange(times.frames) - times.before - times.rise
    phase = np.where(frame < 0, frame / times.rise, frame / times.fall).clip(-1, 1)
    shape: np.ndarray = (1 + np.cos(np.pi * phase)) / 2
    return shape


def amounts(
    expression: Expression, times: Timing, fps: float, rng: np.random.Generator
) -> tuple[list[str], np.ndarray]:
    """Names of the motions, and (F, M) how much of each a frame shows."""
    shape = strength(times)
    shown = {name: amount * shape for name, amount in expression.amounts.items()}
    lids = _blink(times, fps, rng)
    for name in LIDS:
        shown[name] = shown.get(name, 0) + lids
    unrest = abs(rng.normal())
    for name in RIGID:
        # A difference of two independent knots has the deviation of either times the root of two.
        shown[name] = unrest * JITTER[name] / np.sqrt(2) * drift(times.frames, fps, rng)
    return list(shown), np.stack(list(shown.values()), axis=1)


def drift(frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """(F,) a smooth random path: independent unit normals every `KNOT` ms, cubic between them (Catmull-Rom)."""
    place = np.arange(frames) / fps * 1000 / KNOT
    knots = rng.normal(size=int(place[-1]) + 4)
    index, t = place.astype(int), place % 1
    a, b, c, d = (knots[index + k] for k in range(4))
    path: np.ndarray = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return path


def _blink(times: Timing, fps: float, rng: np.random.Generator) -> np.ndarray:
    """(F,) how far the lids close: a slow drift, and in some clips a bump near the apex."""
    lids = LID_DRIFT / np.sqrt(2) * drift(times.frames, fps, rng)
    blinks, depth, lag = rng.random() < BLINK_SHARE, rng.uniform(0.1, 0.9), rng.normal(0, BLINK_NEAR)
    if blinks:
        ms = (np.arange(times.frames) - times.before - times.rise) / fps * 1000
        lids = lids + depth * np.exp(-(((ms - lag) / BLINK_WIDTH) ** 2) / 2)
    return np.asarray(lids)
