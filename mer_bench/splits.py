"""Who is tested, who is trained on: leave one *subject* out, or one corpus where a task says so.

    clips  ──►  [Fold(name, test, train, validation), ...]    one per subject (or corpus), sorted by name

A splitter only splits. Validation is by subject too: about a quarter of a fold's other subjects, chosen so that they
hold about a quarter of every class. The choice for a fold reads the other subjects alone, in sorted order, and is
seeded by names, so that nothing about the held-out subject (its labels, its number of clips) can reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mer_bench.contracts import MerBenchError
from mer_bench.seeds import seed as named_seed

SHARE = 0.25
NAME = "validation"
CANDIDATES = 256
TOLERANCE = 0.4


@dataclass(frozen=True, eq=False)
class Fold:
    """One held-out subject, or corpus.

    Args:
        name: what is held out: a subject, `corpus/id`, or a corpus.
        test: rows of its clips in the clips table, ascending int64, as the other two.
        train: rows to fit on; no subject is on two sides.
        validation: rows of the validation subjects; empty where none are kept back.
    """

    name: str
    test: np.ndarray
    train: np.ndarray
    validation: np.ndarray

    @property
    def everything(self) -> np.ndarray:
        """Rows of all subjects that may be trained on: train and validation, ascending."""
        return np.sort(np.concatenate([self.train, self.validation]))


def loso(
    clips: pl.DataFrame,
    *,
    validation: bool = False,
    share: float = SHARE,
    seed: str | int = NAME,
    by: str = "subject",
    tested: Sequence[str] = (),
) -> list[Fold]:
    """One fold for each subject of `clips` (columns `subject` and `label`), or each corpus, sorted by name.

    Args:
        clips: a task's clips; folds hold row numbers of this table.
        validation: keep back validation subjects in each fold.
        share: of the other subjects, and of their clips of every class, that is kept back.
        seed: names the draw; the same name gives the same validation subjects.
        by: column of what is left out, `subject` or `corpus`.
        tested: what is tested, in turn; everything if empty. None of these is trained on then, only the others.

    Raises:
        MerBenchError: too few subjects (two are needed, three with validation), a corpus alone, or a share outside
            (0, 1).
    """
    subjects = np.unique(clips["subject"].to_numpy())
    if len(subjects) < (2 + validation):
        raise MerBenchError(f"{len(subjects)} subjects are too few to leave one out; {2 + validation} are needed")
    if not 0 < share < 1:
        raise MerBenchError(f"the validation share must lie between 0 and 1, not {share}")
    names = sorted(set(map(str, clips[by])))
    if len(names) < 2:
        raise MerBenchError(f"{names[0]} alone cannot be left out; a fold needs another {by} to train on")
    return [_fold(clips, name, validation, share, seed, by, tested) for name in names if not tested or name in tested]


def _fold(
    clips: pl.DataFrame, name: str, validation: bool, share: float, seed: str | int, by: str, tested: Sequence[str]
) -> Fold:
    subject, test = clips["subject"].to_numpy(), clips[by].to_numpy() == name
    other = ~np.isin(clips[by].to_numpy(), [name, *tested])
    if not other.any():
        raise MerBenchError(f"everything is tested, and nothing is left to train on for {name}")
    back = np.zeros(len(subject), bool)
    if validation:
        others, owner = np.unique(subject[other], return_inverse=True)
        if len(others) < 2:
            raise MerBenchError(f"without {name} one subject is left; two are needed to keep one back")
        labels = clips["label"].to_numpy()[other]
        chosen = others[_choose(owner, labels, share, named_seed(seed, "validation", name))]
        back = np.isin(subject, chosen)
    return Fold(name, *(np.flatnonzero(side) for side in (test, other & ~back, back)))


def inner(
    clips: pl.DataFrame, name: str, count: int, by: str = "subject", seed: str = NAME, tested: Sequence[str] = ()
) -> list[Fold]:
    """The trainings inside one fold.

    Args:
        clips: as in `loso`.
        name: the held-out subject, or corpus.
        count: 0 keeps nobody back (one training on everyone else); 1 is one hold-out, as in `loso`; more divide the
            other subjects into so many groups of like size and class mix, each validated once by the others.
        by: as in `loso`.
        seed: names the draw, as in `loso`.
        tested: as in `loso`.

    Raises:
        MerBenchError: nothing of that name, or fewer than `count` other subjects.
    """
    if name not in clips[by]:
        raise MerBenchError(f"no {by} {name} to leave out")
    if count < 2:
        return [_fold(clips, name, count == 1, SHARE, seed, by, tested)]
    whole = _fold(clips, name, False, SHARE, seed, by, tested)
    subjects, owner = np.unique(clips["subject"].to_numpy()[whole.train], return_inverse=True)
    if len(subjects) < count:
        raise MerBenchError(f"{len(subjects)} other subjects cannot be divided by {count}; use fewer inner folds")
    labels = clips["label"].to_numpy()[whole.train]
    groups = _divide(owner, labels, count, named_seed(seed, "groups", count, name))[owner]
    return [Fold(name, whole.test, whole.train[groups != g], whole.train[groups == g]) for g in range(count)]


def _divide(owner: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Group of each subject: the most even of many drawn divisions, by clips of each class and by subjects."""
    _, columns = np.unique(labels, return_inverse=True)
    clips = np.zeros((owner.max() + 1, columns.max() + 1))
    np.add.at(clips, (owner, columns), 1)
    rng = np.random.default_rng(seed)
    drawn = (rng.random((CANDIDATES, len(clips))).argsort(1)) % count
    held = np.stack([(drawn == g) @ clips for g in range(count)], 1)
    uneven = np.abs(held / clips.sum(0) - 1 / count).max((1, 2))
    return np.asarray(drawn[np.argmin(np.round(uneven, 9))])


def _choose(owner: np.ndarray, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Subject numbers kept back, from the other subjects' rows: the best of many drawn sets.

    First, no class may vanish from the remaining subjects; then the share of clips must lie within `TOLERANCE` of the
    wanted one; then the shares of every class, of all clips and of subjects are to be close to it.
    """
    subjects, rows = np.unique(owner, return_inverse=True)
    _, columns = np.unique(labels, return_inverse=True)
    clips = np.zeros((len(subjects), columns.max() + 1))
    np.add.at(clips, (rows, columns), 1)
    sets = _candidates(len(subjects), share, np.random.default_rng(seed))
    held = sets @ clips
    lost = (held == clips.sum(0)).sum(1)
    of_class = np.abs(held / clips.sum(0) - share).mean(1)
    of_clips = np.abs(held.sum(1) / clips.sum() - share)
    of_subjects = np.abs(sets.mean(1) - share)
    far = of_clips > TOLERANCE * share
    # Rounded, so that the last bit of a sum cannot decide on another machine.
    distance = np.round(of_class + of_clips + of_subjects, 9)
    return np.asarray(subjects[sets[np.lexsort((distance, far, lost))[0]]])


def _candidates(count: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Sets of subjects to compare, (sets, count) bool, neither empty nor full: all of them where they are few."""
    if 2**count - 2 <= CANDIDATES:
        numbers = rng.permutation(np.arange(1, 2**count - 1))
        return np.asarray((numbers[:, None] >> np.arange(count)) & 1, bool)
    wanted = share * count
    low, high = max(1, round(0.6 * wanted)), min(count - 1, round(1.4 * wanted) + 1)
    size = rng.integers(min(low, high), high, CANDIDATES, endpoint=True)
    rank = rng.random((CANDIDATES, count)).argsort(1).argsort(1)
    return np.asarray(rank < size[:, None])
