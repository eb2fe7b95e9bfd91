"""Can a printed (UF1, UAR, accuracy) be true? An exact search over whole clips.

    class sizes n (K)  ──►  hits tp (M, K) with the printed UAR and accuracy  ──►  columns fp (K): the printed UF1

UAR and accuracy depend on the hits alone, UF1 also on the false positives (`feasible`). Floats only propose, with a
slack; whoever is accepted is checked in fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from math import prod

import numpy as np

from mer_bench.claims.feasible import SLACK, Counts, bounded, columns, extremes
from mer_bench.claims.printed import Table, Window, scores, truncated
from mer_bench.contracts import UsageError

MOST = 30_000_000
"""More combinations of hits than this are not all tried: `SAMPLE` of them are, and then only a find is an answer."""
SAMPLE = 3_000_000
CHUNK = 100_000
GUESSES = 500
STEP = 1e-5
"""The nearest attainable value is found to within this."""
METRICS = ("uf1", "uar", "accuracy")


@dataclass(frozen=True)
class Finding:
    """What the search says.

    Args:
        attainable: True with an example, False if no table has these numbers, None if there are too many to search.
        example: a confusion table with these numbers, rows the truth.
        nearest: metric -> the nearest value it can have while the others are as printed; where attainable is False.
        cut_off: the numbers can be true if digits were cut off instead of rounded.
    """

    attainable: bool | None
    example: Table = ()
    nearest: Mapping[str, float] = field(default_factory=dict)
    cut_off: bool = False


def attain(classes: Sequence[int], printed: Mapping[str, Window]) -> Finding:
    """Whether a confusion table of these class sizes has all printed numbers.

    Args:
        classes: clips of each class.
        printed: uf1, uar, accuracy -> what is printed; one at least.

    Raises:
        UsageError: fewer than two classes, an empty one, or an unknown metric.
    """
    sizes = tuple(classes)
    if len(sizes) < 2 or min(sizes) < 1:
        raise UsageError(f"class sizes {sizes} should be two or more numbers above 0")
    if not printed or set(printed) - set(METRICS):
        raise UsageError(f"one or more of {', '.join(METRICS)} can be audited, not {', '.join(printed) or 'nothing'}")
    example = _search(sizes, printed)
    if example:
        return Finding(True, example)
    if _combinations(sizes, printed) > MOST:
        return Finding(None)
    cut = bool(_search(sizes, {name: truncated(one) for name, one in printed.items()}))
    return Finding(False, nearest={name: _nearest(sizes, printed, name) for name in printed}, cut_off=cut)


def _combinations(sizes: Counts, printed: Mapping[str, Window]) -> int:
    """How many combinations of hits would be tried: those of all classes but the largest where two determine it."""
    free = prod(n + 1 for n in sizes)
    return free // (max(sizes) + 1) if {"uar", "accuracy"} & set(printed) else free


def _search(sizes: Counts, printed: Mapping[str, Window]) -> Table:
    """A table with these numbers, or an empty one if there is none."""
    for hits in chain(_guessed(sizes, printed), _hits(sizes, printed)):
        if "uf1" not in printed:
            chosen = np.arange(len(hits))
        else:
            wanted = printed["uf1"]
            hits = hits[bounded(sizes, hits, wanted)]
            low, high = extremes(sizes, hits)
            inside = (low <= float(wanted.high) + SLACK) & (high >= float(wanted.low) - SLACK)
            depth = np.minimum(high - float(wanted.low), float(wanted.high) - low)
            chosen = np.flatnonzero(inside)[np.argsort(-depth[inside])]
        for row in chosen:
            table = columns(sizes, tuple(hits[row].tolist()), printed.get("uf1"))
            told = scores(table) if table else {}
            if told and all(one.holds(told[name]) for name, one in printed.items()):
                return table
    return ()


def _guessed(sizes: Counts, printed: Mapping[str, Window]) -> Iterator[np.ndarray]:
    """Hits (M, K) about as many as a UF1 alone suggests: most such numbers are true of some, so not all are tried.

    With a UAR or an accuracy beside it, or of small classes, `_hits` tries few.
    """
    if set(printed) == {"uf1"} and _combinations(sizes, printed) > GUESSES:
        share = float(printed["uf1"].low + printed["uf1"].high) / 2
        yield np.unique(np.random.default_rng(0).binomial(sizes, min(share, 1.0), (GUESSES, len(sizes))), axis=0)


def _hits(sizes: Counts, printed: Mapping[str, Window]) -> Iterator[np.ndarray]:
    """Hits (M, K) with the printed UAR and accuracy, a chunk at a time; the largest class is solved for."""
    last = int(np.argmax(sizes))
    others = [k for k in range(len(sizes)) if k != last]
    scales = {"uar": 1 / np.array(sizes), "accuracy": np.ones(len(sizes))}
    sampled = _combinations(sizes, printed) > MOST
    if not set(scales) & set(printed):
        yield from _tried(tuple(n + 1 for n in sizes), sampled)
        return
    for known in _tried(tuple(sizes[k] + 1 for k in others), sampled):
        low, high = np.zeros(len(known)), np.full(len(known), float(sizes[last]))
        for name, worth in scales.items():
            if name in printed:
                whole = len(sizes) if name == "uar" else sum(sizes)
                rest = known @ worth[others]
                low = np.maximum(low, (float(printed[name].low) * whole - rest) / worth[last] - SLACK * whole)
                high = np.minimum(high, (float(printed[name].high) * whole - rest) / worth[last] + SLACK * whole)
        first = np.ceil(low).astype(np.int64)
        count = np.maximum(np.floor(high).astype(np.int64) - first + 1, 0)
        rows = np.repeat(np.arange(len(known)), count)
        step = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        found = np.insert(known[rows], last, first[rows] + step, axis=1)
        yield from (found[start : start + CHUNK] for start in range(0, len(found), CHUNK))


def _tried(shape: Counts, sampled: bool) -> Iterator[np.ndarray]:
    """Combinations of whole numbers below `shape`, (M, len(shape)): all of them, or a fixed random sample."""
    if sampled:
        rng = np.random.default_rng(0)
        for _ in range(0, SAMPLE, CHUNK):
            yield rng.integers(0, shape, (CHUNK, len(shape)))
        return
    total = prod(shape)
    for start in range(0, total, CHUNK):
        index = np.unravel_index(np.arange(start, min(start + CHUNK, total)), shape)
        yield np.stack(index, 1).astype(np.int64)


def _nearest(sizes: Counts, printed: Mapping[str, Window], name: str) -> float:
    """The value nearest to a printed one that some table with the other printed numbers has; NaN if there is none.

    A ring around the printed value grows until something lies in it, then halves; no ring is searched twice.
    """
    value, ruled_out = printed[name].value, printed[name].high - printed[name].value
    reach, best = Fraction(1, 1000), None
    while best is None and ruled_out < 1:
        best = _in_ring(sizes, printed, name, ruled_out, reach)
        ruled_out, reach = (reach, 2 * reach) if best is None else (ruled_out, abs(best - value))
    while best is not None and reach - ruled_out > STEP:
        middle = (ruled_out + reach) / 2
        nearer = _in_ring(sizes, printed, name, ruled_out, middle)
        if nearer is None:
            ruled_out = middle
        else:
            best, reach = nearer, abs(nearer - value)
    return float("nan") if best is None else float(best)


def _in_ring(
    sizes: Counts, printed: Mapping[str, Window], name: str, inner: Fraction, outer: Fraction
) -> Fraction | None:
    """The metric of a table that has the other numbers, this one between so near and so far from as printed."""
    value, found = printed[name].value, []
    for low, high in ((value - outer, value - inner), (value + inner, value + outer)):
        near = Window("", value, max(low, Fraction(0)), min(high, Fraction(1)))
        table = _search(sizes, {**printed, name: near}) if near.low <= near.high else ()
        found += [scores(table)[name]] if table else []
    return min(found, key=lambda one: abs(one - value), default=None)
