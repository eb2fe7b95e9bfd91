"""What a report draws: a run's small records, written once, when it ends.

    counts   rule -> (subjects, seeds, K * K)    confusion matrices, strips of subjects, paired comparisons
    curves   (seeds, epochs)                     how a number moved while training
    trials   one each                            what a study searched, and what each fold chose of it

Reports and comparisons are built from these alone: nothing opens a trial's tables again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Counts = tuple[tuple[tuple[int, ...], ...], ...]


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
        classes: class names in label order.
        subjects: held-out subjects, sorted; the first axis of `counts`.
        counts: rule -> per subject and seed, the confusion counts row by row, rows the truth.
        curves: by epoch.
        trials: of a study, by number.
        choices: of a study: rule -> fold -> (trial, epoch).
        costed: of a study: the trial whose parameters and latency are shown.
    """

    classes: tuple[str, ...]
    subjects: tuple[str, ...]
    counts: Mapping[str, Counts]
    curves: tuple[Curve, ...] = ()
    trials: tuple[Trial, ...] = ()
    choices: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    costed: int | None = None

    @property
    def corpora(self) -> list[str]:
        """Each subject's corpus: ids are `corpus/id`."""
        return [subject.split("/")[0] for subject in self.subjects]

    def of(self, rule: str) -> np.ndarray:
        """Confusion counts of a rule, (subjects, seeds, K, K) int64."""
        size = len(self.classes)
        return np.array(self.counts[rule], np.int64).reshape(len(self.subjects), -1, size, size)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evidence:
        """Inverse of `dataclasses.asdict`, also after JSON turned tuples into lists; an unknown key is a `TypeError`."""
        tuples = ("classes", "subjects")
        made = {
            **{name: tuple(data[name]) for name in tuples},
            "counts": {rule: _deep(counts) for rule, counts in data["counts"].items()},
            "curves": tuple(Curve(**{**curve, "values": _deep(curve["values"])}) for curve in data["curves"]),
            "trials": tuple(Trial(**trial) for trial in data["trials"]),
            "choices": {
                rule: {fold: (int(t), int(e)) for fold, (t, e) in chosen.items()}
                for rule, chosen in data["choices"].items()
            },
        }
        return cls(**{**data, **made})


def packed(counts: np.ndarray) -> Counts:
    """(subjects, seeds, K, K) as `Evidence` keeps it."""
    found: Counts = _deep(counts.reshape(*counts.shape[:2], -1).tolist())
    return found


def _deep(values: Sequence[Any]) -> Any:
    return tuple(_deep(v) if isinstance(v, list | tuple) else v for v in values)
