"""The leaderboard on the screen: one table per task, one line per run and selection rule.

    results ──► rows (one per run and rule) ──► sections (one per task and clip list) ──► terminal

No number stands without the rule that selected it and the subjects its model was trained on. Rules that saw the test
labels are shown below the others and marked leaky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from mer_bench.records.scores import Result, rows
from mer_bench.reports.prose import DASH, TRAINED_ON, bounds, number
from mer_bench.selection import UNVERIFIED

if TYPE_CHECKING:
    from rich.console import RenderableType

ON_SCREEN = ("model", "rule", "UF1 [95 %]", "UAR", "accuracy", "optimism")
IF_THEY_DIFFER = ("seed SD", "folds", "seeds", "trials")


class Line(NamedTuple):
    """One row of `rows` and its cells as people read them."""

    raw: dict[str, Any]
    cells: dict[str, str]


@dataclass(frozen=True)
class Section:
    """What is shown of one task."""

    title: str
    facts: str
    banner: str
    honest: list[Line]
    leaky: list[Line]


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A row as people read it, column by column."""
    strict = f", {row['strictness']}" if row["strictness"] and row["rule"].startswith("nested") else ""
    partial = " PARTIAL" if row["folds_done"] < row["folds_total"] else ""
    return {
        "model": row["model"],
        "rule": row["rule"] + strict + (" (unverified)" if row["rule"] in UNVERIFIED else ""),
        "UF1 [95 %]": f"{number(row['uf1'])} {bounds(row['low'], row['high'])}",
        "seed SD": number(row["seed_sd"]),
        "UAR": number(row["uar"]),
        "accuracy": number(row["accuracy"]),
        "optimism": DASH if row["optimism"] is None else number(row["optimism"], signed=True),
        "seeds": str(row["seeds"]),
        "folds": f"{row['folds_done']}/{row['folds_total']}{partial}",
        "trials": DASH if row["trials"] is None else str(row["trials"]),
        "trained on": TRAINED_ON.get(row["trained_on"], row["trained_on"]),
        "note": f"{row['model']}: {row['notes']}" if row["notes"] else "",
    }


def sections(table: pl.DataFrame) -> list[Section]:
    """The rows of `rows`, task by task."""
    found = []
    for _, part in table.group_by("task", "task_version", "task_sha256", maintain_order=True):
        lines = [Line(row, cells(row)) for row in part.to_dicts()]
        first = lines[0].raw
        low, high = (number(bound(line.raw["chance"] for line in lines)) for bound in (min, max))
        clips = f"clip list {first['task_sha256'][:8]}" if first["task_sha256"] else "clip list not pinned"
        chance = low if low == high else f"{low} to {high}"
        found.append(
            Section(
                title=f"{first['task']}, version {first['task_version']}",
                facts=f"{first['clips']} clips, {first['subjects']} subjects, {clips}; chance {chance}.",
                banner=" ".join(sorted({line.raw["banner"] for line in lines} - {""})),
                honest=[line for line in lines if not line.raw["leaky"]],
                leaky=[line for line in lines if line.raw["leaky"]],
            )
        )
    return found


def screen(results: Sequence[tuple[str, datetime, Result]]) -> RenderableType:
    """The same tables for the terminal, with the columns that matter most.

    Raises:
        MerBenchError: there are no results.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tables = []
    for section in sections(rows(results)):
        lines = section.honest + section.leaky
        values = {column: sorted({line.cells[column] for line in lines} - {DASH}) for column in IF_THEY_DIFFER}
        shown = [*ON_SCREEN, *(column for column, found in values.items() if len(found) > 1)]
        common = [f"{column} {found[0]}" for column, found in values.items() if len(found) == 1]
        stars = "* trained without validation subjects." if any(_star(line) for line in lines) else ""
        same = f"{_capital(', '.join(common))}." if common else ""
        notes = " ".join(dict.fromkeys(line.cells["note"] for line in lines if line.cells["note"]))
        caption = Text(" ".join(filter(None, (section.facts, same, stars, section.banner, notes))))
        table = Table(title=Text(section.title), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in shown:
            head, rigid = "acc." if column == "accuracy" else column, column in ("UF1 [95 %]", "UAR", "accuracy")
            table.add_column(head, no_wrap=rigid, overflow="fold", min_width=9 if column == "model" else None)
        for line in lines:
            leaky = line.raw["leaky"]
            seen = {**line.cells, "rule": line.cells["rule"] + _star(line)}
            seen["optimism"] = "leaky" if leaky else seen["optimism"]
            last = not leaky and line is section.honest[-1]
            table.add_row(*(Text(seen[c]) for c in shown), style="yellow dim" if leaky else "", end_section=last)
        tables.append(table)
    return Group(*tables)


def _capital(words: str) -> str:
    """The first letter large, the others as they are."""
    return words[:1].upper() + words[1:]


def _star(line: Line) -> str:
    return "*" if line.cells["trained on"] == "without validation" else ""
