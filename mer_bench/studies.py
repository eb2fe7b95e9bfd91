"""A study: its resolved question, one trial of it, and what its rules conclude. It knows no scheduler.

proposal ─► trial: one training per fold, validation subjects kept back ─► pass folder, inner UF1
pass folders ─► rule ─► each fold's choice ─► refit on all its training subjects ─► test rows that speak
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mer_bench import loso, predictions, selection
from mer_bench.contracts import MerBenchError, Scale, Setting
from mer_bench.fold import Training
from mer_bench.space import STRICT, Space


@dataclass(frozen=True)
class Study:
    """The resolved question of a search.

    Attributes:
        space, task, scale: what is searched, on what, at which size.
        sampler: tpe (adaptive) or qmc, random (strict).
        trials: how many, trial 0 being the published setting at the task's scale.
        seed: of proposals and of the trials' trainings.
        folder: where passes go, absolute; shared storage on a cluster.
        bf16, channels_last: the probe's answer for trial 0.
        device: cpu, cuda or mps.
    """

    space: Space
    task: str
    scale: Scale
    sampler: str
    trials: int
    seed: int
    folder: Path
    bf16: bool
    channels_last: bool
    device: str

    @property
    def strictness(self) -> str:
        """`strict` if no proposal has seen any subject's labels, else `adaptive`."""
        return "strict" if self.sampler in STRICT else "adaptive"

    def trial_folder(self, number: int) -> Path:
        """Where a trial's pass lies."""
        return self.folder / f"trial-{number:04d}"

    def training(self, fold: str, values: Mapping[str, Any]) -> Training:
        """One fold's training of a proposal, validation subjects kept back."""
        setting = self.space.setting(values, self.scale)
        return Training(
            self.task,
            setting,
            self.seed,
            fold,
            validation=True,
            bf16=self.bf16,
            channels_last=self.channels_last,
            device=self.device,
        )


@dataclass(frozen=True)
class TrialRecord:
    """How a trial ended: its number, values, objective and folder; `error` says why it has none."""

    number: int
    values: Mapping[str, Any]
    inner_uf1: float | None
    seconds: float
    folder: Path | None
    error: str = ""


def run_trial(study: Study, number: int, values: Mapping[str, Any]) -> TrialRecord:
    """One trial: train every fold, write the pass, score the validation subjects.

    A fold whose loss is no longer a number is on record without rows and the other folds go on: what happens in one
    fold must not decide about another. The trial's objective is then 0.
    """
    began = time.perf_counter()
    first = study.training("", values)
    trainings = [replace(first, fold=fold) for fold in loso.folds(study.task, first.setting)]
    record = {"trial": number, "values": dict(values)}
    folder = study.trial_folder(number)
    if not (folder / predictions.DONE).is_file():  # else a worker died after writing: the tables are there
        loso.run_pass(trainings, folder, record)
    diverged = next((f["diverged"] for f in predictions.record(folder)["folds"] if f["diverged"]), "")
    objective = 0.0 if diverged else selection.inner_uf1(folder)
    return TrialRecord(number, values, objective, time.perf_counter() - began, folder, diverged)


@dataclass(frozen=True)
class Refits:
    """How choices are trained once more: on all training subjects of a fold, for `seeds` repetitions.

    `tick_of` gives a rule its progress.
    """

    study: Study
    seeds: int
    workers: int
    tick_of: Callable[[str], loso.Tick | None]


def conclude(rule: str, folders: Mapping[int, Path], refits: Refits) -> selection.Chosen:
    """The test rows that a rule of a study lets speak, refitted where the rule says so.

    A fold whose refit diverges speaks by its choice as it was trained in its trial, and `pass.json` says which.

    Raises:
        MerBenchError: a fold diverged in every trial.
    """
    if rule == "oracle-trial":
        return selection.oracle_trial(folders)
    name = rule.removesuffix("-no-refit")
    choices = chosen_by(name, folders)
    _complete(choices, folders)
    if name != rule:
        return selection.at_choices(folders, choices)
    again = refits.study.folder / f"refit-{rule}"
    trainings = refit(refits.study, choices, values_of(folders), refits.seeds)
    record = {"choices": {fold: [c.trial, c.epoch] for (_, fold), c in choices.items()}}
    loso.run_pass(trainings, again, record, workers=refits.workers, tick=refits.tick_of(rule))
    lost = {(f["seed"], f["fold"]) for f in predictions.record(again)["folds"] if f["diverged"]}
    stand_in = {(seed, fold): choices[refits.study.seed, fold] for seed, fold in lost}
    return selection.refitted(again, folders, stand_in, refits.study.seed)


def chosen_by(name: str, folders: Mapping[int, Path]) -> dict[tuple[int, str], selection.Choice]:
    """Each fold's choice under `nested` or `shared`."""
    return (selection.nested if name == "nested" else selection.shared)(folders)


@dataclass(frozen=True)
class Searched:
    """What a finished study's report draws; `rules` are those it was asked for."""

    study: Study
    folders: Mapping[int, Path]
    rules: Sequence[str]

    @functools.cached_property
    def choices(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Rule -> fold -> (trial, epoch), of the rules that choose by validation subjects."""
        names = dict.fromkeys(r.removesuffix("-no-refit") for r in self.rules if not selection.is_leaky(r))
        return {
            name: {fold: (c.trial, c.epoch) for (_, fold), c in sorted(chosen_by(name, self.folders).items())}
            for name in names
        }

    @property
    def costed(self) -> int:
        """The trial that most folds chose under the headline's rule (ties to the lower); else the first."""
        trials = [trial for trial, _ in next(iter(self.choices.values()), {}).values()] or [min(self.folders)]
        return max(sorted(set(trials)), key=trials.count)

    @property
    def costed_setting(self) -> Setting:
        """The setting of that trial."""
        return self.study.space.setting(values_of(self.folders)[self.costed], self.study.scale)

    @property
    def curve(self) -> dict[int, dict[int, float]]:
        """How its validation UF1 moved."""
        return selection.validation_curve(self.folders[self.costed])


def _complete(choices: Mapping[tuple[int, str], selection.Choice], folders: Mapping[int, Path]) -> None:
    folds = {part["fold"] for folder in folders.values() for part in predictions.record(folder)["folds"]}
    missing = sorted(folds - {fold for _, fold in choices})
    if missing:
        raise MerBenchError(f"no trial finished fold {missing[0]} ({len(missing)} in all); lower the learning rates")


def refit(
    study: Study,
    choices: Mapping[tuple[int, str], selection.Choice],
    values: Mapping[int, Mapping[str, Any]],
    seeds: int,
) -> list[Training]:
    """Trainings that repeat each fold's choice on all its training subjects, up to the chosen epoch."""
    return [
        replace(
            study.training(fold, values[choice.trial]),
            validation=False,
            stop_after=choice.epoch,
            seed=study.seed + extra,
        )
        for extra in range(seeds)
        for (_, fold), choice in sorted(choices.items())
    ]


def values_of(folders: Mapping[int, Path]) -> dict[int, dict[str, Any]]:
    """Each trial's proposed values, from its pass record."""
    return {number: predictions.record(folder)["values"] for number, folder in folders.items()}
