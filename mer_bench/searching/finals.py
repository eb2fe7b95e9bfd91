"""Finalists: a study's best trials, trained with more seeds before one of them is chosen.

    trials, first seed ─► N finalists ─► M - 1 more seeds ─► loss averaged over M seeds ─► choice ─► refit, M seeds

Every choice here reads validation rows alone, and which labels may touch it is as in `selection`:

    nested   each fold has N finalists of its own, those of least loss on its own validation subjects, and among them
             the one of least loss averaged over seeds speaks for it. The held-out subject is in no validation set of
             its fold, so its labels decide neither who is a finalist nor who is chosen: a strict study stays strict.
    shared   the N trials of best pooled inner UF1, and of these the one whose pooled inner UF1, averaged over seeds,
             is best: every fold's validation subjects have a say in both, which is what `shared` means.

A fold's epoch is that of the least log-loss averaged over seeds (and smoothed over epochs, as ever). A seed moves the
training alone: a fold's validation subjects are the same under every one. N finalists of each fold cost as many
trainings as N finalists of the whole study: N x (M - 1) x folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from mer_bench import metrics, predictions, processes, selection
from mer_bench.searching import studies, trials
from mer_bench.searching.studies import Final, Study
from mer_bench.selection import DIGITS, Choice
from mer_bench.training import loso


@dataclass(frozen=True)
class Finals:
    """What is asked of finalists.

    Attributes:
        study: the study's folder.
        first: the seed that every trial was trained with; further ones are the numbers after it.
        top: finalists, of each fold under `nested`, of the study under `shared`.
        seeds: in all.
    """

    study: Path
    first: int
    top: int
    seeds: int

    @property
    def further(self) -> range:
        """The seeds that only finalists are trained with."""
        return range(self.first + 1, self.first + self.seeds)

    def place(self, trial: int, seed: int, fold: str) -> Path:
        """Where a fold of a finalist is, under a further seed."""
        return trials.below(self.study, trial) / f"seed-{seed}" / fold

    def repetitions(self, trial: int, folds: Sequence[str]) -> dict[tuple[int, str], Path]:
        """(further seed, fold) -> its pass, of those that are trained and did not diverge."""
        places = {(seed, fold): self.place(trial, seed, fold) for seed in self.further for fold in folds}
        there = {key: place for key, place in places.items() if (place / predictions.DONE).is_file()}
        return {key: place for key, place in there.items() if not predictions.record(place)["folds"][0]["diverged"]}


def finalists(name: str, folders: Mapping[int, Path], top: int) -> dict[str, tuple[int, ...]]:
    """Fold -> its finalists under `nested` or `shared`, best first; see the module."""
    if name == "nested":
        ranked = selection.by_fold(folders)
        return {fold: tuple(choice.trial for choice in choices[:top]) for (_, fold), choices in ranked.items()}
    best = tuple(selection.by_pooled(folders)[:top])
    return {fold: best for _, fold in selection.inner(folders[best[0]])}


def train(
    study: Study,
    folders: Mapping[int, Path],
    finals: Finals,
    names: Sequence[str],
    workers: processes.Workers,
    tick: loso.Tick | None,
) -> None:
    """Train the finalists of these rules with the further seeds; what is on record is not trained again.

    Args:
        study: whose.
        folders: trial -> its pass, of the trials that may be chosen.
        finals: how many, and with which seeds.
        names: `nested`, `shared` or both.
        workers: processes.
        tick: called with (done, total, fold).
    """
    ranked = [finalists(name, folders, finals.top) for name in names]
    pairs = {(trial, fold) for of in ranked for fold, best in of.items() for trial in best}
    values = studies.values_of(folders)
    jobs = [
        (finals.place(trial, seed, fold), replace(study.training(fold, values[trial]), seed=seed))
        for seed in finals.further
        for trial, fold in sorted(pairs)
    ]
    trials.forget_attempts(study)
    loso.keep(jobs, workers=workers, tick=tick)


def choose(name: str, folders: Mapping[int, Path], finals: Finals) -> Final:
    """Each fold's trial and epoch among trained finalists, by what validation says under all seeds.

    A finalist that diverged under a further seed is no candidate, of that fold under `nested`, of any under `shared`;
    where none is left the first seed decides, as it does without finalists.
    """
    ranked = finalists(name, folders, finals.top)
    by_trial = {
        trial: [fold for fold, best in ranked.items() if trial in best] for best in ranked.values() for trial in best
    }
    rows = {trial: _curves(folders[trial], finals, trial, folds) for trial, folds in sorted(by_trial.items())}
    means = {trial: averaged(found, trial, finals.seeds) for trial, found in rows.items()}
    if name == "nested":
        chosen = _each(ranked, means, selection.nested(folders), finals.first)
    else:
        chosen = _one(ranked, means, rows) or {fold: c for (_, fold), c in selection.shared(folders).items()}
    again: dict[tuple[int, str], Path] = {}
    for fold, choice in chosen.items():
        again |= finals.repetitions(choice.trial, [fold])
    return Final({(finals.first, fold): choice for fold, choice in sorted(chosen.items())}, again)


def averaged(rows: pl.DataFrame, trial: int, seeds: int) -> dict[str, Choice]:
    """Each fold's epoch by log-loss averaged over seeds, then as in `selection.inner`.

    Args:
        rows: `selection.curves` of one trial, each (seed, fold) once; a fold with fewer than `seeds` is left out.
        trial: its number.
        seeds: how many.
    """
    chosen = {}
    for (fold,), part in rows.sort("epoch", "seed").group_by(["fold"], maintain_order=True):
        if part["seed"].n_unique() == seeds:
            means = part.group_by("epoch", maintain_order=True).agg(pl.col("loss").mean())
            losses = np.round(selection.smooth(means["loss"].to_numpy()), DIGITS)
            best = int(np.argmin(losses))
            chosen[str(fold)] = Choice(trial, int(means["epoch"][best]), float(losses[best]))
    return chosen


def averaged_uf1(rows: pl.DataFrame, choices: Mapping[str, Choice]) -> float:
    """Pooled inner UF1 under each seed, every fold at the epoch chosen for it; the mean over seeds."""
    at = pl.col("fold").replace_strict({fold: choice.epoch for fold, choice in choices.items()}, default=None)
    each = []
    for _, part in rows.filter(pl.col("epoch") == at).sort("seed").group_by(["seed"], maintain_order=True):
        counts = np.array(part["counts"].to_list(), np.int64).sum(0)
        classes = round(len(counts) ** 0.5)
        each.append(float(metrics.uf1(counts.reshape(classes, classes), absent="zero")))
    return round(float(np.mean(each)), DIGITS)


def _curves(folder: Path, finals: Finals, trial: int, folds: Sequence[str]) -> pl.DataFrame:
    """The validation record of a finalist under every seed."""
    parts = [folder, *finals.repetitions(trial, folds).values()]
    return pl.concat([selection.curves(part).filter(pl.col("fold").is_in(list(folds))) for part in parts])


def _each(
    ranked: Mapping[str, Sequence[int]],
    means: Mapping[int, Mapping[str, Choice]],
    otherwise: Mapping[tuple[int, str], Choice],
    first: int,
) -> dict[str, Choice]:
    """Each fold's best finalist; ties to the lower trial."""
    found = {}
    for fold, best in ranked.items():
        whole = [means[trial][fold] for trial in best if fold in means[trial]]
        found[fold] = min(whole, key=lambda choice: (choice.loss, choice.trial), default=otherwise[first, fold])
    return found


def _one(
    ranked: Mapping[str, Sequence[int]], means: Mapping[int, Mapping[str, Choice]], rows: Mapping[int, pl.DataFrame]
) -> dict[str, Choice] | None:
    """The best finalist of the study, its choice in each fold; ties to the lower trial; None if none is whole."""
    whole = [trial for trial, choices in means.items() if choices.keys() == ranked.keys()]
    scores = {trial: averaged_uf1(rows[trial], means[trial]) for trial in whole}
    return dict(means[min(scores, key=lambda trial: (-scores[trial], trial))]) if scores else None
