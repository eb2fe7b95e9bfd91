"""Which muscles an emotion moves: action units, their sides and strengths, as coders of real corpora counted them.

Combinations and sides are aggregates over the coding sheets of CASME II, SAMM, CAS(ME)^3 and DFME. Action units become
displacements through the Face Units of the asset; a strength is the largest displacement on the skin, in IODs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from mer_bench.datasets._synth import asset

BOTH = "*"
"""Ends the name of a facial action that has no side."""
FACIAL_ACTIONS: Mapping[int, str] = {
    1: "browInnerUp*",
    2: "browOuterUp",
    4: "browDown",
    5: "eyeWide",
    6: "cheekSquint",
    7: "eyeSquint",
    9: "noseSneer",
    10: "mouthUpperUp",
    12: "mouthSmile",
    14: "mouthDimple",
    15: "mouthFrown",
    17: "mouthShrugLower*",
    20: "mouthStretch",
    24: "mouthPress",
    25: "mouthLowerDown",
    26: "jawOpen*",
}
COMBINATIONS: Mapping[str, Mapping[tuple[int, ...], int]] = {
    "anger": {(7,): 20, (4,): 15, (4, 7): 10, (4, 5): 2, (24,): 2},
    "contempt": {(14,): 8, (12, 14): 2, (14, 17): 2},
    "disgust": {(4, 7): 20, (4,): 14, (4, 10): 9, (4, 9): 6, (10,): 4, (4, 7, 9): 3, (9,): 3},
    "fear": {(20,): 6, (4, 7): 2, (4,): 2, (5,): 1},
    "happiness": {(12,): 30, (6, 12): 18, (14,): 2, (12, 15): 2, (7, 12): 2},
    "repression": {(17,): 13, (15,): 4, (15, 17): 4, (14,): 3},
    "sadness": {(1,): 5, (1, 4): 3, (17,): 3, (15,): 2, (15, 17): 2},
    "surprise": {(1, 2): 16, (1, 2, 5): 10, (5,): 9, (2,): 6, (1,): 4, (25,): 1, (25, 26): 1},
}
"""Emotion -> action units -> clips seen. AU4 serves disgust, anger and fear alike: the overlap is real."""
EMOTIONS: Mapping[str, Mapping[str, float]] = {
    "negative": {"disgust": 42, "anger": 27, "repression": 13, "contempt": 7, "fear": 6, "sadness": 5},
    "positive": {"happiness": 1},
    "surprise": {"surprise": 1},
}
ONE_SIDED = {12: 0.35, 10: 0.4, 14: 0.25, 2: 0.5, 1: 0.2, 20: 0.3, 15: 0.1, 4: 0.04, 6: 0.08, 24: 0.05, 5: 0.08}
"""Action unit -> share seen on one side."""
ELSE_ONE_SIDED = 0.05
WEAKER_SIDE = 0.35
"""The other side of a one-sided action reaches at most this share; coders call it one-sided."""
UNEVEN = 0.15
LARGEST = 0.07


@dataclass(frozen=True)
class Expression:
    """What a face does at the apex.

    Args:
        action_units: as coded: (12, ""), or (12, "L") where one side hardly moves.
        amounts: facial action -> share of its full displacement.
        peak: the largest displacement, IODs.
    """

    action_units: tuple[tuple[int, str], ...]
    amounts: Mapping[str, float]
    peak: float

    def facs(self) -> str:
        """As in a coding sheet: `4+L10`."""
        return "+".join(f"{side}{unit}" for unit, side in self.action_units)


def style(rng: np.random.Generator, spread: float) -> dict[int, float]:
    """How strongly a subject shows each action unit: lognormal around 1."""
    return {unit: float(np.exp(rng.normal(0, spread))) for unit in FACIAL_ACTIONS}


def pick(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    """A key, by shares that need not sum to 1."""
    weights = np.array(list(shares.values()), float)
    return list(shares)[rng.choice(len(weights), p=weights / weights.sum())]


def express(
    emotion: str, rng: np.random.Generator, median: float, sigma: float, strength: Mapping[int, float]
) -> Expression:
    """A random expression of an emotion; peaks are lognormal and scaled by the subject's `strength` per action unit."""
    shares = COMBINATIONS[emotion]
    weights = np.array(list(shares.values()), float)
    units = list(shares)[rng.choice(len(shares), p=weights / weights.sum())]
    coded, amounts, peaks = [], dict[str, float](), []
    for unit in units:
        left, right, side = _sides(unit, rng)
        peak = min(float(np.exp(rng.normal(np.log(median), sigma))) * strength[unit], LARGEST)
        for action, share in _actions(unit, left, right).items():
            amounts[action] = amounts.get(action, 0.0) + share * peak / reach(unit)
        coded.append((unit, side))
        peaks.append(peak)
    return Expression(tuple(coded), amounts, max(peaks))


@cache
def reach(unit: int) -> float:
    """The largest displacement on the mean face of an action unit at full strength, across the picture, IODs."""
    units = asset.load().units
    total = np.sum([units[action] for action in _actions(unit, 1, 1)], axis=0)
    return float(np.linalg.norm(total[:, :2], axis=1).max())


def _sides(unit: int, rng: np.random.Generator) -> tuple[float, float, str]:
    """Shares of the left and the right side, and the side as coded; units without sides are coded as both."""
    if rng.random() >= ONE_SIDED.get(unit, ELSE_ONE_SIDED):
        left, right = np.exp(rng.normal(0, UNEVEN, 2))
        return float(left), float(right), ""
    side, weaker = "LR"[rng.integers(2)], rng.uniform(0, WEAKER_SIDE)
    coded = "" if FACIAL_ACTIONS[unit].endswith(BOTH) else side
    return (1.0, weaker, coded) if side == "L" else (weaker, 1.0, coded)


def _actions(unit: int, left: float, right: float) -> dict[str, float]:
    name = FACIAL_ACTIONS[unit]
    if name.endswith(BOTH):
        return {name.removesuffix(BOTH): (left + right) / 2}
    return {f"{name}Left": left, f"{name}Right": right}
