"""What is kept in MLflow beside a run's scores, so that its pages alone tell a reader everything.

page.html                   the evaluation as a page of the leaderboard
figures/*.svg               its pictures
predictions/<rule>.csv      what the model said about every clip, under each rule
subjects/<rule>.csv         each held-out subject's clips, and how many were right
environment/                the machine, the commit, every installed package
tags                        the headline in words, the commit, the rule, the banner
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from mer_bench.records import grading, provenance, tracking
from mer_bench.records.scores import Result
from mer_bench.reports import figures, pages, prose, svg
from mer_bench.selection import Chosen


def finish(tracker: tracking.Tracker, run_id: str, result: Result, folder: Path, chosen: Mapping[str, Chosen]) -> None:
    """Store a result with all that is kept beside it, and close its run."""
    kept = {
        "page.html": pages.model_page(run_id, tracker.started(run_id), result),
        "environment/environment.json": provenance.environment(),
        "environment/requirements.txt": provenance.requirements(),
        **{f"figures/{f.name}.svg": svg.alone(f.drawn) for f in figures.of_result(result, result.headline)},
        **{f"predictions/{rule}.csv": csv(rows) for rule, rows in chosen.items()},
        **{f"subjects/{rule}.csv": grading.subject_scores(result.rules[rule]).write_csv() for rule in chosen},
    }
    tracker.finish(run_id, result, folder, kept, tags(result))


def csv(chosen: Chosen) -> str:
    """The rows that speak, one a clip and seed: probabilities, the class said, and the truth by their numbers."""
    kept = chosen.rows.with_columns(pl.col(pl.Float16).cast(pl.Float32).round(4)).sort("seed", "clip")
    return kept.write_csv()


def tags(result: Result) -> dict[str, str]:
    """Tags of a finished run; MLflow shows the note as its description."""
    rule = result.headline
    score = result.rules[rule]
    interval = prose.bounds(*score.uf1_interval)
    said = f"**UF1 {prose.number(score.uf1)} {interval}** under `{rule}`, chance {prose.number(result.chance[rule])}"
    others = [
        f"`{r}` {prose.number(s.uf1)}{' (leaky)' if s.leaky else ''}" for r, s in result.rules.items() if r != rule
    ]
    lines = [
        *(f"**{words}**" for words in (result.banner, *result.notes) if words),
        f"{said}; {prose.plural(result.seeds, 'seed')}, {result.folds_done}/{result.folds_total} folds.",
        *([f"Other rules: {', '.join(others)}."] if others else []),
        f"{result.setting_name}. See `page.html`, `figures/`, `predictions/`, `environment/` among the artifacts.",
    ]
    commit = str(result.versions.get("commit", ""))
    found = {
        "mlflow.note.content": "\n\n".join(lines),
        "mlflow.source.git.commit": commit.removesuffix("+changes"),
        "mer_bench.commit": commit,
        "mer_bench.headline": rule,
        "mer_bench.banner": result.banner,
        "mer_bench.strictness": result.strictness,
        "mer_bench.device": result.device,
        "mer_bench.task_version": str(result.task_version),
        "mer_bench.task_sha256": result.task_sha256,
        "mer_bench.version": str(result.versions.get("mer-bench", "")),
    }
    return {name: text for name, text in found.items() if text}
