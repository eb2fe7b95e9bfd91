"""Given how many clips of each class are hit: which UF1 can there be, and with which confusion table?

A table with misses n - tp of each row and false positives fp of each column exists if both sum to the same E and no
class has more than E of the two together. For given hits the least and greatest UF1 are known exactly; between them the
false positives are searched by halves of the classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mer_bench.claims.printed import Table, Window, scores

Counts = tuple[int, ...]

SLACK = 1e-9
"""How much floats may be off; a proposal is always checked in fractions."""


def bounded(sizes: Counts, hits: np.ndarray, wanted: Window) -> np.ndarray:
    """Which hits (M, K) may go with the wanted UF1 at all (M,): a cheap look before `extremes`.

    No class has a greater F1 than without false positives, nor a smaller one than with all that others miss.
    """
    most = 2 * hits / (np.array(sizes) + hits)
    misses = np.array(sizes) - hits
    least = 2 * hits / (np.array(sizes) + hits + misses.sum(1, keepdims=True) - misses)
    size = len(sizes)
    return np.asarray(
        (least.sum(1) <= (float(wanted.high) + SLACK) * size) & (most.sum(1) >= (float(wanted.low) - SLACK) * size)
    )


def extremes(sizes: Counts, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest UF1 (M,) that hits (M, K) can go with.

    Each class's F1 is convex and falling in its false positives. The least sum therefore takes the costliest steps
    first, those above a price that halving finds. The greatest lies at a corner, where one class takes all but its own
    misses and another as many as those.
    """
    misses, both = np.array(sizes) - hits, np.array(sizes) + hits
    wrong = misses.sum(1, keepdims=True)
    room = wrong - misses
    low, high = np.full(wrong.shape, -46.0), np.zeros(wrong.shape)
    for _ in range(60):
        price = np.exp((low + high) / 2)
        fewer = _steps(hits, both, room, price).sum(1, keepdims=True) <= wrong
        low, high = np.where(fewer, low, (low + high) / 2), np.where(fewer, (low + high) / 2, high)
    given = _steps(hits, both, room, np.exp(high))
    left = wrong - given.sum(1, keepdims=True)
    least = (2 * hits / (both + given)).sum(1) - (left * np.exp(high))[:, 0]
    alone, most = 2 * hits / both, np.full(len(hits), -np.inf)
    for a in range(len(sizes)):
        full = 2 * hits[:, a] / (both[:, a] + room[:, a]) - alone[:, a]
        for b in set(range(len(sizes))) - {a}:
            rest = 2 * hits[:, b] / (both[:, b] + misses[:, a]) - alone[:, b]
            most = np.maximum(most, alone.sum(1) + full + rest)
    return least / len(sizes), most / len(sizes)


def _steps(hits: np.ndarray, both: np.ndarray, room: np.ndarray, price: np.ndarray) -> np.ndarray:
    """How many false positives of each class cost more F1 than the price: step k costs 2 tp / ((b + k) (b + k + 1))."""
    most = (np.sqrt(1 + 8 * hits / price) - 1) / 2 - both
    return np.asarray(np.clip(np.ceil(most), 0, room))


def columns(sizes: Counts, hits: Counts, wanted: Window | None) -> Table:
    """A table with these hits and the wanted UF1, or an empty one."""
    misses = [n - h for n, h in zip(sizes, hits, strict=True)]
    wrong = sum(misses)
    half = len(sizes) // 2
    left, right = (_shares(sizes, hits, range(*ends)) for ends in ((0, half), (half, len(sizes))))
    low, high = (0.0, 1.0) if wanted is None else (float(wanted.low), float(wanted.high))
    for total in range(wrong + 1):
        mine, theirs = left.get(total), right.get(wrong - total)
        if mine is None or theirs is None:
            continue
        start = np.searchsorted(theirs[0], low * len(sizes) - mine[0] - SLACK)
        end = np.searchsorted(theirs[0], high * len(sizes) - mine[0] + SLACK, side="right")
        for row in np.flatnonzero(end > start):
            for other in range(start[row], end[row]):
                table = _table(hits, misses, [*mine[1][row].tolist(), *theirs[1][other].tolist()])
                if wanted is None or wanted.holds(scores(table)["uf1"]):
                    return table
    return ()


def _shares(sizes: Counts, hits: Counts, classes: range) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Sum of false positives -> (sum of F1, sorted; the false positives) of these classes."""
    wrong = sum(sizes) - sum(hits)
    given = np.zeros((1, 0), np.int32)
    for k in classes:
        more = np.arange(wrong - (sizes[k] - hits[k]) + 1, dtype=np.int32)
        given = np.column_stack([np.repeat(given, len(more), 0), np.tile(more, len(given))])
        given = given[given.sum(1) <= wrong]
    top = 2 * np.array([hits[k] for k in classes])
    value = (top / (np.array([sizes[k] + hits[k] for k in classes]) + given)).sum(1)
    order = np.lexsort((value, given.sum(1)))
    value, given = value[order], given[order]
    sums, starts = np.unique(given.sum(1), return_index=True)
    ends = [*starts[1:], len(value)]
    return {int(s): (value[a:b], given[a:b]) for s, a, b in zip(sums, starts, ends, strict=True)}


def _table(hits: Sequence[int], misses: Sequence[int], extra: Sequence[int]) -> Table:
    """The confusion table with these hits, misses of each row and false positives of each column.

    One clip at a time, from or to the class with most left, so that no class is left with itself alone.
    """
    rows, columns, size = list(misses), list(extra), len(hits)
    table = [[hits[k] if j == k else 0 for j in range(size)] for k in range(size)]
    while any(rows):
        left = [r + c for r, c in zip(rows, columns, strict=True)]
        most = max(range(size), key=lambda k: left[k])
        others = [k for k in range(size) if k != most]
        if rows[most]:
            row, column = most, max((k for k in others if columns[k]), key=lambda k: left[k])
        else:
            row, column = max((k for k in others if rows[k]), key=lambda k: left[k]), most
        table[row][column] += 1
        rows[row] -= 1
        columns[column] -= 1
    return tuple(map(tuple, table))
