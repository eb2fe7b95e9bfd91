"""From the test rows that a rule lets speak to the numbers beside its name.

Counts are pooled over folds for each seed; a score is the mean over seeds, its interval comes from resampling subjects
(all seeds of a subject together), and chance from shuffling the same predictions over all clips. Probabilities are
never averaged over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mer_bench import bootstrap, comparisons, metrics, stats
from mer_bench.bootstrap import Interval
from mer_bench.contracts import MerBenchError
from mer_bench.records.scores import RuleScore
from mer_bench.seeds import seed
from mer_bench.selection import GIVEN, Chosen, is_leaky

UNKNOWN = "not known: weights from files"
ALL, HELD = "all training subjects", "training subjects without validation subjects"
TRAINED_ON = {GIVEN: UNKNOWN, "inner": HELD, "nested-no-refit": HELD, "shared-no-refit": HELD, "oracle-trial": HELD}


def by_subject(rows: pl.DataFrame, classes: int) -> tuple[np.ndarray, list[str]]:
    """Confusion counts (subjects, seeds, K, K) and the subjects' names, sorted."""
    names = sorted(rows["subject"].unique().to_list())
    seeds = sorted(rows["seed"].unique().to_list())
    counts = np.zeros((len(names), len(seeds), classes, classes), np.int64)
    at = (
        rows["subject"].replace_strict(names, range(len(names))),
        rows["seed"].replace_strict(seeds, range(len(seeds))),
    )
    np.add.at(
        counts, (*(a.to_numpy().astype(int) for a in at), rows["label"].to_numpy(), rows["prediction"].to_numpy()), 1
    )
    return counts, names


def grade(rule: str, chosen: Chosen, clips: pl.DataFrame, classes: Sequence[str]) -> tuple[RuleScore, float]:
    """A rule's scores and its chance level.

    Args:
        rule: its name.
        chosen: one row per (seed, clip).
        clips: the task's clips; every one must be predicted by every seed.
        classes: class names in label order.

    Raises:
        MerBenchError: a clip was not predicted, or was tested under another label than it has.
    """
    rows, size = chosen.rows, len(classes)
    for _, part in rows.group_by("seed"):
        missing = sorted(set(clips["clip"]) - set(part["clip"]))
        if missing or len(part) != len(clips):
            raise MerBenchError(
                f"rule {rule}: {len(missing)} clips have no prediction, {missing[:1]} first; run it again"
            )
    _same_truth(rule, rows, clips)
    counts, names = by_subject(rows, size)
    corpora = _corpora(names, clips)
    interval = _interval(counts, metrics.uf1, corpora)
    pooled = counts.sum(0)
    uf1 = metrics.uf1(pooled)
    accuracy_counts, _ = by_subject(chosen.accuracy_rows, size)
    score = RuleScore(
        uf1=float(uf1.mean()),
        uar=float(metrics.uar(pooled).mean()),
        accuracy=float(metrics.accuracy(accuracy_counts.sum(0)).mean()),
        uf1_interval=(interval.low, interval.high),
        weighted_f1=float(metrics.weighted_f1(pooled).mean()),
        mean_of_folds_f1=float(metrics.mean_of_folds(counts.swapaxes(0, 1), metrics.uf1).mean()),
        uf1_sd=float(uf1.std(ddof=1)) if len(uf1) > 1 else None,
        per_corpus=_per_corpus(counts, corpora),
        absent=interval.absent,
        trained_on=_trained_on(rule, chosen),
        leaky=is_leaky(rule),
        seeds=len(uf1),
        interval_method=interval.method,
        intervals={
            "uar": _ends(_interval(counts, metrics.uar, corpora)),
            "accuracy": _ends(_interval(accuracy_counts, metrics.accuracy, corpora)),
        },
        per_class=_per_class(counts, classes, corpora),
        by_subject={name: part.tolist() for name, part in zip(names, counts, strict=True)},
    )
    chances = [
        stats.chance(part["label"].to_numpy(), part["prediction"].to_numpy(), size, seed=seed("chance"))
        for _, part in rows.group_by("seed", maintain_order=True)
    ]
    return score, float(np.mean(chances))


def _same_truth(rule: str, rows: pl.DataFrame, clips: pl.DataFrame) -> None:
    """Raise unless rows hold the labels that the task's clips have: another sheet, here or on a node, may differ."""
    both = rows.join(clips.select("clip", pl.col("label").alias("truth")), on="clip")
    other = sorted(set(both.filter(pl.col("label") != pl.col("truth"))["clip"]))
    if other:
        raise MerBenchError(
            f"rule {rule}: {len(other)} clips, {other[:1]} first, were tested under other labels than the sheets here "
            "have; use one release everywhere and run it again"
        )


def _trained_on(rule: str, chosen: Chosen) -> str:
    """Which of a fold's training subjects the models saw that speak under a rule."""
    said = TRAINED_ON.get(rule, ALL)
    if not chosen.stand_ins:
        return said
    trainings = chosen.rows.select("seed", "fold").n_unique()
    return f"{said}, but in {chosen.stand_ins} of {trainings} refits, which diverged: {HELD}"


def difference(first: pl.DataFrame, second: pl.DataFrame, clips: pl.DataFrame, classes: int) -> comparisons.Difference:
    """UF1 of `first` minus UF1 of `second` (means over seeds), paired by subject: see `comparisons.difference`."""
    ours, names = by_subject(first, classes)
    theirs, _ = by_subject(second, classes)
    return comparisons.difference(ours, theirs, strata=_corpora(names, clips), seed=seed("bootstrap"))


def counts_of(score: RuleScore) -> tuple[np.ndarray, list[str]]:
    """Recorded confusion counts (subjects, seeds, K, K) and the subjects' names, sorted.

    Summed over subjects they are the confusion matrix of each seed; `comparisons` takes them as they are. A subject's
    corpus is the part of its name before the slash.

    Raises:
        MerBenchError: the run was recorded before counts were kept.
    """
    names = sorted(score.by_subject)
    if not names:
        raise MerBenchError("this run was recorded without each subject's counts; run it again")
    return np.array([score.by_subject[name] for name in names], np.int64), names


def subject_scores(score: RuleScore) -> pl.DataFrame:
    """One row per subject: `subject, corpus, clips, correct` (mean over seeds), `accuracy`; raises as `counts_of`."""
    counts, names = counts_of(score)
    correct = np.trace(counts, axis1=-2, axis2=-1).mean(-1)
    clips = counts.sum((-2, -1))[:, 0]
    corpora = [name.split("/")[0] for name in names]
    columns = {"subject": names, "corpus": corpora, "clips": clips, "correct": correct, "accuracy": correct / clips}
    return pl.DataFrame(columns)


def _corpora(subjects: Sequence[str], clips: pl.DataFrame) -> list[str]:
    of = dict(zip(clips["subject"], clips["corpus"], strict=True))
    return [of[name] for name in subjects]


def _interval(counts: np.ndarray, metric: metrics.Metric, corpora: Sequence[str]) -> Interval:
    return bootstrap.subject_bootstrap(counts, metric, strata=corpora, seed=seed("bootstrap"))


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _per_class(counts: np.ndarray, classes: Sequence[str], corpora: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Each class's F1 with its interval, its recall, its precision and its clips; means over seeds."""
    pooled = counts.sum(0)
    found = bootstrap.class_intervals(counts, strata=corpora, seed=seed("bootstrap"))
    hits, truth, said = np.diagonal(pooled, axis1=-2, axis2=-1), pooled.sum(-1), pooled.sum(-2)
    f1, recall = metrics.f1_per_class(pooled).mean(0), (hits / truth).mean(0)
    precision = (hits / np.maximum(said, 1)).mean(0)
    return {
        name: {
            "f1": float(f1[k]),
            "low": found[k].low,
            "high": found[k].high,
            "recall": float(recall[k]),
            "precision": float(precision[k]),
            "clips": int(truth[0, k]),
        }
        for k, name in enumerate(classes)
    }


def _per_corpus(counts: np.ndarray, corpora: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Parts of a composite: the same pooled predictions filtered by corpus; empty for a single corpus."""
    found: dict[str, dict[str, float]] = {}
    for corpus in sorted(set(corpora)) if len(set(corpora)) > 1 else []:
        part = counts[[c == corpus for c in corpora]].sum(0)
        found[corpus] = {
            "uf1": float(metrics.uf1(part, absent="zero").mean()),
            "uar": float(metrics.uar(part, absent="zero").mean()),
            "accuracy": float(metrics.accuracy(part).mean()),
        }
    return found
