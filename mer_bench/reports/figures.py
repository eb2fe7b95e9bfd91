"""Which pictures a board, an evaluation and a comparison have, each with its caption.

Only what is on record is drawn: an evaluation recorded before these pictures existed has fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from mer_bench.records import grading
from mer_bench.records.evidence import Evidence, Trial
from mer_bench.records.scores import Result
from mer_bench.reports import charts, portraits
from mer_bench.reports.standings import Board, Entry

MOST_KNOBS = 24


class Figure(NamedTuple):
    """A picture, what is said below it, and whether it is a small one of many."""

    name: str
    drawn: Markup
    caption: str
    small: bool = False


def of_board(board: Board) -> list[Figure]:
    """Scores, differences, ranks, and scores against what they cost."""
    found = [
        Figure(
            "scores",
            charts.scores([_score(e) for e in board.entries]),
            "UF1 and its 95 % interval over subjects. Filled: honest. Hollow: what a leaky rule makes of the same run. "
            "Dashed: chance.",
        )
    ]
    gaps = [
        charts.Gap(e.label, e.difference.value, *e.difference.ends, e.difference.p)
        for e in board.entries
        if e.difference
    ]
    if gaps and board.reference:
        said = f"Difference in UF1 to {board.reference.label}, paired by subject. Pale: no difference shown."
        found.append(Figure("differences", charts.forest(gaps, board.reference.label), said))
    ranked = [
        charts.Rank(e.label, e.ranks.low, e.ranks.high, e.ranks.tied_with_first) for e in board.entries if e.ranks
    ]
    if ranked:
        said = "Ranks that each may have when other subjects had been filmed. Pale: behind the first."
        found.append(Figure("ranks", charts.ranks(ranked), said))
    for name, cost, unit in (
        ("latency", "latency", "ms a clip, one thread"),
        ("parameters", "parameters", "parameters"),
    ):
        points = [_point(e, float(value)) for e in board.entries if (value := getattr(e.result, cost))]
        if len(points) > 1:
            found.append(Figure(name, charts.scatter(points, unit), f"UF1 against {unit}. Up and left is better."))
    return found


def of_result(result: Result, rule: str) -> list[Figure]:
    """Confusion matrix, strip of subjects, curves, and what was searched."""
    found, score, record = [], result.rules[rule], result.evidence
    if score.by_subject:
        counts, subjects = grading.counts_of(score)
        mean = counts.mean(1)
        said = f"Confusion matrix under {rule}: counts summed over folds{_mean_of(score.seeds)}. Rows are the truth."
        found += [
            Figure("confusion", portraits.confusion(mean.sum(0), list(score.per_class)), said),
            Figure(
                "subjects",
                portraits.strip(subjects, np.trace(mean, axis1=1, axis2=2), mean.sum((1, 2))),
                "One column a held-out subject: its clips, the right ones filled.",
            ),
        ]
    for place, curve in enumerate(record.curves if record else ()):
        said = f"Pooled {curve.name} by epoch."
        said += " Nobody may choose by it: these are the held-out subjects." if curve.leaky else ""
        found.append(Figure(f"curve-{place + 1}", charts.curve(curve.values, curve.name), said))
    return found + (_searched(record) if record else [])


def of_difference(ours: Entry, theirs: Entry) -> list[Figure]:
    """Where two evaluations differ: by subject, and in their confusions."""
    mine, other = ours.counts.mean(1), theirs.counts.mean(1)
    gaps = np.trace(mine, axis1=1, axis2=2) - np.trace(other, axis1=1, axis2=2)
    subjects, classes = sorted(ours.result.rules[ours.rule].by_subject), list(ours.result.rules[ours.rule].per_class)
    up, down = int((gaps > 0).sum()), int((gaps < 0).sum())
    said = f"Clips right more than {theirs.label}, by subject: {up} subjects gain, {down} lose."
    return [Figure("swings", portraits.swings(subjects, gaps), said)] + [
        Figure(f"confusion-{place}", portraits.confusion(counts.sum(0), classes), f"{entry.label}, {entry.rule}.")
        for place, (entry, counts) in enumerate(((ours, mine), (theirs, other)), 1)
    ]


def _searched(record: Evidence) -> list[Figure]:
    done = [trial for trial in record.trials if trial.inner_uf1 is not None]
    if len(done) < 2:
        return []
    votes = Counter(trial for trial, _ in next(iter(record.choices.values()), {}).values())
    scores = {trial.number: trial.inner_uf1 for trial in record.trials}
    by_number = [scores.get(n) for n in range(max(scores) + 1)]
    said = "Pooled validation UF1 of each trial; the line is the best so far."
    found = [Figure("trials", portraits.progress(by_number), said)]
    for name in _knobs(done)[:MOST_KNOBS]:
        asked = [trial for trial in done if name in trial.values]
        found.append(
            Figure(
                f"knob-{name}",
                portraits.knob(
                    name,
                    [trial.values[name] for trial in asked],
                    [float(trial.inner_uf1 or 0.0) for trial in asked],
                    [trial.number in votes for trial in asked],
                ),
                "",
                small=True,
            )
        )
    return found


def _knobs(trials: Sequence[Trial]) -> list[str]:
    """Names of what was varied, sorted."""
    seen: dict[str, set[str]] = {}
    for trial in trials:
        for name, value in trial.values.items():
            seen.setdefault(name, set()).add(str(value))
    return sorted(name for name, values in seen.items() if len(values) > 1)


def votes(result: Result, most: int = 5) -> list[tuple[int, int, Mapping[str, Any]]]:
    """(trial, folds that chose it, its values) of the headline's choices, most votes first."""
    record = result.evidence
    if record is None or not record.choices:
        return []
    chosen = Counter(trial for trial, _ in next(iter(record.choices.values())).values())
    values = {trial.number: trial.values for trial in record.trials}
    ordered = sorted(chosen.items(), key=lambda item: (-item[1], item[0]))
    return [(trial, folds, values.get(trial, {})) for trial, folds in ordered[:most]]


def _score(entry: Entry) -> charts.Score:
    score = entry.result.rules[entry.rule]
    name = f"{entry.label} · {entry.rule}" + (" PARTIAL" if entry.partial else "")
    return charts.Score(name, score.uf1, *score.uf1_interval, entry.result.chance[entry.rule], entry.leaky)


def _point(entry: Entry, cost: float) -> charts.Point:
    score = entry.result.rules[entry.rule]
    return charts.Point(entry.label, cost, score.uf1, *score.uf1_interval)


def _mean_of(seeds: int) -> str:
    return f", mean of {seeds} seeds" if seeds > 1 else ""
