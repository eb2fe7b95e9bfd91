"""What a finished command answers: a result with everything it is recorded under, and its `--json` form."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from mer_bench import catalog, clips, selection
from mer_bench.answering.ready import Ready
from mer_bench.contracts import PAPER_SCALE, Scale, model_options
from mer_bench.records import evidence, grading, provenance, tracking
from mer_bench.records.logged import plain
from mer_bench.records.scores import Result
from mer_bench.reports import prose
from mer_bench.searching import trials
from mer_bench.searching.space import Space
from mer_bench.searching.studies import Study, diverged
from mer_bench.searching.trials import Ended
from mer_bench.training.cost import Cost


@dataclass(frozen=True)
class Answer:
    """A finished command: its run, its result, the folder of its tables, and the test rows of each rule.

    `reused` says that an identical evaluation was on record; nothing was trained, and `chosen` is empty.
    """

    run_id: str
    result: Result
    tables: Path
    chosen: Mapping[str, selection.Chosen]
    reused: bool = False

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
            "effort": dict(result.effort),
            "hindsight": dict(result.hindsight),
            "parameters": result.parameters,
            "macs": result.macs,
            "latency_ms": result.latency,
            "faces_not_found": result.question["faces_not_found"],
            "folds_done": result.folds_done,
            "folds_total": result.folds_total,
            "notes": list(result.notes),
            "run_id": self.run_id,
            "reused": self.reused,
        }


@dataclass(frozen=True)
class Found:
    """What a command found besides the rows that speak.

    Args:
        cost: of the model.
        curves, trials, choices, costed: see `evidence.Evidence`.
        hindsight: see `scores.Result`.
        lost: folds without rows -> why they diverged.
        notes: what a reader must know about this evaluation.
    """

    cost: Cost
    curves: tuple[evidence.Curve, ...] = ()
    trials: tuple[evidence.Trial, ...] = ()
    choices: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    costed: int | None = None
    hindsight: Mapping[str, Any] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def result(
    kind: str,
    ready: Ready,
    question: Mapping[str, Any],
    chosen: Mapping[str, selection.Chosen],
    found: Found,
    study: Study | None = None,
    ended: Sequence[Ended] = (),
) -> Result:
    """Grade the test rows that each rule lets speak, and put everything beside the numbers.

    Args:
        kind: run or search.
        ready: the settled command.
        question: the resolved question.
        chosen: rule -> its rows.
        found: what is drawn beside the numbers.
        study: of a search.
        ended: its trials.
    """
    facts, table = catalog.task(ready.task), ready.data.clips
    asked = table.filter(pl.col("corpus").is_in(facts.tested)) if facts.tested else table
    judged = asked.filter(~pl.col(facts.fold).is_in(list(found.lost)))
    graded = {rule: grading.grade(rule, rows, judged, facts.classes) for rule, rows in chosen.items()}
    paper = catalog.baseline(ready.space.model).paper
    return Result(
        kind=kind,
        model=shown(ready.space.model),
        setting_name=setting_name(kind, ready.space, ready.scale) + _finalists(ready.seeds, question.get("top")),
        task=ready.task,
        task_version=facts.version,
        task_sha256=clips.sha256(table),
        seeds=ready.seeds,
        clips=len(judged),
        subjects=judged["subject"].n_unique(),
        folds_done=judged[facts.fold].n_unique(),
        folds_total=asked[facts.fold].n_unique(),
        trials=len(ended) if study else None,
        strictness=study.strictness if study else "",
        chance={rule: chance for rule, (_, chance) in graded.items()},
        rules={rule: score for rule, (score, _) in graded.items()},
        parameters=found.cost.parameters,
        seconds=time.perf_counter() - ready.began,
        device=ready.device,
        banner=facts.banner,
        question=dict(question),
        effort=trials.effort(study, ended) if study else {},
        hindsight=found.hindsight,
        versions=provenance.versions(),
        macs=found.cost.macs,
        latency=found.cost.latency,
        paper=asdict(paper) if paper else None,
        evidence=evidence.Evidence(found.curves, found.trials, found.choices, found.costed),
        notes=(*_notes(found, study, ready.seeds, set(chosen)), *found.notes),
    )


def _notes(found: Found, study: Study | None, seeds: int, shown: Collection[str]) -> list[str]:
    """Folds that diverged: without any answer, or in a shown rule's refit, where the fold's choice speaks as it was."""
    said = []
    if found.lost:
        why = next(iter(found.lost.values()))
        said.append(f"PARTIAL: without {prose.listed(sorted(found.lost))}, whose training diverged ({why}).")
    for rule, choices in found.choices.items():
        if study and rule in shown and (lost := diverged(study, rule, choices, seeds)):
            said.append(f"The refit of {rule} diverged in {prose.listed(lost)}: there its choice speaks without refit.")
    return said


def on_record(kind: str, ready: Ready, question: Mapping[str, Any], rules: Sequence[str]) -> Answer | None:
    """An identical evaluation that was recorded before, with all that a comparison needs; the newest, if any.

    Identical: the same question (settings, code, inputs, seeds, formats), task and clips, and the same harness.
    """
    asked = _canonical(question)
    here = (
        kind,
        shown(ready.space.model),
        ready.task,
        catalog.task(ready.task).version,
        clips.sha256(ready.data.clips),
    )
    for run_id, _, result in ready.tracker.results():
        there = (result.kind, result.model, result.task, result.task_version, result.task_sha256)
        whole = all(rule in result.rules and result.rules[rule].by_subject for rule in rules)
        same = result.versions.get("harness") == provenance.harness()
        if here == there and whole and same and _canonical(result.question) == asked:
            kept = {rule: result.rules[rule] for rule in rules}
            chance = {rule: result.chance[rule] for rule in rules}
            return Answer(
                run_id, replace(result, rules=kept, chance=chance), tracking.tables() / run_id, {}, reused=True
            )
    return None


def _canonical(question: Mapping[str, Any]) -> str:
    return json.dumps(question, sort_keys=True, default=plain)


def _finalists(seeds: int, top: int | None) -> str:
    return f"; {prose.plural(top, 'finalist')} trained with {seeds} seeds" if top else ""


def setting_name(kind: str, space: Space, scale: Scale) -> str:
    """What was trained, in words."""
    baseline, preset = catalog.baseline(space.model), catalog.split(space.model)[1]
    scaled = scale != PAPER_SCALE and "image_size" in model_options(baseline)
    where = " at the task's scale" if scaled else ""
    pinned = ", ".join(f"{name}={value}" for name, value in sorted(space.pinned.items()))
    changed = f" with {pinned}" if pinned else ""
    recipe = "published recipe" if baseline.paper and not preset else f"preset {preset}" if preset else "own recipe"
    if kind == "search":
        return f"searched{where}{changed}; trial 0 is the {recipe}"
    return f"{recipe}{where}{changed}"


def shown(model: str) -> str:
    """A model's name for people: a user's file by its file name, `.py` and all, so that it borrows no other's."""
    path, preset = catalog.split(model)
    return Path(path).name + (f":{preset}" if preset else "") if path.endswith(".py") else model
