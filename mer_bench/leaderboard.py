"""Leaderboards from finished runs: one table per task, one line per model and selection rule.

    results ──► rows (one per run and rule) ──► sections (one per task and clip list) ──► .md  .html  .csv  screen

No number stands without the rule that selected it, the subjects its model was trained on and the chance level of its
own predictions. Rules that saw the test labels are shown below the others and marked leaky. Two builds from the same
results are equal byte by byte: the only times are the runs' own.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from mer_bench.scores import Result, rows
from mer_bench.selection import GIVEN

if TYPE_CHECKING:
    from rich.console import RenderableType

RULES = {
    "nested": "each fold's trial and epoch by its own validation subjects, then refitted on all its training subjects; "
    "strict: the proposals were drawn before the start and nothing was dropped early, else adaptive",
    "nested-no-refit": "as nested, without the refit",
    "shared": "one trial for all folds by pooled validation UF1, each fold's epoch by its validation subjects, then "
    "refitted; slightly optimistic",
    "shared-no-refit": "as shared, without the refit",
    "inner": "one recipe, each fold's epoch by its validation subjects",
    "last": "one recipe, its last epoch, fixed in advance",
    "given-weights": "UNVERIFIED: no training here, but one file of weights for each held-out subject; what it was "
    "trained on and which epoch was kept is the word of whoever made it",
    "oracle-epoch": "LEAKY: each subject's epoch with the most correct test clips",
    "oracle-global-epoch": "LEAKY: one epoch for all folds by pooled test UF1",
    "oracle-mmnet": "LEAKY: accuracy and F1 each from its own best test epoch of each subject",
    "oracle-trial": "LEAKY: one trial for all folds by pooled test UF1",
}
NOTES = (
    "UF1, UAR: unweighted means over classes, from counts summed over all folds; [ ]: 95 % interval, bootstrapped over "
    "subjects; mean over seeds, with the standard deviation over seeds where there are several.",
    "Chance: the mean UF1 of the same predictions shuffled over all clips. Above chance: the lower end of the interval "
    "lies above it.",
    "Optimism: how much UF1 grows when the choice may see the test labels (oracle-epoch - last of the same run; "
    "oracle-trial - nested-no-refit of the same study).",
    "Trained on: all = every training subject of a fold; without validation = some were kept back to choose by.",
    "Absent: how often a class without clips was counted as F1 = 0 in a bootstrap replicate.",
)
LEAKY = "Leaky: these rules saw the test labels. They show how far such a choice flatters; they are not results."
TRAINED_ON = {"all training subjects": "all", "training subjects without validation subjects": "without validation"}
NEVER_HIDDEN = ("model", "rule", "UF1 [95 %]", "chance", "above chance", "UAR", "accuracy", "seeds", "folds", "run")
ON_SCREEN = ("model", "rule", "UF1 [95 %]", "UAR", "accuracy", "optimism")
IF_THEY_DIFFER = ("folds", "seeds", "trials")


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
    columns: tuple[str, ...]
    honest: list[Line]
    leaky: list[Line]


def number(value: float | None, signed: bool = False) -> str:
    """Three digits without the leading zero: `.703`, `1.000`, signed `+.052`; a dash for None."""
    if value is None:
        return "–"
    digits = f"{abs(value):.3f}".removeprefix("0")
    negative = value < 0 and digits != ".000"
    return ("-" if negative else "+" if signed else "") + digits


def _part(numbers: dict[str, float]) -> str:
    return ", ".join(f"{metric.upper().replace('_', ' ')} {number(value)}" for metric, value in numbers.items())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count(value: int | None) -> str:
    if value is None:
        return "–"
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k" if value >= 1e4 else str(value)


def cells(row: dict[str, Any]) -> dict[str, str]:
    """A row as people read it, column by column."""
    strict = f", {row['strictness']}" if row["strictness"] and row["rule"].startswith("nested") else ""
    corpora = json.loads(row["by_corpus"] or "{}")
    older = f" (+{row['older_runs']} older)" if row["older_runs"] else ""
    said = " (leaky)" if row["leaky"] else " (unverified)" if row["rule"] == GIVEN else ""
    partial = " PARTIAL" if row["folds_done"] < row["folds_total"] else ""
    return {
        "model": row["model"],
        "rule": row["rule"] + strict + said,
        "UF1 [95 %]": f"{number(row['uf1'])} [{number(row['low'])}, {number(row['high'])}]",
        "chance": number(row["chance"]),
        "above chance": "yes" if row["above_chance"] else "no",
        "UAR": number(row["uar"]),
        "accuracy": number(row["accuracy"]),
        "weighted F1": number(row["weighted_f1"]),
        "mean-of-folds F1": number(row["mean_of_folds_f1"]),
        "seed SD": number(row["seed_sd"]),
        "optimism": "–" if row["optimism"] is None else number(row["optimism"], signed=True),
        "by corpus": "; ".join(f"{corpus}: {_part(part)}" for corpus, part in corpora.items()) or "–",
        "absent": str(row["absent"] or "–"),
        "seeds": str(row["seeds"]),
        "folds": f"{row['folds_done']}/{row['folds_total']}{partial}",
        "trials": "–" if row["trials"] is None else str(row["trials"]),
        "trained on": TRAINED_ON.get(row["trained_on"], row["trained_on"]),
        "parameters": _count(row["parameters"]),
        "time": _duration(row["seconds"]),
        "device": row["device"] or "–",
        "setting": row["setting"] or "–",
        "run": row["run"] + older,
    }


def sections(table: pl.DataFrame) -> list[Section]:
    """The rows of `rows`, task by task; columns without any value are left out."""
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
                columns=tuple(c for c in lines[0].cells if c in NEVER_HIDDEN or any(x.cells[c] != "–" for x in lines)),
                honest=[line for line in lines if not line.raw["leaky"]],
                leaky=[line for line in lines if line.raw["leaky"]],
            )
        )
    return found


def build(results: Sequence[tuple[str, datetime, Result]], folder: Path, stem: str = "leaderboard") -> list[Path]:
    """Write `leaderboard.md`, `.html` (one self-contained file) and `.csv` into `folder`, or under another stem.

    Raises:
        MerBenchError: there are no results.
    """
    table = rows(results)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {f"{stem}.{kind}": _render(f"leaderboard.{kind}.j2", sections(table)) for kind in ("md", "html")}
    texts[f"{stem}.csv"] = table.write_csv()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def _render(template: str, found: list[Section]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape="html" in template,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _plain
    return environment.get_template(template).render(sections=found, rules=RULES, notes=NOTES, leaky=LEAKY)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


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
        values = {column: sorted({line.cells[column] for line in lines} - {"–"}) for column in IF_THEY_DIFFER}
        shown = [*ON_SCREEN, *(column for column, found in values.items() if len(found) > 1)]
        common = [f"{column} {found[0]}" for column, found in values.items() if len(found) == 1]
        stars = "* trained without validation subjects. " if any(_star(line) for line in lines) else ""
        same = f"{', '.join(common).capitalize()}. " if common else ""
        caption = Text(f"{section.facts} {same}{stars}{section.banner}".strip())
        table = Table(title=Text(section.title), caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in shown:
            head, rigid = "acc." if column == "accuracy" else column, column in ("UF1 [95 %]", "UAR", "accuracy")
            table.add_column(head, no_wrap=rigid, overflow="fold", min_width=9 if column == "model" else None)
        for line in lines:
            leaky = line.raw["leaky"]
            seen = {**line.cells, "rule": line.cells["rule"].removesuffix(" (leaky)") + _star(line)}
            seen["optimism"] = "leaky" if leaky else seen["optimism"]
            last = not leaky and line is section.honest[-1]
            table.add_row(*(Text(seen[c]) for c in shown), style="yellow dim" if leaky else "", end_section=last)
        tables.append(table)
    return Group(*tables)


def _star(line: Line) -> str:
    return "*" if line.cells["trained on"] == "without validation" else ""
