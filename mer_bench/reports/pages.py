"""Leaderboards from finished runs: one self-contained page, and the same tables for Markdown, LaTeX and the screen.

    results ──► boards (standings) ──► tables, figures ──► .html  .md  .tex  .csv  screen

No number stands without the rule that selected it and the chance level of its own predictions; rules that saw the test
labels are marked leaky. Two builds from the same results are equal byte by byte but for one stamp.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from mer_bench.records import provenance
from mer_bench.records.scores import Result
from mer_bench.reports import figures, portraits, prose, svg, tables
from mer_bench.reports.reading import LEAKY, NOTES, RULES
from mer_bench.reports.standings import REFERENCE, Board, Entry, boards

TEMPLATES = Path(__file__).parent / "templates"
Results = Sequence[tuple[str, datetime, Result]]


@dataclass(frozen=True)
class Stamp:
    """When and by what a report was built: the only part of it that two builds do not share."""

    built: str
    version: str
    commit: str

    @classmethod
    def now(cls) -> Stamp:
        """The stamp of a report built now."""
        found = provenance.versions()
        return cls(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), found["mer-bench"], found.get("commit", "")[:12])


def build(
    results: Results,
    folder: Path,
    stem: str = "leaderboard",
    against: str = REFERENCE,
    links: Mapping[str, str] | None = None,
    studies: Sequence[Mapping[str, str]] = (),
) -> list[Path]:
    """Write `leaderboard.html` (one self-contained file), `.md`, `.tex` and `.csv`.

    Args:
        results: (run id, start, result) in any order.
        folder: made if it does not exist.
        stem: the files' name.
        against: the model that others are compared with.
        links: run id -> address of its study's page.
        studies: name, link and state of every study, finished or not.

    Raises:
        MerBenchError: there are no results.
    """
    found = boards(results, against, links)
    stamp = Stamp.now()
    texts = {
        f"{stem}.md": render("leaderboard.md.j2", boards=found, stamp=stamp),
        f"{stem}.html": render("leaderboard.html.j2", boards=found, stamp=stamp, studies=studies),
        f"{stem}.tex": render("leaderboard.tex.j2", boards=found, stamp=stamp),
        f"{stem}.csv": csv(found),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def csv(found: Sequence[Board]) -> str:
    """Every run and rule, a row each, and what the board says of its headline."""
    parts = []
    for board in found:
        entries = {(e.run, e.rule): e for e in board.entries}
        said = [_said(entries.get((row["run"], row["rule"])), board) for row in board.lines.to_dicts()]
        parts.append(pl.concat([board.lines, pl.DataFrame(said, schema=SAID)], how="horizontal"))
    return pl.concat(parts).write_csv()


SAID: dict[str, Any] = {
    "headline": pl.Boolean,
    "against": pl.String,
    **dict.fromkeys(("difference", "difference_low", "difference_high", "p", "p_holm"), pl.Float64),
    **dict.fromkeys(("rank_low", "rank_high"), pl.Int64),
    "tied_with_first": pl.Boolean,
    "printed": pl.String,
}


def _said(entry: Entry | None, board: Board) -> dict[str, Any]:
    if entry is None:
        return {**dict.fromkeys(SAID), "headline": False}
    gap, ranks = entry.difference, entry.ranks
    claims = [c for c in (entry.result.paper or {}).get("printed", ()) if c["task"] == board.task]
    return {
        **dict.fromkeys(SAID),
        "headline": True,
        "against": f"{board.reference.label} {board.reference.run}" if board.reference and gap else None,
        **({"difference": gap.value, "p": gap.found.p, "p_holm": gap.p} if gap else {}),
        **dict(zip(("difference_low", "difference_high"), gap.ends if gap else (None, None), strict=True)),
        **({"rank_low": ranks.low, "rank_high": ranks.high, "tied_with_first": ranks.tied_with_first} if ranks else {}),
        "printed": "; ".join(f"{c['metric']} {c['value']} ({c['rule']})" for c in claims) or None,
    }


def model_page(run_id: str, started: datetime, result: Result) -> str:
    """One evaluation as a page of its own."""
    return render("model.html.j2", boards=boards([(run_id, started, result)]), stamp=Stamp.now())


def comparison_page(pairs: Sequence[tuple[Entry, Entry]], verdicts: Sequence[str]) -> str:
    """An evaluation against others, each pair with its verdict, as a page of its own."""
    unique = {e.run_id: (e.run_id, e.started, e.result) for pair in pairs for e in pair}
    found = boards(list(unique.values()), pairs[0][1].result.model)
    told = list(zip(pairs, verdicts, strict=True))
    return render("comparison.html.j2", boards=found, pairs=told, stamp=Stamp.now())


def render(template: str, **context: Any) -> str:
    """A template with the project's pictures, tables and words at hand."""
    return str(_environment(template.split(".")[-2]).get_template(template).render(**context))


@functools.cache
def _environment(kind: str) -> Any:
    """Jinja's, for one kind of file; it keeps its templates compiled, because a report may have many pages."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=kind == "html",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(LATEX if kind == "tex" else {}),
    )
    environment.filters |= {"plain": plain, "latex": latex}
    environment.globals |= {
        "tables": tables.tables,
        "figures": figures,
        "loso": portraits.loso,
        "prose": prose,
        "rules": RULES,
        "notes": NOTES,
        "leaky": LEAKY,
        "drawing_css": svg.STYLE.read_text("utf-8"),
    }
    return environment


LATEX: dict[str, Any] = {
    "block_start_string": "<%",
    "block_end_string": "%>",
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}
"""LaTeX is full of braces and percent signs."""


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*|_])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def latex(text: str) -> str:
    """Text that LaTeX shows as it is."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"–": "--", "†": r"$\dagger$", "‡": r"$\ddagger$"}
    special |= {c: "\\" + c for c in "&%$#_{}"} | {"<": "$<$", ">": "$>$", "·": r"$\cdot$", "|": r"$|$"}
    return "".join(special.get(letter, letter) for letter in " ".join(text.split()))
