"""How the race's first look and threshold were chosen: a simulation of studies. Prints the table of reports/racing.md.

    python tests/benchmarks/racing.py [--repetitions 20000] > reports/racing.md

A study's losses are drawn: fold effect + trial effect + residual of spread 1 (normal, or Student's t with 4 degrees of
freedom scaled to 1, or with half of its variance shared by neighbouring folds, as folds share validation subjects).
*Equal* means that challenger and incumbent have the same trial effect. Against a *fixed* incumbent the two are any two
trials; against a *lucky* one the incumbent is the best of ten equally good trials by its mean over all folds, which is
whom a late challenger meets. *Folds trained* is the share of all folds that 200 trials train whose effects are spread
like those of `mmnet` on `synth-3` (a third within one residual spread of the best, the rest up to 8 spreads worse).

*Halved at best*: a race that also looks in the middle of a fold's epochs can end a dropped trial half a fold sooner at
most. The column takes that from every dropped trial and asks nothing for it, though looking twice as often halves the
threshold, and the middle of a schedule that rises and falls says little about its end. It is not done.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

FOLDS = (16, 26, 68)
FIRSTS = (2, 3, 4, 6)
PRIORS = (0, 4, 8)
ALPHA = 0.2
CHOSEN = (3, 4)
KINDS = ("normal", "heavy", "shared")


def residuals(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Residual losses of spread 1, folds last."""
    if kind == "heavy":
        return np.asarray(rng.standard_t(4, shape) / np.sqrt(2))
    drawn = rng.standard_normal(shape)
    if kind == "shared":
        return np.asarray((drawn + np.roll(drawn, 1, -1)) / np.sqrt(2))
    return drawn


def p_values(gaps: np.ndarray, prior: np.ndarray | float = 0.0, weight: int = 0) -> np.ndarray:
    """One-sided p of the moderated paired t-test after 1, 2, ... folds (the first gives 1).

    Args:
        gaps: (..., folds).
        prior: variance of other trials' gaps, (..., 1).
        weight: degrees of freedom that it counts.
    """
    count = np.arange(1, gaps.shape[-1] + 1)
    mean, freedom = gaps.cumsum(-1) / count, count - 1
    squares = np.maximum((gaps**2).cumsum(-1) - count * mean**2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (weight * prior + squares) / (weight + freedom)
        found = stats.t.sf(mean / np.sqrt(variance / count), weight + freedom)
    return np.where(count < 2, 1.0, found)


def stopped(p: np.ndarray, first: int, threshold: float) -> np.ndarray:
    """Folds trained of each trial: the first look from `first` on with p below the threshold, else all."""
    folds = p.shape[-1]
    out = (p < threshold) & (np.arange(1, folds + 1) >= first) & (np.arange(1, folds + 1) < folds)
    return np.where(out.any(-1), out.argmax(-1) + 1, folds)


def equal(
    rng: np.random.Generator, kind: str, folds: int, repetitions: int, lucky: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps of equally good challengers (repetitions, folds), and the median variance of three other finished trials."""
    others = residuals(rng, kind, (repetitions, 10 if lucky else 4, folds))
    best = others[np.arange(repetitions), others.mean(-1).argmin(-1) if lucky else 0][:, None]
    spread = np.median((others[:, 1:4] - best).var(-1, ddof=1), -1)
    return (residuals(rng, kind, (repetitions, 1, folds)) - best)[:, 0], spread[:, None]


def trained(rng: np.random.Generator, folds: int, first: int, weight: int, studies: int) -> tuple[float, float]:
    """Share of folds that a study of 200 trials trains, racing against the best finished one; then halved at best."""
    shares, halved = [], []
    for _ in range(studies):
        effects = np.where(rng.random(200) < 1 / 3, rng.uniform(0, 1, 200), rng.uniform(1, 8, 200))
        losses = effects[:, None] + residuals(rng, "normal", (200, folds))
        best, done, dropped, spreads = losses[0], folds, 0, [2.0]
        for challenger in losses[1:]:
            gaps = challenger - best
            count = int(stopped(p_values(gaps, float(np.median(spreads)), weight), first, ALPHA / (folds - first)))
            done += count
            dropped += count < folds
            if count == folds:
                spreads.append(float(gaps.var(ddof=1)))
                best = challenger if gaps.mean() < 0 else best
        shares.append(done / (200 * folds))
        halved.append((done - dropped / 2) / (200 * folds))
    return float(np.mean(shares)), float(np.mean(halved))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=20000)
    repetitions = parser.parse_args().repetitions
    rng = np.random.default_rng(0)
    print(f"# The race over folds: what was simulated\n\n{__doc__.split(chr(10) * 2, 2)[2].strip()}\n")
    print(
        f"`tests/benchmarks/racing.py`, {repetitions:,} repetitions, seed 0. Chosen: look first at {CHOSEN[0]} folds,"
    )
    print(f"finished trials' spread counts {CHOSEN[1]} folds, p < {ALPHA} / (folds - {CHOSEN[0]}).\n")
    head = "folds | first look | prior | equal, fixed | heavy tails | shared | equal, lucky | folds trained"
    head += " | halved at best"
    print(f"| {head} |\n{'|---' * (head.count('|') + 1)}|")
    for folds in FOLDS:
        draws = {kind: equal(rng, kind, folds, repetitions, lucky=False) for kind in KINDS}
        draws["lucky"] = equal(rng, "normal", folds, repetitions // 4, lucky=True)
        for first in FIRSTS:
            for weight in PRIORS:
                threshold = ALPHA / (folds - first)
                runs = [stopped(p_values(*drawn, weight), first, threshold) for drawn in draws.values()]
                cells = [*(np.mean(run < folds) for run in runs), *trained(rng, folds, first, weight, 20)]
                name = f"**{folds}**" if (first, weight) == CHOSEN else f"{folds}"
                print(f"| {name} | {first} | {weight} | {' | '.join(f'{cell:.1%}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
