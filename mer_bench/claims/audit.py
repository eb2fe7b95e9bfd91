"""Audit printed numbers: a triple given by hand, or every claim that the catalogue's papers make.

    Paper.printed ──► claims (one per method, task and rule) ──► judge ──► words

Numbers of one claim come from one confusion table, so they are asked about together; under `oracle-mmnet` accuracy and
F1 come from different epochs and are asked about one by one. All numbers of a paper's column are taken to be printed
with as many digits as the longest of them, because a float forgets its last zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mer_bench import catalog
from mer_bench.claims.attain import METRICS, Finding, attain
from mer_bench.claims.printed import Table, Window, fits, meanings, scores, window
from mer_bench.contracts import Paper, Printed, UsageError

PUBLIC: Mapping[str, tuple[int, ...]] = {
    "megc2019-3": (250, 109, 83),
    "megc2019-3/casme2": (88, 32, 25),
    "megc2019-3/samm": (92, 26, 15),
    "megc2019-3/smic": (70, 51, 43),
}
"""Class sizes of a challenge and its parts, from its guideline (MEGC 2019); a task's own come first."""
APART = ("oracle-mmnet",)
CLIPS = range(100, 301)
"""Numbers of clips that an accuracy is held against where the class sizes are not known."""
NAMES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Claim:
    """Numbers said to come from one confusion table.

    Args:
        numbers: uf1, uar, accuracy -> as printed.
        classes: clips of each class; empty if not known.
        table: a published confusion table; empty if there is none.
        model: whose they are; like `task` and `rule` empty for numbers given by hand.
        task: where.
        rule: how the epoch was selected.
    """

    numbers: Mapping[str, Window]
    classes: tuple[int, ...] = ()
    table: Table = ()
    model: str = ""
    task: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Audited:
    """What can be said of a claim.

    Args:
        claim: which.
        finding: of the class sizes; None where they are not known.
        clips: (right, all) that print this accuracy; asked where the class sizes are unknown or do not fit.
        means: metric -> what the published table says the number is, where it is not that metric.
    """

    claim: Claim
    finding: Finding | None = None
    clips: Sequence[tuple[int, int]] = ()
    means: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def suspicious(self) -> bool:
        """The numbers cannot be, or one of them is another than it is called."""
        return bool(self.means) or (self.finding is not None and self.finding.attainable is False)

    def as_json(self) -> dict[str, Any]:
        """Plain types."""
        claim, found = self.claim, self.finding or Finding(None)
        return {
            "model": claim.model,
            "task": claim.task,
            "rule": claim.rule,
            "printed": {name: one.text for name, one in claim.numbers.items()},
            "classes": list(claim.classes),
            "attainable": found.attainable,
            "example": [list(row) for row in found.example],
            "nearest": {name: value if value == value else None for name, value in found.nearest.items()},
            "if_cut_off": found.cut_off,
            "clips": [list(pair) for pair in self.clips],
            "means": {name: list(what) for name, what in self.means.items()},
        }

    def words(self) -> str:
        """In one line."""
        claim = self.claim
        whose = [claim.model, claim.task, f"({claim.rule})" if claim.rule else ""]
        said = ", ".join(f"{NAMES[name]} {one.text}" for name, one in claim.numbers.items())
        known = _verdict(claim, self.finding) if self.finding else "class sizes not known"
        parts = [known] if claim.classes or set(claim.numbers) != {"accuracy"} else []
        if self.clips:
            parts.append("the accuracy fits " + ", ".join(f"{right}/{total}" for right, total in self.clips))
        elif "accuracy" in claim.numbers and not self.finding:
            parts.append("no number of clips asked about fits the accuracy")
        for name, what in self.means.items():
            value = float(scores(claim.table)[name])
            other = "its " + " and ".join(what) if what else "none of its scores"
            parts.append(f"the published table has {NAMES[name]} {value:.4f}; {claim.numbers[name].text} is {other}")
        return ": ".join(part for part in (" ".join(filter(None, whose)), said, "; ".join(parts)) if part)


def judge(claim: Claim, clips: range | None = None) -> Audited:
    """Audit one claim.

    Args:
        claim: which.
        clips: numbers of clips that an accuracy is held against; by default some around the task's, or `CLIPS`.

    Raises:
        UsageError: there is nothing to audit, or as `attain.attain`.
    """
    if not claim.numbers:
        raise UsageError("nothing to audit: give --uf1, --uar or --accuracy, or no option at all for the catalogue")
    finding = attain(claim.classes, claim.numbers) if claim.classes else None
    accuracy, total, found = claim.numbers.get("accuracy"), sum(claim.classes), []
    if accuracy is not None and (clips is not None or not fits(accuracy, range(total, total + 1))):
        near = range(total * 4 // 5, total * 6 // 5 + 1) if total else CLIPS
        found = fits(accuracy, near if clips is None else clips)
    told = {name: meanings(claim.table, one) for name, one in claim.numbers.items()} if claim.table else {}
    return Audited(claim, finding, found, {name: what for name, what in told.items() if name not in what})


def claims() -> list[Claim]:
    """Every printed number of the catalogue's papers, those of one table together."""
    papers = {model: catalog.baseline(model).paper for model in catalog.names("baseline")}
    return [claim for model, paper in papers.items() if paper is not None for claim in _claims(model, paper)]


def sizes(task: str) -> tuple[int, ...]:
    """Class sizes of a task, if it pins them or they are public; else empty."""
    known = catalog.task(task).counts if task in catalog.names("task") else ()
    return known or PUBLIC.get(task, ())


def _claims(model: str, paper: Paper) -> list[Claim]:
    column = {
        one.metric: max(_digits(o.value) for o in paper.printed if o.metric == one.metric) for one in paper.printed
    }
    groups: dict[tuple[str, str, str], list[Printed]] = {}
    for one in paper.printed:
        if one.metric in METRICS:
            groups.setdefault((one.task, one.rule, one.metric if one.rule in APART else ""), []).append(one)
    found = []
    for (task, rule, _), group in groups.items():
        numbers = {one.metric: window(f"{one.value:.{column[one.metric]}f}") for one in group}
        found.append(Claim(numbers, sizes(task), paper.confusions.get(task, ()), model, task, rule))
    return found


def _digits(value: float) -> int:
    return len(repr(value).partition(".")[2])


def _verdict(claim: Claim, found: Finding) -> str:
    of = f"classes {'/'.join(map(str, claim.classes))}"
    if found.attainable is None:
        return f"too many tables of {of} to search them all"
    if found.attainable:
        return f"possible with {of}"
    with_others = " with the other as printed" if len(claim.numbers) == 2 else " with the others as printed"
    rest = with_others if len(claim.numbers) > 1 else ""
    near = [f"nearest {NAMES[name]} {value:.4f}{rest}" for name, value in found.nearest.items() if value == value]
    cut = ["possible if digits were cut off instead of rounded"] if found.cut_off else []
    return "; ".join([f"IMPOSSIBLE with {of}", *near, *cut])
