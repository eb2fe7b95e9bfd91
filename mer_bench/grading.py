"""From the test rows that a rule lets speak to the numbers beside its name.

Counts are pooled over folds for each seed; a score is the mean over seeds, its interval comes from resampling subjects
(all seeds of a subject together), and chance from shuffling the same predictions over all clips. Probabilities are
never averaged over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from mer_bench import metrics, stats
from mer_bench.contracts import MerBenchError
from mer_bench.scores import RuleScore
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
        MerBenchError: a clip was not predicted.
    """
    rows, size = chosen.rows, len(classes)
    for _, part in rows.group_by("seed"):
        missing = sorted(set(clips["clip"]) - set(part["clip"]))
        if missing or len(part) != len(clips):
            raise MerBenchError(
                f"rule {rule}: {len(missing)} clips have no prediction, {missing[:1]} first; run it again"
            )
    counts, names = by_subject(rows, size)
    of = dict(zip(clips["subject"], clips["corpus"], strict=True))
    corpora = [of[name] for name in names]
    interval = stats.subject_bootstrap(counts, _mean_uf1, strata=corpora, seed=seed("bootstrap"))
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
        trained_on=TRAINED_ON.get(rule, ALL),
        leaky=is_leaky(rule),
        seeds=len(uf1),
    )
    chances = [
        stats.chance(part["label"].to_numpy(), part["prediction"].to_numpy(), size, seed=seed("chance"))
        for _, part in rows.group_by("seed", maintain_order=True)
    ]
    return score, float(np.mean(chances))


def difference(
    first: pl.DataFrame, second: pl.DataFrame, clips: pl.DataFrame, classes: int
) -> tuple[float, stats.Interval]:
    """UF1 of `first` minus UF1 of `second` (means over seeds), with its interval over subjects, paired."""
    ours, names = by_subject(first, classes)
    theirs, _ = by_subject(second, classes)
    seeds = ours.shape[1]
    both = np.concatenate([ours, theirs], 1)
    of = dict(zip(clips["subject"], clips["corpus"], strict=True))

    def gap(counts: np.ndarray, absent: metrics.Absent = "zero") -> np.ndarray:
        scores = metrics.uf1(counts, absent)
        gaps: np.ndarray = scores[..., :seeds].mean(-1) - scores[..., seeds:].mean(-1)
        return gaps

    interval = stats.subject_bootstrap(both, gap, strata=[of[name] for name in names], seed=seed("bootstrap"))
    return float(gap(both.sum(0))), interval


def _mean_uf1(counts: np.ndarray, absent: metrics.Absent = "zero") -> np.ndarray:
    """UF1 (..., seeds) averaged over seeds."""
    mean: np.ndarray = metrics.uf1(counts, absent).mean(-1)
    return mean


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
