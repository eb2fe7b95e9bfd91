"""Racing: stop a trial that its first folds show to be worse than the best one, paired by fold.

    challenger's losses, folds 1..k  ┐
    incumbent's losses, same folds   ┴─► mean gap, one-sided t ─► p < ALPHA / looks: drop

The loss of a fold is the smoothed mean log-loss of its validation subjects at its own epoch, which is what `nested`
chooses by. The incumbent is the completed trial of the least mean loss. Looks begin at `FIRST` folds and are repeated
after every fold but the last; dividing `ALPHA` by their number pays for the repetition whatever the folds share, so a
trial exactly as good as the incumbent is dropped in at most a fifth of studies. Of a spread that two or three folds
show little is known, so it is drawn towards the spread of the finished trials' gaps, which counts as `PRIOR` more folds
(the moderated t of Smyth 2004, Stat Appl Genet Mol Biol 3:3). The constants were chosen by
`tests/benchmarks/racing.py`; its table is `reports/racing.md`, which also says why no look is taken within a fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

FIRST = 3
ALPHA = 0.2
PRIOR = 4


@dataclass(frozen=True)
class Look:
    """What a look at a challenger said: mean loss above the incumbent's, over so many folds, and how sure."""

    against: int
    folds: int
    gap: float
    p: float
    threshold: float

    @property
    def drops(self) -> bool:
        """Whether the challenger is out."""
        return self.folds >= FIRST and self.p < self.threshold

    @property
    def reason(self) -> str:
        """In words."""
        return f"worse than trial {self.against} by {self.gap:.3f} log-loss over {self.folds} folds, p = {self.p:.2g}"


def incumbent(losses: Mapping[int, Mapping[int, float]], folds: int) -> int | None:
    """The trial of the least mean loss among those that finished all folds; ties to the lower number."""
    means = {n: math.fsum(by.values()) / folds for n, by in losses.items() if len(by) == folds}
    return min(means, key=lambda n: (round(means[n], 9), n)) if means else None


def look(challenger: Mapping[int, float], finished: Mapping[int, Mapping[int, float]], folds: int) -> Look | None:
    """Compare with the incumbent on the challenger's folds; None while there is no incumbent.

    Args:
        challenger: fold -> loss.
        finished: trial -> fold -> loss, of completed trials.
        folds: of the study.
    """
    best = incumbent(finished, folds)
    if best is None:
        return None
    gaps = _gaps(challenger, finished[best])
    spreads = [float(_gaps(by, finished[best]).var(ddof=1)) for n, by in finished.items() if n != best and len(by) > 1]
    p = p_worse(gaps, float(np.median(spreads)) if len(spreads) > 1 else None)
    return Look(best, len(gaps), float(gaps.mean()), p, ALPHA / looks(folds))


def looks(folds: int) -> int:
    """How often a challenger is looked at before its last fold."""
    return max(1, folds - FIRST)


def p_worse(gaps: np.ndarray, prior: float | None = None) -> float:
    """One-sided p of a paired t-test that the mean gap is above 0; 1 for fewer than two gaps and for gaps all 0.

    Args:
        gaps: challenger minus incumbent, a fold each.
        prior: variance that other trials' gaps show, if anything is known of it.
    """
    if len(gaps) < 2:
        return 1.0
    freedom, variance = len(gaps) - 1, float(gaps.var(ddof=1))
    if prior is not None:
        variance = (PRIOR * prior + freedom * variance) / (PRIOR + freedom)
        freedom += PRIOR
    if variance == 0:
        return 0.0 if gaps.mean() > 0 else 1.0
    return float(stdtr(freedom, -gaps.mean() / math.sqrt(variance / len(gaps))))


def _gaps(challenger: Mapping[int, float], best: Mapping[int, float]) -> np.ndarray:
    return np.array([challenger[place] - best[place] for place in sorted(challenger.keys() & best.keys())])
