"""What a report draws besides the counts of each rule: a run's small records, written once, when it ends.

    curves   (seeds, epochs)    how a number moved while training
    trials   one each           what a study searched, and what each fold chose of it

Reports and comparisons are built from these alone: nothing opens a trial's tables again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Curve:
    """A number by epoch.

    Args:
        name: what it is, in words.
        values: one row a seed, one value an epoch.
        leaky: it has seen the labels of test subjects; drawn, never chosen by.
    """

    name: str
    values: tuple[tuple[float, ...], ...]
    leaky: bool = False


@dataclass(frozen=True)
class Trial:
    """One trial of a study: what it tried and its pooled validation UF1 (None: it failed, `error` says why)."""

    number: int
    values: Mapping[str, Any]
    inner_uf1: float | None
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Evidence:
    """The small records of one finished evaluation.

    Args:
        curves: by epoch.
        trials: of a study, by number.
        choices: of a study: rule -> fold -> (trial, epoch).
        costed: of a study: the trial whose parameters and latency are shown.
    """

    curves: tuple[Curve, ...] = ()
    trials: tuple[Trial, ...] = ()
    choices: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    costed: int | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evidence:
        """Inverse of `dataclasses.asdict`, also after JSON turned tuples into lists; unknown keys are a `TypeError`."""
        made = {
            "curves": tuple(
                Curve(**{**curve, "values": tuple(tuple(row) for row in curve["values"])}) for curve in data["curves"]
            ),
            "trials": tuple(Trial(**trial) for trial in data["trials"]),
            "choices": {
                rule: {fold: (int(trial), int(epoch)) for fold, (trial, epoch) in chosen.items()}
                for rule, chosen in data["choices"].items()
            },
        }
        return cls(**{**data, **made})
