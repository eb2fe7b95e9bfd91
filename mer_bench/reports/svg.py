"""Pictures as text: the few SVG elements that the charts are made of, escaped, with a scale and its ticks.

A picture is 400 units wide, so that its 11-unit letters can be read on a phone as well as on a desk. Colours are
classes; `templates/drawing.css` says what they look like by day, by night and on paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

WIDTH, PAD = 400.0, 12.0
COUNTED = ("epoch", "trial")
STYLE = Path(__file__).parent / "templates" / "drawing.css"


def element(tag: str, *inside: str, **attributes: str | float | None) -> Markup:
    """One element; text inside and attributes are escaped, numbers cut to a tenth, None is left out.

    A trailing underscore of an attribute's name is dropped (`class_`), others become hyphens.
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(shown(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{said}>{joined(*inside)}</{tag}>") if inside else Markup(f"<{tag}{said}/>")


def joined(*parts: str) -> Markup:
    """Parts in a row; those that are not markup yet are escaped."""
    return Markup("").join(parts)


def shown(value: str | float) -> str:
    """A coordinate with one digit at most, text as it is."""
    return value if isinstance(value, str) else f"{round(value, 1) + 0.0:g}" if abs(value) < 1e5 else f"{value:.0f}"


def picture(height: float, says: str, *inside: str, width: float = WIDTH) -> Markup:
    """A whole picture; `says` is read out in its place."""
    box = f"0 0 {shown(width)} {shown(height)}"
    return element("svg", *inside, viewBox=box, role="img", aria_label=says, class_="drawing")


def alone(drawn: str) -> str:
    """A picture as a file of its own, its style inside."""
    style = f"<style>{STYLE.read_text('utf-8')}</style>"
    head, _, rest = drawn.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


def text(x: float, y: float, words: str, class_: str | None = None) -> Markup:
    """Words at a place."""
    return element("text", words, x=x, y=y, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    steps = "L".join(f"{shown(x)} {shown(y)}" for x, y in points)
    return element("path", d=f"M{steps}", class_=class_)


def dots(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Many dots in one element: strokes of no length with round ends."""
    return element("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in points), class_=class_)


def cut(words: str, letters: int) -> str:
    """Words that fit, the end replaced by an ellipsis."""
    return words if len(words) <= letters else words[: letters - 1] + "…"


@dataclass(frozen=True)
class Scale:
    """Values to places along an axis.

    Args:
        low, high: the values at its ends.
        start, end: their places.
        log: whether equal ratios are equally far apart.
    """

    low: float
    high: float
    start: float = PAD
    end: float = WIDTH - PAD
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; values beyond an end stay at it."""
        if self.low >= self.high:
            return (self.start + self.end) / 2
        at = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(at / self.low) / math.log(self.high / self.low)
        else:
            share = (at - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values between its ends, at most so many."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1, 2, 5), (1, 3), (1,)):
                found = [digit * 10.0**power for power in decades for digit in digits]
                found = [tick for tick in found if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]
                if len(found) <= most:
                    return found
            return found[:: math.ceil(len(found) / most)]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough - 1e-12)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]


def around(values: Sequence[float], margin: float = 0.06, log: bool = False) -> tuple[float, float]:
    """Ends of a scale that shows these values with some air."""
    low, high = min(values), max(values)
    if log:
        air = max(math.log(high / low) * margin, 0.2)
        return low / math.exp(air), high * math.exp(air)
    air = max((high - low) * margin, 1e-3)
    return low - air, high + air


def plain(value: float) -> str:
    """A tick's number as short as it can be: `0.2`, `40`, `3 k`, `1.5 M`."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def axis(scale: Scale, top: float, bottom: float, label: str = "", most: int = 6) -> Markup:
    """A horizontal axis below `bottom`: lines of the grid up to `top`, numbers, and what they measure.

    What is counted has no ticks between whole numbers.
    """
    parts, counted = [], label in COUNTED
    for tick in [tick for tick in scale.ticks(most) if not counted or tick == round(tick)]:
        parts += [line(scale(tick), top, scale(tick), bottom, "grid")]
        parts += [text(scale(tick), bottom + 14, plain(tick), "tick")]
    if label:
        parts.append(text((scale.start + scale.end) / 2, bottom + 29, label, "tick label"))
    return joined(*parts)


def side(scale: Scale, left: float, right: float, most: int = 5) -> Markup:
    """A vertical axis left of `left`: lines of the grid to `right`, and numbers."""
    parts = []
    for tick in scale.ticks(most):
        parts += [line(left, scale(tick), right, scale(tick), "grid")]
        parts += [text(left - 5, scale(tick) + 3.5, plain(tick), "value soft")]
    return joined(*parts)
