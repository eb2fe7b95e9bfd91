"""Who stands where on a task: each evaluation's headline, its difference to a reference, and its possible ranks.

    results ──► one entry an evaluation ──► boards, one a task and clip list ──► tables, pictures, words

All evaluations of a board answer the same clips, so differences are paired by subject: seeds of one side are averaged,
never matched, and clips of one subject move together. Holm's correction runs over all challengers of a board.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from mer_bench import comparisons
from mer_bench.records import grading
from mer_bench.records.scores import Result, rows
from mer_bench.reports import prose
from mer_bench.seeds import seed
from mer_bench.selection import UNVERIFIED

REFERENCE = "mmnet"
LEAKY_TWIN = ("oracle-epoch", "oracle-trial", "oracle-global-epoch", "oracle-mmnet")


class Difference(NamedTuple):
    """UF1 minus the reference's.

    Args:
        found: value, interval, p and the seeds' share, see `comparisons.Difference`.
        p: corrected for all challengers of the board.
        same: both say the same about every clip, as far as counts can tell.
        equal_budget: both sides had as many trials to choose from.
    """

    found: comparisons.Difference
    p: float
    same: bool
    equal_budget: bool

    @property
    def value(self) -> float:
        """The difference of the means over seeds."""
        return self.found.value

    @property
    def ends(self) -> tuple[float, float]:
        """Its 95 % interval over subjects."""
        return self.found.interval.low, self.found.interval.high

    @property
    def verdict(self) -> str:
        """In words."""
        noisy = self.found.within_seed_noise
        return prose.verdict(self.value, *self.ends, self.p, seed_noise=noisy, same=self.same)


@dataclass(frozen=True)
class Entry:
    """One evaluation on a board; `difference` is None for the reference and for what cannot be paired.

    `page` is the address of a study's own page.
    """

    run_id: str
    started: datetime
    result: Result
    label: str
    rule: str
    older: int = 0
    difference: Difference | None = None
    ranks: comparisons.Rank | None = None
    page: str = ""

    @property
    def run(self) -> str:
        """The first eight letters of its id."""
        return self.run_id[:8]

    @property
    def partial(self) -> bool:
        """Whether folds are missing."""
        return self.result.folds_done < self.result.folds_total

    @property
    def reported(self) -> bool:
        """Whether its predictions, or the weights behind them, were made elsewhere."""
        return self.rule in UNVERIFIED

    @property
    def comparable(self) -> bool:
        """Whether it can be paired: every fold trained here, each subject's counts on record, an honest rule."""
        score = self.result.rules[self.rule]
        return not self.partial and not self.reported and bool(score.by_subject) and not score.leaky

    @property
    def leaky(self) -> float | None:
        """What the run's own oracle makes of UF1."""
        return next((self.result.rules[r].uf1 for r in LEAKY_TWIN if r in self.result.rules), None)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Confusion counts of the headline rule, (subjects, seeds, K, K)."""
        return grading.counts_of(self.result.rules[self.rule])[0]

    @property
    def corpora(self) -> list[str]:
        """Each subject's corpus, in the order of `counts`."""
        return [subject.split("/")[0] for subject in sorted(self.result.rules[self.rule].by_subject)]


@dataclass(frozen=True)
class Board:
    """A task's entries, best first; partial ones last."""

    task: str
    version: int
    sha256: str
    entries: tuple[Entry, ...]
    lines: pl.DataFrame
    reference: Entry | None

    @property
    def banner(self) -> str:
        """Words that stand beside every number of the task."""
        return " ".join(sorted({e.result.banner for e in self.entries} - {""}))

    @property
    def classes(self) -> dict[str, int]:
        """Class -> clips, in label order; empty if no entry has them on record."""
        parts = (e.result.rules[e.rule].per_class for e in self.entries)
        return next(({name: int(part["clips"]) for name, part in found.items()} for found in parts if found), {})


def boards(
    results: Sequence[tuple[str, datetime, Result]], against: str = REFERENCE, links: Mapping[str, str] | None = None
) -> list[Board]:
    """Every task's board.

    Args:
        results: (run id, start, result) in any order.
        against: the model that others are compared with.
        links: run id -> address of its study's page.

    Raises:
        MerBenchError: there are none.
    """
    table, found = rows(results), []

    def page(run_id: str) -> str:
        return (links or {}).get(run_id, "")

    known = {run_id[:8]: (run_id, started, result) for run_id, started, result in results}
    for (task, version, sha256), lines in table.group_by("task", "task_version", "task_sha256", maintain_order=True):
        kept = {run: known[run] for run in lines["run"].unique(maintain_order=True)}
        older = dict(lines.group_by("run").agg(pl.col("older_runs").max()).iter_rows())
        plain = [
            Entry(*kept[run], result_label(kept[run][2]), kept[run][2].headline, older[run], page=page(kept[run][0]))
            for run in kept
        ]
        entries = sorted(_unlike(plain), key=_order)
        reference = _reference(entries, against)
        entries = _compared(entries, reference)
        found.append(Board(str(task), int(version), str(sha256), tuple(_ranked(entries)), lines, reference))
    return found


def result_label(result: Result) -> str:
    """A short name: the model, and how much it was searched."""
    return f"{result.model} · {prose.plural(result.trials, 'trial')}" if result.trials is not None else result.model


def difference(ours: Entry, theirs: Entry) -> Difference:
    """A paired difference; its p is not corrected yet."""
    found = comparisons.difference(ours.counts, theirs.counts, strata=ours.corpora, seed=seed("difference"))
    same = ours.counts.shape == theirs.counts.shape and bool((ours.counts == theirs.counts).all())
    return Difference(found, found.p, same, ours.result.trials == theirs.result.trials)


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """The same with p corrected for their number."""
    return [one._replace(p=p) for one, p in zip(found, comparisons.holm([d.found.p for d in found]), strict=True)]


def _compared(entries: Sequence[Entry], reference: Entry | None) -> list[Entry]:
    if reference is None:
        return list(entries)
    able = [e for e in entries if e.comparable and e.run_id != reference.run_id]
    gaps = corrected([difference(e, reference) for e in able]) if able else []
    of = {e.run_id: gap for e, gap in zip(able, gaps, strict=True)}
    return [replace(e, difference=of.get(e.run_id)) for e in entries]


def _ranked(entries: Sequence[Entry]) -> list[Entry]:
    able = [e for e in entries if e.comparable]
    if len(able) < 2:
        return list(entries)
    found = comparisons.ranks([e.counts for e in able], strata=able[0].corpora, seed=seed("ranks"))
    of = {e.run_id: rank for e, rank in zip(able, found, strict=True)}
    return [replace(e, ranks=of.get(e.run_id)) for e in entries]


def _reference(entries: Sequence[Entry], against: str) -> Entry | None:
    """Fixed in advance, never by score: the model of that name, else a preset of it; most trials, seeds, newest."""
    able = [e for e in entries if e.comparable and e.result.model.split(":")[0] == against.split(":")[0]]
    exact = [e for e in able if e.result.model == against]
    chosen = sorted(exact or able, key=lambda e: (-(e.result.trials or 0), -e.result.seeds, e.result.model, e.run_id))
    newest = [
        e for e in chosen if (e.result.trials, e.result.seeds) == (chosen[0].result.trials, chosen[0].result.seeds)
    ]
    return max(newest, key=lambda e: (e.started, e.run_id)) if newest else None


def _unlike(entries: Sequence[Entry]) -> list[Entry]:
    """No two entries of a board share a label: seeds tell them apart, or the setting, or the run."""
    tellers: tuple[Callable[[Entry], str], ...] = (
        lambda e: prose.plural(e.result.seeds, "seed"),
        lambda e: e.result.setting_name,
        lambda e: e.run,
    )
    for tell in tellers:
        labels = [e.label for e in entries]
        alike = {label: {tell(e) for e in entries if e.label == label} for label in labels}
        entries = [replace(e, label=f"{e.label} · {tell(e)}") if len(alike[e.label]) > 1 else e for e in entries]
    return list(entries)


def _order(entry: Entry) -> tuple[bool, bool, float, str, str]:
    score = entry.result.rules[entry.rule]
    return entry.reported, entry.partial or score.leaky, -score.uf1, entry.label, entry.run_id
