"""Grade predictions made elsewhere (`submissions`) as if they had been made here, and record them as what they are.

Nobody here saw how their epochs and settings were chosen, so their rule is `self-reported` and stands for no rule.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mer_bench import catalog, clips, metrics
from mer_bench.answering import attachments
from mer_bench.contracts import UsageError
from mer_bench.pixels import inputs
from mer_bench.records import grading, submissions, tracking
from mer_bench.records.scores import Result, RuleScore
from mer_bench.selection import SELF_REPORTED, Chosen

RULE = SELF_REPORTED
KIND = "score"
SETTING = "self-reported predictions"
TRAINED_ON = "not known"


@dataclass(frozen=True)
class Scored:
    """Graded predictions: what a `Result` says of them, what to know about them, and their run if they were recorded.

    `clips` is how many the task has; `result.clips` how many were scored.
    """

    result: Result
    clips: int
    notes: tuple[str, ...]
    run_id: str = ""

    @property
    def score(self) -> RuleScore:
        """The numbers."""
        return self.result.rules[RULE]

    @property
    def confusion(self) -> np.ndarray:
        """Pooled counts, (K, K), rows the truth, summed over seeds."""
        found: np.ndarray = grading.counts_of(self.score)[0].sum((0, 1))
        return found

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        score, result = self.score, self.result
        return {
            "task": result.task,
            "name": result.model,
            "rule": RULE,
            "clips": result.clips,
            "clips_of_the_task": self.clips,
            "subjects": result.subjects,
            "seeds": result.seeds,
            "pooled_uf1": score.uf1,
            "uf1_interval": list(score.uf1_interval),
            "uar": score.uar,
            "accuracy": score.accuracy,
            "weighted_f1": score.weighted_f1,
            "mean_of_folds_f1": score.mean_of_folds_f1,
            "uf1_sd": score.uf1_sd,
            "chance": result.chance[RULE],
            "per_corpus": {name: dict(part) for name, part in score.per_corpus.items()},
            "per_class": {name: dict(part) for name, part in score.per_class.items()},
            "confusion": self.confusion.tolist(),
            "notes": list(self.notes),
            "run_id": self.run_id,
        }

    def words(self) -> str:
        """Lines for people."""
        score, result = self.score, self.result
        low, high = score.uf1_interval
        sd = f", SD over {result.seeds} seeds {_four(score.uf1_sd)}" if score.uf1_sd is not None else ""
        lines = [
            f"{result.task}: {result.clips} of {self.clips} clips, {result.subjects} subjects, rule {RULE}",
            f"pooled UF1        {_four(score.uf1)} [{_four(low)}, {_four(high)}] over subjects{sd}; "
            f"chance {_four(result.chance[RULE])}",
            f"pooled UAR        {_four(score.uar)}",
            f"pooled accuracy   {_four(score.accuracy)}",
            f"weighted F1       {_four(score.weighted_f1)}",
            f"mean-of-folds F1  {_four(score.mean_of_folds_f1)}   (an absent class counts as 0 in a fold)",
        ]
        for corpus, part in score.per_corpus.items():
            lines.append(
                f"  {corpus}: "
                + ", ".join(f"{k.upper() if k != 'accuracy' else k} {_four(v)}" for k, v in part.items())
            )
        for name, row in score.per_class.items():
            lines.append(
                f"  {name}: F1 {_four(row['f1'])} [{_four(row['low'])}, {_four(row['high'])}], recall "
                f"{_four(row['recall'])}, precision {_four(row['precision'])}, {row['clips']:.0f} clips"
            )
        return "\n".join([*lines, *self.notes])


def score(file: str | Path, task: str, *, partial: bool = False, add: str = "") -> Scored:
    """Grade a file of predictions.

    Args:
        file: see `submissions`.
        task: a task's name; its corpora must be on this machine, because labels come from there.
        partial: score the clips that are there.
        add: record them under this name, for the leaderboard.

    Raises:
        UsageError: an unknown task or kind of file, or the name of a method of the catalogue.
        MerBenchError: the file's clips are missing, doubled, unknown or labelled otherwise; a class has no clip.
    """
    path, facts = Path(file), catalog.task(task)
    if catalog.split(add)[0].strip().casefold() in catalog.names("baseline"):
        raise UsageError(
            f"--add {add}: that is a method of the catalogue; choose another name for predictions made elsewhere"
        )
    table = inputs.clips_of(task)
    rows = submissions.read(path, table, facts.classes, partial=partial)
    there = table.filter(pl.col("clip").is_in(rows["clip"].unique().implode()))
    graded, chance = grading.grade(RULE, Chosen(rows, rows), there, facts.classes)
    graded = replace(graded, mean_of_folds_f1=_mean_of_folds(rows, len(facts.classes)), trained_on=TRAINED_ON)
    notes = _notes(rows, there, table)
    question = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "partial": partial}
    result = Result(
        kind=KIND,
        model=add or path.name,
        setting_name=SETTING,
        task=task,
        task_version=facts.version,
        task_sha256=clips.sha256(table),
        seeds=rows["seed"].n_unique(),
        clips=len(there),
        subjects=there["subject"].n_unique(),
        folds_done=_whole(there, table),
        folds_total=table["subject"].n_unique(),
        trials=None,
        strictness="",
        chance={RULE: chance},
        rules={RULE: graded},
        parameters=None,
        seconds=0.0,
        device="",
        banner=facts.banner,
        question=question,
        versions={"mer-bench": importlib.metadata.version("mer-bench")},
        notes=notes,
    )
    return Scored(result, len(table), notes, _record(result, Chosen(rows, rows)) if add else "")


def _mean_of_folds(rows: pl.DataFrame, classes: int) -> float:
    """Mean over seeds and the file's folds of each fold's own UF1."""
    found = []
    for seed in rows.partition_by("seed"):
        parts = [
            metrics.confusion(fold["label"].to_numpy(), fold["prediction"].to_numpy(), classes)
            for fold in seed.partition_by("fold")
        ]
        found.append(float(metrics.mean_of_folds(np.stack(parts), metrics.uf1)))
    return float(np.mean(found))


def _notes(rows: pl.DataFrame, there: pl.DataFrame, table: pl.DataFrame) -> tuple[str, ...]:
    """What a reader must know about the file."""
    found = []
    if len(there) < len(table):
        found.append(f"PARTIAL: {len(there)} of {len(table)} clips were predicted.")
    of_subject = rows.group_by("subject", "seed").agg(pl.col("fold").n_unique())
    split = of_subject.filter(pl.col("fold") > 1)["subject"].n_unique()
    if split:
        found.append(f"NOT BY SUBJECT: {split} subjects lie in several folds, so their models may have seen them.")
    elif rows["fold"].n_unique() < rows["subject"].n_unique():
        found.append(f"{rows['fold'].n_unique()} folds of several subjects, not one subject at a time.")
    return tuple(found)


def _whole(there: pl.DataFrame, table: pl.DataFrame) -> int:
    """Subjects all of whose clips were predicted."""
    sizes = table.group_by("subject").len().join(there.group_by("subject").len(), on="subject", suffix="_there")
    return int((sizes["len"] == sizes["len_there"]).sum())


def _record(result: Result, chosen: Chosen) -> str:
    tracker = tracking.open()
    with tracker.run(f"{result.model} on {result.task}", KIND, result.model, result.task, result.question) as run_id:
        folder = tracking.tables() / run_id
        folder.mkdir(parents=True)
        chosen.rows.write_parquet(folder / "predictions.parquet")
        attachments.finish(tracker, run_id, result, folder, {RULE: chosen})
    return run_id


def _four(value: float | None) -> str:
    """Four digits, as the field prints them."""
    return "–" if value is None else f"{value:.4f}".removeprefix("0")
