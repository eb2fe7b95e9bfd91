"""Pictures of one model, and the one that explains the protocol.

confusion   (K, K)           rows the truth, shaded by their share of the row
strip       one column a subject: its clips, the right ones filled
progress    one dot a trial of a study, the best so far as a staircase
knob        one dot a trial: what a setting was, how the trial did
loso        one row a fold: who trains, who validates, who is held out
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

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

LOG_FROM = 30.0
"""A knob whose largest value is so many times its smallest is drawn on a logarithmic scale."""


def confusion(counts: np.ndarray, classes: Sequence[str]) -> Markup:
    """Counts (K, K), summed over folds and averaged over seeds; rows are the truth."""
    size = len(classes)
    left, top = 104.0, 40.0
    cell = min(64.0, (WIDTH - left - PAD) / size)
    parts = [text(left + cell * size / 2, 13, "said", "tick"), text(PAD, top - 8, "truth", "soft")]
    for row, name in enumerate(classes):
        y = top + row * cell
        parts.append(text(left - 8, y + cell / 2 + 4, cut(name, 14), "value"))
        parts.append(text(left + row * cell + cell / 2, top - 8, cut(name, max(3, int(cell / 6))), "tick"))
        total = counts[row].sum()
        for column in range(size):
            share = float(counts[row, column] / total) if total else 0.0
            x, middle = left + column * cell, "on" if share > 0.75 else "mid" if share > 0.55 else "off"
            percent = f"{100 * share:.0f} %"
            said = f"{name} said to be {classes[column]}: {plain_count(counts[row, column])} clips, {percent}"
            parts += [
                element(
                    "g",
                    element("title", said),
                    element("rect", x=x, y=y, width=cell - 2, height=cell - 2, rx=3, class_="cell"),
                    element(
                        "rect", x=x, y=y, width=cell - 2, height=cell - 2, rx=3, class_="shade",
                        fill_opacity=f"{0.04 + 0.96 * share:.3f}",
                    ),
                    text(x + cell / 2 - 1, y + cell / 2, plain_count(counts[row, column]), f"tick count {middle}"),
                    text(x + cell / 2 - 1, y + cell / 2 + 13, percent, f"tick small {middle}"),
                )
            ]  # fmt: skip
    return picture(top + cell * size + 6, "confusion matrix, rows are the truth", *parts)


def strip(subjects: Sequence[str], right: np.ndarray, clips: np.ndarray) -> Markup:
    """Each subject's clips as a column, its right ones filled; subjects in their order, corpora apart."""
    corpora = [subject.split("/")[0] for subject in subjects]
    gap = 10.0
    room = WIDTH - 2 * PAD - gap * (len(set(corpora)) - 1)
    wide = min(room / max(len(subjects), 1), 24.0)
    up = Scale(0.0, float(clips.max()), 0.0, 92.0)
    floor, x, before, parts = 120.0, PAD, "", []
    for subject, corpus, good, all_of in zip(subjects, corpora, right, clips, strict=True):
        x += gap if before and corpus != before else 0.0
        if corpus != before:
            parts.append(text(x, floor + 15, corpus, "soft"))
        before = corpus
        said = f"{subject}: {plain_count(good)} of {plain_count(all_of)} clips right"
        tall = max(wide - max(1.0, wide * 0.2), 0.8)
        parts.append(
            element(
                "g",
                element("title", said),
                element("rect", x=x, y=floor - up(all_of), width=tall, height=up(all_of), class_="cell"),
                element("rect", x=x, y=floor - up(good), width=tall, height=up(good), class_="shade"),
            )
        )
        x += wide
    parts += [text(PAD, 13, f"up to {plain_count(clips.max())} clips", "soft")]
    return picture(floor + 22, "clips of each held-out subject, the right ones filled", *parts)


def swings(subjects: Sequence[str], gaps: np.ndarray) -> Markup:
    """How many more clips of each subject one model has right than the other, largest first."""
    order = sorted(range(len(gaps)), key=lambda i: (-gaps[i], subjects[i]))
    most = max(1.0, float(np.abs(gaps).max()))
    left, top, bottom = 44.0, 14.0, 134.0
    up = Scale(-most, most, bottom, top)
    wide = min((WIDTH - left - PAD) / max(len(order), 1), 24.0)
    parts = [side(up, left, WIDTH - PAD)]
    for place, i in enumerate(order):
        x = left + (place + 0.5) * wide
        kind = "shade" if gaps[i] > 0 else "shade worse"
        y0, y1 = sorted((up(0.0), up(float(gaps[i]))))
        said = f"{subjects[i]}: {plain_count(gaps[i], signed=True)} clips"
        tall = max(y1 - y0, 1.0)
        bar = element("rect", x=x - wide * 0.4, y=y0, width=max(wide * 0.8, 0.8), height=tall, class_=kind)
        parts.append(element("g", element("title", said), bar))
    parts.append(line(left, up(0.0), WIDTH - PAD, up(0.0), "zero"))
    return picture(bottom + 10, "clips right more than the other model, by subject", *parts)


def progress(scores: Sequence[float | None]) -> Markup:
    """Pooled validation UF1 of each trial in the order of its number, and the best so far."""
    left, top, bottom = 44.0, 14.0, 154.0
    found = [(n, s) for n, s in enumerate(scores) if s is not None]
    across = Scale(0.0, float(max(len(scores) - 1, 1)), left, WIDTH - PAD)
    up = Scale(*around([s for _, s in found] or [0.0, 1.0]), bottom, top)
    stairs: list[tuple[float, float]] = []
    best = -math.inf
    for n, score in found:
        if score > best:
            stairs += [(across(n), up(best)), (across(n), up(score))] if stairs else [(across(n), up(score))]
            best = score
    stairs += [(across(len(scores) - 1), up(best))] if stairs else []
    drawn = [dots([(across(n), up(s)) for n, s in found], "trial"), path(stairs, "mean")] if found else []
    parts = [axis(across, top, bottom, "trial"), side(up, left, WIDTH - PAD), *drawn]
    return picture(bottom + 36, "validation UF1 of each trial, and the best so far", *parts)


def knob(
    name: str,
    values: Sequence[object],
    scores: Sequence[float],
    chosen: Sequence[bool],
    dropped: Sequence[object] = (),
    span: tuple[float, float, bool] | None = None,
) -> Markup:
    """What a knob was set to against the trial's validation UF1; chosen trials stand out.

    `dropped` are values of trials without such a score: ticks at the foot. `span` is the range that was searched, and
    whether on a logarithmic scale; by default it is what the values show.
    """
    left, top, bottom, width = 34.0, 24.0, 104.0, 200.0
    low, high = around(list(scores))
    up = Scale(low, high, bottom, top)
    places, ticks = _places([*values, *dropped], left + 6, width - PAD, span)
    points = [(x, up(score)) for x, score in zip(places, scores, strict=False)]
    parts = [text(left, 13, cut(name, 26)), side(up, left, width - PAD, most=3), ticks(bottom)]
    parts += [dots([p for p, c in zip(points, chosen, strict=True) if not c], "trial")] if not all(chosen) else []
    parts += [dots([p for p, c in zip(points, chosen, strict=True) if c], "chosen")] if any(chosen) else []
    if dropped:
        marks = "".join(f"M{x:.1f} {bottom - 3:g}v6" for x in sorted({round(x, 1) for x in places[len(values) :]}))
        parts.append(element("path", element("title", "dropped trials"), d=marks, class_="tick-dropped"))
    return picture(bottom + 20, f"validation UF1 by {name}", *parts, width=width)


def loso(subjects: int = 7, held_back: int = 2) -> Markup:
    """Who does what in each fold: one subject is held out, a few validate, the rest train."""
    left, top, cell = 74.0, 34.0, 30.0
    parts = [text(left, 14, "subjects →", "soft")]
    for fold in range(subjects):
        y = top + fold * cell
        parts.append(text(left - 8, y + cell / 2 + 3, f"fold {fold + 1}", "value soft"))
        for subject in range(subjects):
            validates = (subject - fold - 1) % subjects < held_back
            role = "held out" if subject == fold else "validates" if validates else "trains"
            kind = {"held out": "held", "validates": "validates", "trains": "trains"}[role]
            box = element(
                "rect", x=left + subject * cell, y=y, width=cell - 4, height=cell - 4, rx=4, class_=kind
            )  # fmt: skip
            parts.append(element("g", element("title", f"fold {fold + 1}: subject {subject + 1} {role}"), box))
    x, middle = left + subjects * cell + 14, top + subjects * cell / 2
    parts += [
        path([(x, middle - 2), (x + 22, middle - 2)], "arrow"),
        path([(x + 17, middle - 7), (x + 22, middle - 2), (x + 17, middle + 3)], "arrow"),
    ]
    for place, words in enumerate(("every clip", "predicted once,", "counts summed,", "then UF1")):
        parts.append(text(x + 2, middle + 22 + 14 * place, words, "soft"))
    bottom = top + subjects * cell + 14
    for place, (kind, words) in enumerate((("trains", "trains"), ("validates", "validates"), ("held", "held out"))):
        at = left + place * 92
        parts += [element("rect", x=at, y=bottom - 4, width=12, height=12, rx=3, class_=kind)]
        parts += [text(at + 18, bottom + 6, words)]
    return picture(bottom + 16, "leave one subject out: each fold holds out another subject", *parts)


def plain_count(value: float, signed: bool = False) -> str:
    """A count; means over seeds show one digit."""
    shown = f"{value:.0f}" if abs(value - round(value)) < 1e-9 else f"{value:.1f}"
    return f"+{shown}" if signed and value > 0 else shown


def _places(
    values: Sequence[object], start: float, end: float, span: tuple[float, float, bool] | None
) -> tuple[list[float], Callable[[float], Markup]]:
    """Where each value stands, and what draws the axis below a given height."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > 4:
        log = min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM
        low, high, log = span or (min(numbers), max(numbers), log)
        scale = Scale(low, high, start, end, log=log)
        return [scale(v) for v in numbers], lambda bottom: axis(scale, 24.0, bottom, most=3 if log else 4)
    kinds = sorted({str(v) for v in values}, key=_natural)
    step = (end - start) / len(kinds)
    where = {kind: start + (i + 0.5) * step for i, kind in enumerate(kinds)}
    return [where[str(v)] for v in values], lambda bottom: joined(
        *(text(x, bottom + 14, cut(kind, max(2, int(step / 6))), "tick") for kind, x in where.items())
    )


def _natural(kind: str) -> tuple[int, float, str]:
    try:
        return 0, float(kind), kind
    except ValueError:
        return 1, 0.0, kind
