"""Pictures of a whole task: how good, how sure, how costly, and who may be ahead of whom.

Pure functions from a few numbers to SVG. Filled dots are honest numbers, hollow ones have seen the test labels; a bar
is a 95 % interval over subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from mer_bench.reports.prose import number, p_value, shown
from mer_bench.reports.svg import (
    PAD,
    WIDTH,
    Scale,
    around,
    axis,
    cut,
    dots,
    element,
    line,
    path,
    picture,
    plain,
    side,
    text,
)

STEP, TOP, LETTERS = 36.0, 20.0, 34


class Score(NamedTuple):
    """A number under an honest rule, and what a leaky rule made of the same run (None: not asked)."""

    name: str
    value: float
    low: float
    high: float
    chance: float
    leaky: float | None = None


class Gap(NamedTuple):
    """A difference to the reference."""

    name: str
    value: float
    low: float
    high: float
    p: float


class Rank(NamedTuple):
    """Where a model may stand, 1 being the first."""

    name: str
    low: int
    high: int
    tied: bool


class Point(NamedTuple):
    """A score beside what it costs."""

    name: str
    cost: float
    value: float
    low: float
    high: float


def scores(rows: Sequence[Score], metric: str = "UF1") -> Markup:
    """Every row's interval on one scale from 0 to 1; the hollow dot is its leaky twin, the dashes are chance."""
    scale, bottom = Scale(0.0, 1.0), TOP + STEP * len(rows)
    parts = [axis(scale, TOP, bottom, most=6), text(scale(rows[0].chance), 13, "chance", "tick")]
    for place, row in enumerate(rows):
        y = TOP + place * STEP
        inside = [
            element("title", f"{row.name}: {_interval(row)}, chance {number(row.chance)}"),
            line(scale(row.chance), y, scale(row.chance), y + STEP, "chance"),
            *_labels(y, row.name, _interval(row)),
            line(scale(row.low), y + 24, scale(row.high), y + 24, "bar"),
        ]
        if row.leaky is not None:
            inside.append(line(scale(row.value), y + 24, scale(row.leaky), y + 24, "leap"))
            inside.append(element("circle", cx=scale(row.leaky), cy=y + 24, r=4, class_="dot leaky"))
        inside.append(element("circle", cx=scale(row.value), cy=y + 24, r=4, class_="dot"))
        parts.append(element("g", *inside))
    return picture(bottom + 20, f"{metric} with its 95 % interval, by model", *parts)


def forest(rows: Sequence[Gap], reference: str) -> Markup:
    """Differences in UF1 to the reference; right of the line is better."""
    low, high = around([0.0, *(r.low for r in rows), *(r.high for r in rows)])
    scale, bottom = Scale(low, high), TOP + STEP * len(rows)
    zero = scale(0.0)
    parts = [axis(scale, TOP, bottom), line(zero, TOP, zero, bottom, "zero")]
    for words, anchor in (("← worse", "end"), ("better →", "start")):
        at = zero - 6 if anchor == "end" else zero + 6
        if PAD + 40 < at < WIDTH - PAD - 40:
            parts.append(element("text", words, x=at, y=13, class_="soft", text_anchor=anchor))
    for place, row in enumerate(rows):
        y, sure = TOP + place * STEP, shown(row.low, row.high, row.p)
        said = f"{number(row.value, signed=True)} [{number(row.low)}, {number(row.high)}]"
        parts.append(
            element(
                "g",
                element("title", f"{row.name} - {reference}: {said}, {p_value(row.p)}"),
                *_labels(y, row.name, f"{number(row.value, signed=True)}, {p_value(row.p)}"),
                line(scale(row.low), y + 24, scale(row.high), y + 24, "bar" if sure else "bar unsure"),
                element("circle", cx=scale(row.value), cy=y + 24, r=4, class_="dot" if sure else "dot unsure"),
            )
        )
    return picture(bottom + 20, f"difference in UF1 to {reference}, with its 95 % interval", *parts)


def ranks(rows: Sequence[Rank]) -> Markup:
    """The ranks that a model may have, over resampled subjects."""
    scale = Scale(0.5, len(rows) + 0.5)
    bottom = TOP + STEP * len(rows)
    parts = [axis(scale, TOP, bottom, most=min(len(rows) + 1, 9))]
    for place, row in enumerate(rows):
        y = TOP + place * STEP
        said = f"{row.low}" if row.low == row.high else f"{row.low} to {row.high}"
        parts.append(
            element(
                "g",
                element("title", f"{row.name}: rank {said}"),
                *_labels(y, row.name, said),
                line(
                    scale(row.low - 0.3), y + 24, scale(row.high + 0.3), y + 24, "rank" if row.tied else "rank behind"
                ),
            )
        )
    return picture(bottom + 20, "ranks that each model may have, 1 is the first", *parts)


def scatter(points: Sequence[Point], cost: str) -> Markup:
    """UF1 against a cost on a logarithmic scale; names are written where there is room."""
    left, top, bottom = 44.0, 14.0, 214.0
    across = Scale(*around([p.cost for p in points], log=True), left, WIDTH - PAD, log=True)
    low, high = around([x for p in points for x in (p.low, p.high)])
    up = Scale(max(low, 0.0), min(high, 1.0), bottom, top)
    parts = [axis(across, top, bottom, cost), side(up, left, WIDTH - PAD)]
    places = [(across(p.cost), up(p.value)) for p in points]
    for point, (x, y) in zip(points, places, strict=True):
        said = f"{point.name}: UF1 {_interval(point)}, {cost} {plain(point.cost)}"
        parts += [element("g", element("title", said), line(x, up(point.low), x, up(point.high), "bar thin"))]
        parts += [element("circle", cx=x, cy=y, r=4, class_="dot")]
    return picture(bottom + 36, f"UF1 against {cost}", *parts, *_names([p.name for p in points], places))


def _names(names: Sequence[str], places: Sequence[tuple[float, float]]) -> list[Markup]:
    """Each name beside its dot, on the side with room; left out where it would cover another, or another's dot."""
    taken = [(x - 4, x + 4, y, 9) for x, y in places]
    said = []
    for name, (x, y) in sorted(zip(names, places, strict=True), key=lambda n: n[1][1]):
        words = cut(name, 24)
        wide = 5.8 * len(words)
        for anchor, start in (("start", x + 7), ("end", x - 7 - wide)):
            free = all(start + wide < a or b < start or abs(y - at) > apart for a, b, at, apart in taken)
            if free and start > PAD + 32 and start + wide < WIDTH:
                taken.append((start, start + wide, y, 11))
                at = x + 7 if anchor == "start" else x - 7
                said.append(element("text", words, x=at, y=y + 4, text_anchor=anchor))
                break
    return said


def curve(rows: Sequence[Sequence[float]], label: str, top_is: float | None = None) -> Markup:
    """A number by epoch: one thin line for each seed, their mean in bold."""
    left, top, bottom = 44.0, 14.0, 174.0
    epochs = min(len(row) for row in rows)
    values = [value for row in rows for value in row[:epochs]]
    low, high = around(values) if top_is is None else (0.0, top_is)
    across = Scale(1.0, float(max(epochs, 2)), left, WIDTH - PAD)
    up = Scale(low, high, bottom, top)
    lines = [path([(across(e + 1), up(v)) for e, v in enumerate(row[:epochs])], "seed") for row in rows]
    mean = [sum(row[e] for row in rows) / len(rows) for e in range(epochs)]
    drawn = [(across(e + 1), up(v)) for e, v in enumerate(mean)]
    ends = [path(drawn, "mean")] if epochs > 1 else [dots(drawn, "chosen")]
    parts = [axis(across, top, bottom, "epoch"), side(up, left, WIDTH - PAD), *(lines if len(rows) > 1 else []), *ends]
    return picture(bottom + 36, f"{label} by epoch", *parts)


def _interval(row: Score | Point) -> str:
    return f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"


def _labels(y: float, name: str, value: str) -> tuple[Markup, Markup]:
    """A row's name on the left, what it says on the right."""
    return text(PAD, y + 13, cut(name, LETTERS)), text(WIDTH - PAD, y + 13, value, "value")
