"""Pictures of a whole study: how its trials went, what they cost, what mattered, and what choosing among them is worth.

course    one dot a trial that finished, by number; the best so far as a staircase; below it the dropped and the failed
weights   one bar a knob     its importance, and what luck alone gives
promise   one line a rule    what fewer trials would have given
verdicts  one row a rule     its number, interval and chance
votes     one block a fold   beside the trial that its validation subjects chose
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from mer_bench.reports.lanes import LEFT, Lap
from mer_bench.reports.prose import number, plural
from mer_bench.reports.svg import (
    PAD,
    WIDTH,
    Scale,
    around,
    axis,
    cut,
    dots,
    element,
    joined,
    line,
    path,
    picture,
    side,
    text,
)

MANY = 300
STEP, TOP = 36.0, 20.0


class Verdict(NamedTuple):
    """A rule's number. `band` holds 95 of 100 shuffles of the same predictions; ends are None where nobody knows."""

    name: str
    value: float
    low: float | None
    high: float | None
    chance: float
    band: tuple[float, float] | None = None
    leaky: bool = False


def course(laps: Sequence[Lap], published: float | None = None) -> Markup:
    """Pooled validation UF1 by trial; `published` draws the level of trial 0."""
    top, bottom, floor = 14.0, 158.0, 190.0
    done = [(lap.number, lap.score, lap.chosen) for lap in laps if lap.score is not None]
    across = Scale(0.0, float(max([lap.number for lap in laps] + [1])), LEFT + 4, WIDTH - PAD)
    low, high = around([score for _, score, _ in done] or [0.0, 1.0])
    air = max(0.0, 0.04 - (high - low)) / 2
    up = Scale(low - air, high + air, bottom, top)
    parts = [axis(across, top, floor, "trial"), side(up, LEFT, WIDTH - PAD)]
    if published is not None:
        parts += [line(LEFT, up(published), WIDTH - PAD, up(published), "chance")]
        beside = 11 if up(published) < (top + bottom) / 2 else -4
        parts += [text(WIDTH - PAD, up(published) + beside, "trial 0, as published", "value soft small")]
    for y, state, words in ((173.0, "PRUNED", "dropped"), (185.0, "FAIL", "failed")):
        where = [across(lap.number) for lap in laps if lap.state == state]
        if where:
            parts += [text(LEFT - 5, y + 3, words, "value soft small")]
            parts += [element("path", d="".join(f"M{x:.1f} {y - 3.5:g}v7" for x in where), class_=f"tick-{words}")]
    size = " many" if len(laps) > MANY else ""
    parts += [dots([(across(n), up(s)) for n, s, c in done if not c], f"trial{size}")]
    parts += [path(_stairs([(across(n), up(s)) for n, s, _ in done], across.end), "mean")] if done else []
    parts += [dots([(across(n), up(s)) for n, s, c in done if c], f"chosen{size}")]
    return picture(floor + 36, "validation UF1 of each trial by its number, and the best so far", *parts)


def _stairs(places: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """The best so far as steps; up is a smaller y."""
    found: list[tuple[float, float]] = []
    for x, y in places:
        if not found or y < found[-1][1]:
            found += [(x, found[-1][1])] if found else []
            found.append((x, y))
    return [*found, (end, found[-1][1])]


def weights(rows: Sequence[tuple[str, float, float]]) -> Markup:
    """Importance of each knob (name, share, luck): a pale bar is no more than luck gives, which the mark shows."""
    tall, left = 20.0, 128.0
    scale = Scale(0.0, max(max(share, luck) for _, share, luck in rows), left, WIDTH - PAD - 34)
    parts = []
    for place, (name, share, luck) in enumerate(rows):
        y, sure = 6 + place * tall, share > luck
        bar = element(
            "rect", x=left, y=y, width=max(scale(share) - left, 0.8), height=12, rx=2,
            class_="shade" if sure else "shade pale",
        )  # fmt: skip
        said = f"{name}: {100 * share:.0f} %, luck gives up to {100 * luck:.0f} %"
        mark = line(scale(luck), y - 2, scale(luck), y + 14, "luck")
        label = text(left - 8, y + 10, cut(name, 20), "value" if sure else "value soft")
        close = -6 < scale(luck) - scale(share) < 34
        shown = text((scale(luck) if close else scale(share)) + 6, y + 10, f"{100 * share:.0f} %", "soft small")
        parts.append(element("g", element("title", said), label, bar, mark, shown))
    return picture(8 + tall * len(rows), "importance of each knob, and what luck alone gives", *parts)


def promise(rows: Sequence[tuple[int, float, float]], chance: float) -> Markup:
    """UF1 of `nested` and of `shared`, both without refit, had the study ended after so many trials."""
    top, bottom, right = 14.0, 174.0, WIDTH - 58
    across = Scale(1.0, float(rows[-1][0]), LEFT + 4, right, log=True)
    up = Scale(*around([v for _, *both in rows for v in both] + [chance]), bottom, top)
    parts = [axis(across, top, bottom, "trials (the first ones)"), side(up, LEFT, right)]
    parts += [line(LEFT, up(chance), right, up(chance), "chance"), text(right + 6, up(chance) + 3.5, "chance", "soft")]
    ends = [up(rows[-1][1]), up(rows[-1][2])]
    apart = max(0.0, 12 - abs(ends[0] - ends[1])) / 2
    for which, (name, class_) in enumerate((("nested", "mean"), ("shared", "second")), 1):
        drawn = [(across(row[0]), up(row[which])) for row in rows]
        parts += [path(drawn, class_), dots(drawn, "chosen" if which == 1 else "trial")]
        away = apart if ends[which - 1] > ends[2 - which] or (ends[0] == ends[1] and which == 2) else -apart
        parts.append(text(right + 6, ends[which - 1] + 3.5 + away, name, None if which == 1 else "soft"))
    return picture(bottom + 36, "UF1 on held-out subjects had the study ended earlier", *parts)


def verdicts(rows: Sequence[Verdict], ends: tuple[float, float] = (0.0, 1.0), legend: bool = False) -> Markup:
    """Rules side by side; hollow and orange is leaky, dashes are chance, the band is where shuffled predictions lie.

    Args:
        rows: from the top.
        ends: of the scale.
        legend: say in the picture what its marks are, and give it a ground of its own: it stands alone.
    """
    scale, bottom = Scale(*ends), TOP + STEP * len(rows)
    height = bottom + (48 if legend else 20)
    parts = [element("rect", x=0, y=0, width=WIDTH, height=height, class_="ground")] if legend else []
    parts += [axis(scale, TOP, bottom), text(scale(rows[0].chance), 13, "chance", "tick")]
    for place, row in enumerate(rows):
        y = TOP + place * STEP
        known = "" if row.low is None or row.high is None else f" [{number(row.low)}, {number(row.high)}]"
        said = number(row.value) + known
        inside = [element("title", f"{row.name}: {said}, chance {number(row.chance)}")]
        if row.band:
            low, high = (scale(end) for end in row.band)
            inside.append(element("rect", x=low, y=y + 17, width=high - low, height=14, rx=2, class_="band"))
        inside += [line(scale(row.chance), y, scale(row.chance), y + STEP, "chance")]
        inside += [text(PAD, y + 13, cut(row.name, 42)), text(WIDTH - PAD, y + 13, said, "value")]
        leaky = " leaky" if row.leaky else ""
        if row.low is not None and row.high is not None:
            inside.append(line(scale(row.low), y + 24, scale(row.high), y + 24, f"bar{leaky}"))
        inside.append(element("circle", cx=scale(row.value), cy=y + 24, r=4, class_=f"dot{leaky}"))
        parts.append(element("g", *inside))
    parts += [_legend(bottom + 36, any(row.band for row in rows))] if legend else []
    return picture(height, "UF1 under each rule, with its 95 % interval and chance", *parts)


def _legend(y: float, band: bool) -> Markup:
    """What the marks of `verdicts` are."""
    parts = [
        element("circle", cx=PAD + 4, cy=y, r=4, class_="dot"),
        text(PAD + 14, y + 3.5, "chose by validation subjects", "small"),
        element("circle", cx=PAD + 164, cy=y, r=4, class_="dot leaky"),
        text(PAD + 174, y + 3.5, "saw the test labels", "small"),
    ]
    if band:
        parts.append(element("rect", x=PAD + 274, y=y - 5, width=18, height=10, rx=2, class_="band"))
        parts.append(text(PAD + 298, y + 3.5, "95 % of shuffles", "small"))
    return joined(*parts)


def votes(rows: Sequence[tuple[int, Sequence[str]]], folds: int) -> Markup:
    """Which trial each fold's validation subjects chose: (trial, its folds)."""
    left, tall = 70.0, 22.0
    wide = min(18.0, (WIDTH - left - PAD - 60) / max(len(mine) for _, mine in rows))
    parts = []
    for place, (trial, mine) in enumerate(rows):
        y = 4 + place * tall
        parts.append(text(left - 8, y + 11, f"trial {trial}", "value"))
        for at, fold in enumerate(mine):
            box = element("rect", x=left + at * wide, y=y, width=wide * 0.86, height=14, rx=2, class_="shade")
            parts.append(element("g", element("title", f"{fold} chose trial {trial}"), box))
        parts.append(text(left + len(mine) * wide + 6, y + 11, plural(len(mine), "fold"), "soft"))
    return picture(8 + tall * len(rows), f"how many of {folds} folds chose each trial", *parts)
