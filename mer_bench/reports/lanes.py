"""The race as a picture: folds from the first down, trials from left to right, validation loss as shade.

fold 1   ▓▓▒▓░▓▓▒    a column ends where its trial was dropped
fold 2   ▓▓▒▓ ▓▓▒    many trials: columns are gathered, a cell is their median
fold 3   ▓▓ ▓  ▓▒
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from mer_bench.reports.svg import PAD, WIDTH, Scale, cut, element, joined, line, picture, text

LEFT = 44.0
COLUMNS = 250
"""Trials are gathered where there are more than so many: a column must be seen."""
SHADES = 6


class Lap(NamedTuple):
    """A trial in the order of its number: score (None: it did not finish), and how it ended (`trials`' words)."""

    number: int
    score: float | None
    state: str
    losses: Mapping[int, float]
    folds: int
    chosen: bool


def race(laps: Sequence[Lap], folds: Sequence[str], first_look: int | None, trained: float | None) -> Markup:
    """Validation loss of every fold of every trial.

    Args:
        laps: trials by number.
        folds: names, in the study's order.
        first_look: after how many folds trials may be dropped; None if they race not.
        trained: share of fold-epochs that were trained.
    """
    named = len(folds) <= 30
    left, top, tall = (70.0 if named else LEFT), 24.0, (10.0 if named else max(3.0, 220.0 / max(len(folds), 1)))
    bottom, many = top + tall * len(folds), max(1, math.ceil(len(laps) / COLUMNS))
    columns = [laps[at : at + many] for at in range(0, len(laps), many)]
    wide = min(22.0, (WIDTH - left - PAD) / max(len(columns), 1))
    edges = shades([loss for lap in laps for loss in lap.losses.values()])
    parts = [_rows(folds, named, left, top, tall), _cells(columns, edges, left, top, wide, tall)]
    parts += [_ends(columns, left, top, wide, tall)] if many == 1 else []
    if first_look is not None and first_look < len(folds):
        y = top + first_look * tall
        parts.append(line(left, y, left + wide * len(columns), y, "chance"))
    scale = Scale(laps[0].number, laps[-1].number, left + wide / 2, left + wide * len(columns) - wide / 2)
    parts += [text(scale(n), bottom + 13, f"{n:g}", "tick") for n in _whole(scale)]
    parts += [
        text(left + max(wide * len(columns), 24) / 2, bottom + 27, "trial", "tick label"),
        _legend(edges, bottom + 40, left),
    ]
    height = bottom + 60
    if trained is not None:
        parts.append(_share(trained, height + 2, left))
        height += 24
    return picture(height, "validation loss of every fold of every trial, and where trials were dropped", *parts)


def shades(losses: Sequence[float]) -> list[float]:
    """Losses between which the shade changes: as many cells on each side of every edge as `SHADES` allows."""
    if not losses:
        return []
    return [float(edge) for edge in np.quantile(np.asarray(losses), np.linspace(0, 1, SHADES + 1))]


def shade(loss: float, edges: Sequence[float]) -> int:
    """0 for the best sixth of all losses, up to `SHADES` - 1."""
    return int(np.searchsorted(np.asarray(edges[1:-1]), loss, side="left"))


def gathered(laps: Sequence[Lap], place: int) -> tuple[float, bool] | None:
    """Median loss of some trials in one fold, and whether at least half of them trained it; None if none did."""
    found = [lap.losses[place] for lap in laps if place in lap.losses]
    return (float(np.median(found)), 2 * len(found) >= len(laps)) if found else None


def _cells(
    columns: Sequence[Sequence[Lap]], edges: Sequence[float], left: float, top: float, wide: float, tall: float
) -> Markup:
    """One path a shade, its cells as short upright strokes in units of rows and columns."""
    drawn: dict[str, list[str]] = {}
    for x, laps in enumerate(columns):
        open_: tuple[str, int] | None = None
        depth = max((place for lap in laps for place in lap.losses), default=-1) + 1
        for place in range(depth + 1):
            known = gathered(laps, place)
            kind = f"s{shade(known[0], edges)}{'' if known[1] else ' few'}" if known else ""
            if open_ and open_[0] != kind:
                drawn.setdefault(open_[0], []).append(f"M{x}.5 {open_[1]}v{place - open_[1]}")
                open_ = None
            if kind and not open_:
                open_ = (kind, place)
    paths = [element("path", d="".join(drawn[kind]), class_=f"loss {kind}") for kind in sorted(drawn)]
    moved = f"translate({left:g} {top:g}) scale({wide:.4g} {tall:.4g})"
    return element("g", *paths, transform=moved, shape_rendering="crispEdges") if paths else Markup("")


def _ends(columns: Sequence[Sequence[Lap]], left: float, top: float, wide: float, tall: float) -> Markup:
    """Who was chosen (above), dropped (below its last fold) and failed."""
    at = [(left + (x + 0.5) * wide, lap) for x, (lap,) in enumerate(columns)]
    size = min(5.0, max(1.6, wide * 0.8))
    parts = []
    for kind, words, places in (
        ("chosen", "chosen by a fold", [(x, top - 6) for x, lap in at if lap.chosen]),
        ("drop", "dropped", [(x, top + lap.folds * tall + 3) for x, lap in at if lap.state == "PRUNED"]),
    ):
        if places:
            d = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
            parts.append(element("path", element("title", words), d=d, class_=kind, style=f"stroke-width:{size:.1f}px"))
    failed = [(x, top + lap.folds * tall + 4) for x, lap in at if lap.state == "FAIL"]
    if failed:
        arm = size / 2
        d = "".join(
            f"M{x - arm:.1f} {y - arm:.1f}l{size:.1f} {size:.1f}m{-size:.1f} 0l{size:.1f} {-size:.1f}"
            for x, y in failed
        )
        parts.append(element("path", element("title", "failed"), d=d, class_="fail"))
    return joined(*parts)


def _rows(folds: Sequence[str], named: bool, left: float, top: float, tall: float) -> Markup:
    """Names of the folds where there is room, else some of their numbers."""
    if named:
        middles = [top + (place + 0.5) * tall + 3 for place in range(len(folds))]
        return joined(
            *(text(left - 6, y, cut(name, 12), "value soft small") for y, name in zip(middles, folds, strict=True))
        )
    scale = Scale(1, len(folds), top + tall / 2, top + (len(folds) - 0.5) * tall)
    return joined(*(text(left - 6, scale(n) + 3, f"{n:g}", "value soft small") for n in _whole(scale)))


def _whole(scale: Scale) -> list[float]:
    return [tick for tick in scale.ticks(7) if tick == round(tick)]


def _legend(edges: Sequence[float], y: float, left: float) -> Markup:
    """The shades and the losses at their outer ends."""
    if not edges:
        return Markup("")
    words = text(left, y + 9, f"loss {edges[0]:.2f}", "soft small")
    start = left + 52
    boxes = [
        element("path", d=f"M{start + 18 * k:g} {y + 6:g}h18", class_=f"loss s{k}", style="stroke-width:9px")
        for k in range(SHADES)
    ]
    middle = text(start + 18 * SHADES + 6, y + 9, f"{edges[-1]:.2f}, a sixth of all cells each", "soft small")
    return joined(words, *boxes, middle)


def _share(trained: float, y: float, left: float) -> Markup:
    """How much of all fold-epochs was trained, as a bar."""
    room = WIDTH - PAD - left
    return joined(
        element("rect", x=left, y=y, width=room, height=8, rx=4, class_="cell"),
        element("rect", x=left, y=y, width=max(room * min(trained, 1.0), 1.0), height=8, rx=4, class_="shade"),
        text(left, y + 20, f"{100 * trained:.0f} % of the fold-epochs trained", "soft small"),
    )
