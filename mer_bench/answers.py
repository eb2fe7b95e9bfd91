"""What a finished command answers: a result with everything it is recorded under, and its `--json` form."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import catalog, clips, grading, selection
from mer_bench.contracts import PAPER_SCALE, model_options
from mer_bench.ready import Ready
from mer_bench.scores import Result


@dataclass(frozen=True)
class Answer:
    """A finished command: its run, its result, the folder of its tables, and the test rows of each rule."""

    run_id: str
    result: Result
    tables: Path
    chosen: Mapping[str, selection.Chosen]

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
                "intervals": {metric: list(ends) for metric, ends in score.intervals.items()},
                "interval_method": score.interval_method,
                "per_class": {k: dict(v) for k, v in score.per_class.items()},
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
            "faces_not_found": result.question["faces_not_found"],
            "run_id": self.run_id,
        }


def result(
    kind: str,
    ready: Ready,
    question: Mapping[str, Any],
    chosen: Mapping[str, selection.Chosen],
    trials: int | None = None,
    strictness: str = "",
) -> Result:
    """Grade the test rows that each rule lets speak, and put everything beside the numbers.

    Args:
        kind: run or search.
        ready: the settled command.
        question: the resolved question.
        chosen: rule -> its rows.
        trials: of a study: those that finished a fold at least.
        strictness: of a study.
    """
    facts, table = catalog.task(ready.task), ready.data.clips
    graded = {rule: grading.grade(rule, rows, table, facts.classes) for rule, rows in chosen.items()}
    subjects = table["subject"].n_unique()
    return Result(
        kind=kind,
        model=shown(ready.space.model),
        setting_name=_setting_name(kind, ready),
        task=ready.task,
        task_version=facts.version,
        task_sha256=clips.sha256(table),
        seeds=ready.seeds,
        clips=len(table),
        subjects=subjects,
        folds_done=subjects,
        folds_total=subjects,
        trials=trials,
        strictness=strictness,
        chance={rule: chance for rule, (_, chance) in graded.items()},
        rules={rule: score for rule, (score, _) in graded.items()},
        parameters=ready.parameters,
        seconds=time.perf_counter() - ready.began,
        device=ready.device,
        banner=facts.banner,
        question=dict(question),
        versions={name: importlib.metadata.version(name) for name in ("mer-bench", "torch", "numpy", "scikit-learn")},
    )


def _setting_name(kind: str, ready: Ready) -> str:
    """What was trained, in words."""
    baseline, preset = catalog.baseline(ready.space.model), catalog.split(ready.space.model)[1]
    scaled = ready.scale != PAPER_SCALE and "image_size" in model_options(baseline)
    where = " at the task's scale" if scaled else ""
    pinned = ", ".join(f"{name}={value}" for name, value in sorted(ready.space.pinned.items()))
    changed = f" with {pinned}" if pinned else ""
    recipe = "published recipe" if baseline.paper and not preset else f"preset {preset}" if preset else "own recipe"
    if kind == "search":
        return f"searched{where}{changed}; trial 0 is the {recipe}"
    return f"{recipe}{where}{changed}"


def shown(model: str) -> str:
    """A model's name for people: a user's file by its file name, `.py` and all, so that it borrows no other's."""
    path, preset = catalog.split(model)
    return Path(path).name + (f":{preset}" if preset else "") if path.endswith(".py") else model
