"""TABLE 3: what we conclude, one row per number.

A finished evaluation is a `Result`: one recipe (`run`) or one study (`search`), scored under every selection rule.
`table` lays one out, a row per number; `rows` lays out many, a row per run and rule, for the leaderboard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from mer_bench.contracts import MerBenchError
from mer_bench.records.evidence import Evidence
from mer_bench.selection import RUN_RULES, STUDY_RULES, UNVERIFIED

SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "setting": pl.String,
    "task": pl.String,
    "task_version": pl.Int64,
    "task_sha256": pl.String,
    "rule": pl.String,
    "leaky": pl.Boolean,
    "trained_on": pl.String,
    "corpus": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "chance": pl.Float64,
}
_COLUMNS = """task task_version task_sha256 model kind setting rule leaky trained_on uf1 low high chance above_chance
uar uar_low uar_high accuracy accuracy_low accuracy_high weighted_f1 mean_of_folds_f1 seed_sd optimism by_corpus absent
seeds clips subjects folds_done folds_total trials strictness parameters macs latency seconds device run started
question older_runs banner notes"""
_TEXT = (
    "task task_sha256 model kind setting rule trained_on by_corpus strictness device run started question banner notes"
)
_WHOLE = "task_version absent seeds clips subjects folds_done folds_total trials parameters macs older_runs"
ROWS: dict[str, Any] = {
    **dict.fromkeys(_COLUMNS.split(), pl.Float64),
    **dict.fromkeys(_TEXT.split(), pl.String),
    **dict.fromkeys(_WHOLE.split(), pl.Int64),
    **dict.fromkeys(("leaky", "above_chance"), pl.Boolean),
}
_SAME = """task task_version task_sha256 model kind setting rule trained_on parameters seeds folds_done folds_total
trials strictness question"""
OPTIMISM = {"last": "oracle-epoch", "nested-no-refit": "oracle-trial"}
METRICS = ("uf1", "uar", "accuracy", "weighted_f1", "mean_of_folds_f1", "uf1_sd")


@dataclass(frozen=True)
class RuleScore:
    """The numbers of one selection rule.

    Args:
        uf1: unweighted mean F1 over classes, from counts summed over all folds; mean over seeds.
        uar: unweighted mean recall, likewise.
        accuracy: share of clips, likewise.
        uf1_interval: 95 % interval of `uf1` over subjects.
        weighted_f1: F1 weighted by class size.
        mean_of_folds_f1: mean over folds of the fold's own UF1 (absent class = 0), as some papers print.
        uf1_sd: standard deviation over seeds; None for one seed.
        per_corpus: corpus -> metric -> value, for composites.
        absent: bootstrap replicates in which an absent class was counted as F1 = 0 (never the headline).
        trained_on: which of a fold's training subjects the scored models saw.
        leaky: the rule has seen the test subjects' labels.
        seeds: repetitions that this rule's numbers rest on.
        interval_method: how the intervals were made, of `intervals.METHODS`.
        intervals: uar, accuracy -> 95 % interval over subjects.
        per_class: class -> f1, low, high (its 95 % interval), recall, precision, clips.
        by_subject: subject -> confusion counts, (seeds, K, K) lists; `grading.counts_of` reads them.
    """

    uf1: float
    uar: float
    accuracy: float
    uf1_interval: tuple[float, float]
    weighted_f1: float
    mean_of_folds_f1: float
    uf1_sd: float | None = None
    per_corpus: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    absent: int = 0
    trained_on: str = "all training subjects"
    leaky: bool = False
    seeds: int = 1
    interval_method: str = "percentile"
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_subject: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def ends(self, metric: str) -> tuple[float, float] | tuple[None, None]:
        """The 95 % interval of uf1, uar or accuracy over subjects; two None where none is on record."""
        return self.uf1_interval if metric == "uf1" else self.intervals.get(metric, (None, None))


@dataclass(frozen=True)
class Result:
    """A finished evaluation: a `run` of one recipe, or a `search` study.

    `chance` and `rules` have the same keys, the rules' names; rules whose name starts with `oracle` are leaky.
    `strictness` is `strict` or `adaptive` for a study, else empty; `question` is the
    resolved question and `versions` what it ran on, JSON types only. `effort` is what a study took: trials by how they
    ended, fold-epochs trained and those that the same trials would take without racing; `hindsight` is the
    bias-corrected UF1 of `shared-no-refit` and what fewer trials would have given (trials, nested, shared). `macs`
    (multiply-accumulates) and `latency` (milliseconds) are of one clip; `paper` is where the method comes from, as it
    stood; `evidence` is what is drawn besides each rule's counts. Results recorded before these existed have None.
    `notes` is what a reader must know about this evaluation: folds that diverged, clips without a prediction.

    Raises:
        MerBenchError: a rule's flag or chance contradicts its name.
    """

    kind: str
    model: str
    setting_name: str
    task: str
    task_version: int
    task_sha256: str
    seeds: int
    clips: int
    subjects: int
    folds_done: int
    folds_total: int
    trials: int | None
    strictness: str
    chance: Mapping[str, float]
    rules: Mapping[str, RuleScore]
    parameters: int | None
    seconds: float
    device: str
    banner: str
    question: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    effort: Mapping[str, int] = field(default_factory=dict)
    hindsight: Mapping[str, Any] = field(default_factory=dict)
    macs: int | None = None
    latency: float | None = None
    paper: Mapping[str, Any] | None = None
    evidence: Evidence | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for rule, score in self.rules.items():
            if score.leaky != rule.startswith("oracle"):
                raise MerBenchError(f"rule {rule!r} of {self.model}: leaky={score.leaky} contradicts its name")
            if rule not in self.chance:
                raise MerBenchError(f"rule {rule!r} of {self.model} has no chance level beside it")

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Inverse of `as_dict`, also after JSON turned tuples into lists; an unknown key is a `TypeError`."""
        rules = {
            name: _rule_score(score) for name, score in sorted(data["rules"].items(), key=lambda item: place(item[0]))
        }
        evidence = Evidence.from_dict(data["evidence"]) if data.get("evidence") else None
        return cls(**{**data, "rules": rules, "evidence": evidence, "notes": tuple(data.get("notes", ()))})

    @property
    def headline(self) -> str:
        """The rule whose number speaks for this evaluation: the first honest one in the project's order."""
        return min(self.rules, key=lambda rule: (self.rules[rule].leaky, place(rule)))


def _rule_score(data: Mapping[str, Any]) -> RuleScore:
    others = {name: tuple(ends) for name, ends in data.get("intervals", {}).items()}
    return RuleScore(**{**data, "uf1_interval": tuple(data["uf1_interval"]), "intervals": others})


def place(rule: str) -> tuple[int, str]:
    """The project's order of rules, the headlines first; others after them."""
    known = (*STUDY_RULES, *RUN_RULES)
    return known.index(rule) if rule in known else len(known), rule


def table(result: Result) -> pl.DataFrame:
    """TABLE 3 of a result: one row per rule, corpus (empty: all clips) and metric that has a value."""
    head = (result.model, result.setting_name, result.task, result.task_version, result.task_sha256)
    rows: list[tuple[Any, ...]] = []
    for rule, score in result.rules.items():
        numbers = [("", metric, value) for metric in METRICS if (value := getattr(score, metric)) is not None]
        for corpus, part in score.per_corpus.items():
            numbers += [(corpus, metric, value) for metric, value in part.items()]
        for corpus, metric, value in numbers:
            ends = (None, None) if corpus else score.ends(metric)
            chance = result.chance[rule] if (corpus, metric) == ("", "uf1") else None
            rows.append((*head, rule, score.leaky, score.trained_on, corpus, metric, value, *ends, chance))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def rows(results: Sequence[tuple[str, datetime, Result]]) -> pl.DataFrame:
    """One row per run and rule, best honest first within a task; of equal questions the newest run is kept.

    Args:
        results: (run id, start, result), in any order, as `Tracker.results` gives them.

    Raises:
        MerBenchError: there are none.
    """
    if not results:
        raise MerBenchError("no finished run yet; make the first one with: mer-bench run mmnet --task synth-3")
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for run_id, started, result in sorted(results, key=lambda r: (r[1], r[0]), reverse=True):
        for rule in result.rules:
            row = _row(run_id, started, result, rule)
            newest = kept.setdefault(tuple(row[name] for name in _SAME.split()), row)
            newest["older_runs"] += newest is not row
    return pl.DataFrame(sorted(kept.values(), key=_order), schema=ROWS)


def _row(run_id: str, started: datetime, result: Result, rule: str) -> dict[str, Any]:
    score, chance = result.rules[rule], result.chance[rule]
    question = json.dumps(result.question, sort_keys=True, default=str)
    leaky = result.rules.get(OPTIMISM.get(rule, ""))
    return {
        **{name: getattr(result, name) for name in ROWS if hasattr(result, name)},
        **{name: getattr(score, name) for name in ROWS if hasattr(score, name)},
        **dict(zip(("uar_low", "uar_high"), score.ends("uar"), strict=True)),
        **dict(zip(("accuracy_low", "accuracy_high"), score.ends("accuracy"), strict=True)),
        "notes": " ".join(result.notes),
        "setting": result.setting_name,
        "rule": rule,
        **dict(zip(("low", "high"), score.uf1_interval, strict=True)),
        "chance": chance,
        "above_chance": score.uf1_interval[0] > chance,
        "seed_sd": score.uf1_sd,
        "optimism": leaky.uf1 - score.uf1 if leaky else None,
        "by_corpus": json.dumps(score.per_corpus) if score.per_corpus else "",
        "run": run_id[:8],
        "started": started.strftime("%Y-%m-%d %H:%M:%S"),
        "question": hashlib.sha256(question.encode()).hexdigest()[:8],
        "older_runs": 0,
    }


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """By task; in it honest, unverified, leaky; complete before partial, then by UF1; the rest makes it total."""
    task = (row["task"], row["task_version"], row["task_sha256"])
    partial = row["folds_done"] < row["folds_total"]
    kind = (row["leaky"], row["rule"] in UNVERIFIED, partial)
    return (*task, *kind, -row["uf1"], row["model"], row["rule"], row["started"], row["run"])
