"""Numbers as papers print them: what they may be the rounding of, and what a confusion table may be summed up by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from mer_bench.contracts import UsageError

Table = tuple[tuple[int, ...], ...]
"""A confusion table, rows the truth."""


@dataclass(frozen=True)
class Window:
    """A printed number and the shares of which it may be the rounding, ends included."""

    text: str
    value: Fraction
    low: Fraction
    high: Fraction

    def holds(self, share: Fraction) -> bool:
        """Whether this share is printed so."""
        return self.low <= share <= self.high


def window(text: str) -> Window:
    """A number as printed: `.5280`, `0.528`, `95.51` or `95.51%`; numbers above 1 are percent.

    Raises:
        UsageError: it is no share.
    """
    matched = re.fullmatch(r"(\d*)\.?(\d*)\s*(%?)", text.strip())
    if not matched or not (matched[1] or matched[2]):
        raise UsageError(f"{text!r} is no printed share; write it as .5280 or 95.51")
    value = Fraction(f"{matched[1] or 0}.{matched[2] or 0}")
    hundred = 100 if matched[3] or value > 1 else 1
    if value > hundred:
        raise UsageError(f"{text!r} is above 100 %")
    half = Fraction(1, 2 * 10 ** len(matched[2]))
    low, high = max(value - half, Fraction(0)), min(value + half, Fraction(hundred))
    return Window(text.strip(), value / hundred, low / hundred, high / hundred)


def truncated(one: Window) -> Window:
    """The same number, if the digits after it were cut off instead of rounded."""
    return Window(one.text, one.value, one.value, one.value + 2 * (one.high - one.value))


def fits(printed: Window, clips: range) -> list[tuple[int, int]]:
    """(right, all) for every number of clips that can print this accuracy."""
    return [
        (right, total)
        for total in clips
        if total > 0
        for right in range(ceil(printed.low * total), min(floor(printed.high * total), total) + 1)
    ]


def scores(table: Sequence[Sequence[int]]) -> dict[str, Fraction]:
    """What a confusion table (rows the truth) may be summed up by, exactly; a class never predicted has precision 0."""
    rows, columns = [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]
    hits, total, size = [table[k][k] for k in range(len(table))], sum(rows), len(table)
    f1 = [Fraction(2 * h, max(r + c, 1)) for h, r, c in zip(hits, rows, columns, strict=True)]
    return {
        "uf1": sum(f1, Fraction(0)) / size,
        "uar": sum((Fraction(h, max(r, 1)) for h, r in zip(hits, rows, strict=True)), Fraction(0)) / size,
        "accuracy": Fraction(sum(hits), max(total, 1)),
        "mean precision": sum((Fraction(h, max(c, 1)) for h, c in zip(hits, columns, strict=True)), Fraction(0)) / size,
        "weighted F1": sum((f * r for f, r in zip(f1, rows, strict=True)), Fraction(0)) / max(total, 1),
    }


def meanings(table: Sequence[Sequence[int]], printed: Window) -> list[str]:
    """Which of `scores` a printed number is, given its confusion table."""
    return [name for name, value in scores(table).items() if printed.holds(value)]
