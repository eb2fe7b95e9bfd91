"""What a finished command answers: a result with everything it is recorded under, and its `--json` form."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mer_bench import catalog, clips, grading, selection
from mer_bench.contracts import PAPER_SCALE, Scale, Setting, model_options
from mer_bench.scores import Result


@dataclass(frozen=True)
class Answer:
    """A finished command: the run it is recorded under, its result, and the folder of its tables."""

    run_id: str
    result: Result
    tables: Path

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        result = self.result
        headline = next(iter(result.rules))
        rules = {
            rule: {
                "uf1": score.uf1,
                "uar": score.uar,
                "accuracy": score.accuracy,
                "uf1_interval": list(score.uf1_interval),
                "per_corpus": {k: dict(v) for k, v in score.per_corpus.items()},
                "chance": result.chance[rule],
                "weighted_f1": score.weighted_f1,
                "mean_of_folds_f1": score.mean_of_folds_f1,
                "uf1_sd": score.uf1_sd,
                "trained_on": score.trained_on,
                "leaky": score.leaky,
            }
            for rule, score in result.rules.items()
        }
        return {
            "task": result.task,
            "model": result.model,
            "seeds": result.seeds,
            "clips": result.clips,
            "subjects": result.subjects,
            "chance": result.chance[headline],
            "rules": rules,
            "trials": result.trials,
            "strictness": result.strictness,
            "run_id": self.run_id,
        }


def result(
    kind: str,
    model: str,
    task: str,
    scale: str,
    question: Mapping[str, Any],
    chosen: Mapping[str, selection.Chosen],
    table: pl.DataFrame,
    seeds: int,
    seconds: float,
) -> Result:
    """Grade the test rows that each rule lets speak, and put everything beside the numbers.

    Args:
        kind: run or search.
        model: as the command was given it.
        task: the task's name.
        scale: task or paper.
        question: the resolved question.
        chosen: rule -> its rows.
        table: the task's clips.
        seeds: repetitions.
        seconds: what it took.
    """
    facts = catalog.task(task)
    graded = {rule: grading.grade(rule, rows, table, facts.classes) for rule, rows in chosen.items()}
    published = question.get("published") or question["setting"]
    subjects = table["subject"].n_unique()
    return Result(
        kind=kind,
        model=shown(model),
        setting_name=_setting_name(kind, model, question, facts.scale, scale),
        task=task,
        task_version=facts.version,
        task_sha256=clips.sha256(table),
        seeds=seeds,
        clips=len(table),
        subjects=subjects,
        folds_done=subjects,
        folds_total=subjects,
        trials=None,
        strictness="",
        chance={rule: chance for rule, (_, chance) in graded.items()},
        rules={rule: score for rule, (score, _) in graded.items()},
        parameters=parameters(Setting.from_dict(published), len(facts.classes)),
        seconds=seconds,
        device=str(question["device"]),
        banner=facts.banner,
        question=dict(question),
        versions={name: importlib.metadata.version(name) for name in ("mer-bench", "torch", "numpy", "scikit-learn")},
    )


def _setting_name(kind: str, model: str, question: Mapping[str, Any], task_scale: Scale, scale: str) -> str:
    """What was trained, in words."""
    scaled = scale == "task" and task_scale != PAPER_SCALE and "image_size" in model_options(catalog.baseline(model))
    where = " at the task's scale" if scaled else ""
    pinned = ", ".join(f"{k}={v}" for k, v in sorted(question["pinned"].items()))
    changed = f" with {pinned}" if pinned else ""
    plain = not pinned and not catalog.split(model)[1] and not model.endswith(".py")
    if kind == "search":
        first = "; trial 0 is the published structure and recipe" if plain else ""
        return f"searched{where}{changed}{first}"
    return f"{'published' if plain else 'own'} recipe{where}{changed}"


def parameters(setting: Setting, classes: int) -> int | None:
    """Trainable parameters, counted without allocating them; None for models that are not networks."""
    if setting.recipe is None:
        return None
    import torch

    with torch.device("meta"):
        model = catalog.baseline(setting.model).model(num_classes=classes, **setting.options)
    return int(sum(p.numel() for p in model.parameters()))


def shown(model: str) -> str:
    """A model's name for people: a user's file by its file name, `.py` and all, so that it borrows no other's."""
    path, preset = catalog.split(model)
    return Path(path).name + (f":{preset}" if preset else "") if path.endswith(".py") else model
