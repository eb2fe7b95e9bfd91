"""Tables before they are HTML, Markdown or LaTeX: columns, cells, and rows made from a board's entries.

A cell has what people read and, where that is no number, what it is sorted by. Columns without any value are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mer_bench.reports.prose import DASH, number
from mer_bench.reports.standings import Entry


class Column(NamedTuple):
    """A column's key (it names the sort), its head, and whether it holds numbers; leaky ones are marked."""

    key: str
    title: str
    numeric: bool = True
    leaky: bool = False


class Cell(NamedTuple):
    """What is read, what it is sorted by (None: last), and where it leads."""

    text: str
    sort: float | str | None = None
    link: str = ""


@dataclass(frozen=True)
class Table:
    """One table; `kind` names it on the page."""

    kind: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


Maker = Callable[[Entry], Cell]
MODEL: tuple[Column, Maker] = (
    Column("model", "model", False),
    lambda e: Cell(e.label, e.label, f"#run-{e.run}"),
)


def table(kind: str, caption: str, columns: Sequence[tuple[Column, Maker]], entries: Sequence[Entry]) -> Table:
    """A row an entry; a column none of whose cells says anything is left out."""
    rows = [[make(entry) for _, make in columns] for entry in entries]
    kept = [i for i, (c, _) in enumerate(columns) if c.key == "model" or any(row[i].text != DASH for row in rows)]
    return Table(kind, caption, tuple(columns[i][0] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows))


def digits(value: float | None) -> Cell:
    """A score; a dash for None."""
    return Cell(number(value), value)


def whole(value: int | None) -> Cell:
    """A whole number; a dash for None."""
    return Cell(DASH if value is None else str(value), value)


def word(text: str) -> Cell:
    """A word; a dash for none."""
    return Cell(text or DASH, text or None)
