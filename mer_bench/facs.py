"""Action units as coders write them: every unit, side, intensity and alternative, and whatever could not be read.

    4+L10                   two units, the second on the left
    R14A or 17A or 24A      one choice of three, each of intensity A
    (R6 or R12)+R15         a choice of two, and one more
    A/L12                   asymmetric, stronger on the left
    4+?                     one unit, and one the coder was unsure of

The Facial Action Coding System writes sides before the number and intensities A to E behind it (Ekman, Friesen and
Hager, FACS Manual, 2002).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

SIDES = ("", "L", "R", "A", "A/L", "A/R")
"""As coded; A is asymmetric, with the stronger side behind the stroke."""
INTENSITIES = ("", "A", "B", "C", "D", "E")

_TOKEN = re.compile(
    r"(?P<unit>(?<![A-Za-z])(?:AU)?\s*(?P<side>A/[LR]|[LRA])?\s*(?P<number>(?<![0-9])[0-9]{1,2}(?![0-9]))"
    r"(?P<intensity>[A-E](?![A-Za-z]))?)"
    r"|(?P<open>\()|(?P<close>\))|(?P<unsure>\?)|(?P<or>(?<![A-Za-z])or(?![A-Za-z]))"
    r"|(?P<and>[+,;&]|(?<![A-Za-z])and(?![A-Za-z]))|(?P<space>\s+)|(?P<word>[A-Za-z]+|[0-9]+|.)",
    re.DOTALL,
)


@dataclass(frozen=True)
class ActionUnit:
    """One coded unit; units that share a `choice` are alternatives, of which the coder saw one."""

    number: int
    side: str = ""
    intensity: str = ""
    choice: int = 0


@dataclass(frozen=True)
class Facs:
    """A parsed string: its units in order, whether the coder was unsure (`?`), and words that are no code."""

    units: tuple[ActionUnit, ...] = ()
    unsure: bool = False
    unread: tuple[str, ...] = ()


def parse(text: str) -> Facs:
    """Every unit of a FACS string; nothing is dropped: what is no unit and no sign is in `unread`."""
    text = unicodedata.normalize("NFKC", text)
    units: list[ActionUnit] = []
    unread: list[str] = []
    unsure = joined = False
    choice = 0
    for kind, found in _tokens(text):
        if kind == "unit":
            if units and not joined:
                choice += 1
            units.append(ActionUnit(int(found["number"]), found["side"] or "", found["intensity"] or "", choice))
            joined = False
        elif kind == "or" and units:
            joined = True
        elif kind == "unsure":
            unsure = True
        elif kind == "and":
            joined = False
        elif kind in ("word", "or"):
            unread.append(found[0])
    if _nested(text):
        unread.append("alternatives of combinations")
    return Facs(tuple(units), unsure, tuple(unread))


def _tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    for found in _TOKEN.finditer(text):
        yield str(found.lastgroup), found


def _nested(text: str) -> bool:
    """Whether `or` stands between brackets that hold a combination: `(6+12) or 15`."""
    bracket = r"\([^()]*[+,&][^()]*\)"
    return re.search(rf"{bracket}\s*or\b|\bor\s*{bracket}", text) is not None
