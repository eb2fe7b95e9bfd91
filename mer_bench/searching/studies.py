"""A study: its resolved question, and what its rules conclude from finished trials. It knows no scheduler.

trials' passes ─► rule ─► each fold's choice ─► refit on all its training subjects ─► test rows that speak
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench import predictions, processes, selection
from mer_bench.contracts import MerBenchError, Scale, Setting
from mer_bench.pixels import cache
from mer_bench.searching.space import STRICT, Space
from mer_bench.seeds import seed
from mer_bench.training import loso
from mer_bench.training.fold import Training


@dataclass(frozen=True)
class Study:
    """The resolved question of a search.

    Attributes:
        space, task, scale: what is searched, on what, at which size.
        sampler: tpe (adaptive) or qmc, random (strict).
        trials: how many, trial 0 being the published setting at the task's scale.
        seed: of proposals and of the trials' trainings.
        folder: where its trials are, absolute; shared storage on a cluster.
        folds: the task's subjects, in the order in which every trial takes them.
        racing: whether trials are dropped by their first folds.
        inner_folds: 1 keeps back about a quarter of a fold's training subjects; more validate each of them once.
        timeout: seconds after which a trial is given up, None for never.
        bf16, channels_last: the probe's answer for trial 0.
        device: cpu, cuda or mps.
        code: hash of the method's file.
    """

    space: Space
    task: str
    scale: Scale
    sampler: str
    trials: int
    seed: int
    folder: Path
    folds: tuple[str, ...]
    racing: bool = False
    inner_folds: int = 1
    timeout: float | None = None
    bf16: bool = False
    channels_last: bool = False
    device: str = "cpu"
    code: str = ""

    @property
    def strictness(self) -> str:
        """`strict` if nothing that was proposed or dropped has seen any subject's labels, else `adaptive`.

        A time limit takes a trial from all folds, and how long a fold takes may depend on its labels.
        """
        return "strict" if self.sampler in STRICT and not self.racing and self.timeout is None else "adaptive"

    def training(self, fold: str, values: Mapping[str, Any]) -> Training:
        """One fold's training of a proposal, validation subjects kept back."""
        setting = self.space.setting(values, self.scale)
        return Training(
            self.task,
            setting,
            self.seed,
            fold,
            validation=True,
            inner_folds=self.inner_folds,
            bf16=self.bf16,
            channels_last=self.channels_last,
            device=self.device,
            code=self.code,
        )


def shuffled(folds: Sequence[str], study_seed: int) -> tuple[str, ...]:
    """A study's fold order, drawn once from its seed: racing looks at the first ones."""
    order = np.random.default_rng(seed("fold order", study_seed)).permutation(len(folds))
    return tuple(folds[i] for i in order)


@dataclass(frozen=True)
class Refits:
    """How choices are trained once more: on all training subjects of a fold, for `seeds` repetitions.

    `tick_of` gives progress of what is named.
    """

    study: Study
    seeds: int
    workers: processes.Workers
    tick_of: Callable[[str], loso.Tick | None]


@dataclass(frozen=True)
class Final:
    """A choice among finalists (see `finals`).

    Attributes:
        choices: each fold's, keyed by the first seed.
        again: (further seed, fold) -> the chosen trial's pass of that fold.
    """

    choices: Mapping[tuple[int, str], selection.Choice]
    again: Mapping[tuple[int, str], Path]


def conclude(
    rule: str, folders: Mapping[int, Path], refits: Refits, finals: Mapping[str, Final] | None = None
) -> selection.Chosen:
    """The test rows that a rule of a study lets speak, refitted where the rule says so.

    A fold whose refit diverges speaks by its choice as it was trained in its trial, and `pass.json` says which. With
    finalists (`finals`: `nested` or `shared` -> their choice) the rules without refit speak under every seed too.

    Raises:
        MerBenchError: a fold diverged in every trial.
    """
    if rule == "oracle-trial":
        return selection.oracle_trial(folders)
    name = rule.removesuffix("-no-refit")
    final = (finals or {}).get(name)
    choices = final.choices if final else chosen_by(name, folders)
    _complete(choices, folders)
    if name != rule:
        first = refits.study.seed
        return selection.repeated(
            folders, choices, final.again if final else {}, range(first, first + (refits.seeds if final else 1))
        )
    chosen = {fold: (c.trial, c.epoch) for (_, fold), c in choices.items()}
    record = {"choices": {fold: list(choice) for fold, choice in chosen.items()}, "seeds": refits.seeds}
    again = refits.study.folder / refit_name(rule, chosen, refits.seeds)
    trainings = refit(refits.study, choices, values_of(folders), refits.seeds)
    ends = loso.run_pass(trainings, again, record, workers=refits.workers, tick=refits.tick_of(f"refit {rule}"))
    lost = {(end["seed"], end["fold"]) for end in ends if end["diverged"]}
    stand_in = {(again_seed, fold): choices[refits.study.seed, fold] for again_seed, fold in lost}
    return selection.refitted(again, folders, stand_in, refits.study.seed)


def refit_name(rule: str, chosen: Mapping[str, tuple[int, int]], seeds: int) -> str:
    """A refit's folder, named by what was chosen (fold -> trial, epoch).

    More trials may choose otherwise, and the same choice need not be trained again.
    """
    return f"refit-{rule}-{cache.key({'choices': {f: list(c) for f, c in chosen.items()}, 'seeds': seeds})[:8]}"


def diverged(study: Study, rule: str, chosen: Mapping[str, tuple[int, int]], seeds: int) -> list[str]:
    """Folds whose refit diverged under some seed, sorted; none where nothing was refitted."""
    again = study.folder / refit_name(rule, chosen, seeds)
    if not (again / predictions.DONE).is_file():
        return []
    return sorted({end["fold"] for end in predictions.record(again)["folds"] if end["diverged"]})


def chosen_by(name: str, folders: Mapping[int, Path]) -> dict[tuple[int, str], selection.Choice]:
    """Each fold's choice under `nested` or `shared`."""
    return (selection.nested if name == "nested" else selection.shared)(folders)


@dataclass(frozen=True)
class Searched:
    """What a finished study's report draws; `rules` are those it was asked for, `finals` as in `conclude`."""

    study: Study
    folders: Mapping[int, Path]
    rules: Sequence[str]
    finals: Mapping[str, Final] = field(default_factory=dict)

    @functools.cached_property
    def choices(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Rule -> fold -> (trial, epoch), of the rules that choose by validation subjects."""
        names = dict.fromkeys(r.removesuffix("-no-refit") for r in self.rules if not selection.is_leaky(r))
        chosen = {n: self.finals[n].choices if n in self.finals else chosen_by(n, self.folders) for n in names}
        return {n: {fold: (c.trial, c.epoch) for (_, fold), c in sorted(of.items())} for n, of in chosen.items()}

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
    parts = [part for folder in folders.values() for part in predictions.record(folder)["folds"]]
    missing = sorted({part["fold"] for part in parts} - {fold for _, fold in choices})
    if missing:
        why = next(part["diverged"] for part in parts if part["fold"] == missing[0])
        raise MerBenchError(f"no trial finished fold {missing[0]} ({len(missing)} in all): {why}")


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
            inner_folds=1,
            stop_after=choice.epoch,
            seed=study.seed + extra,
        )
        for extra in range(seeds)
        for (_, fold), choice in sorted(choices.items())
    ]


def values_of(folders: Mapping[int, Path]) -> dict[int, dict[str, Any]]:
    """Each trial's proposed values, from its pass record."""
    return {number: predictions.record(folder)["values"] for number, folder in folders.items()}
