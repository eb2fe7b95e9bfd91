"""What a command would take, before it is started: folds, trainings, and a time told from a probe.

    settings: trial 0 and some that the sampler may propose ─► probed, as many processes at once as the search will use
    seconds of a fold, the mean over settings ─► x folds x trials x share that racing leaves / trials at a time
                                              ─► + finalists + refits + starting, recording

What cannot be known is assumed and said: racing's share, how long refits are, and where an adaptive sampler will go.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mer_bench import processes, selection, splits
from mer_bench.answering import commands, probing, searches
from mer_bench.answering.answers import shown
from mer_bench.answering.options import REFITTED, Options
from mer_bench.answering.options import options as options_of
from mer_bench.answering.ready import Command, Ready, Tick, known, prepare
from mer_bench.contracts import UsageError
from mer_bench.reports import prose
from mer_bench.searching import trials
from mer_bench.searching.cluster import Cluster, gpus
from mer_bench.searching.proposer import startup
from mer_bench.searching.space import STRICT
from mer_bench.searching.studies import Study
from mer_bench.searching.trials import Ended

DRAWN, LEARNT = (0.3, 0.2, 0.5), (0.7, 0.5, 0.9)
"""Share of a trial's folds that racing leaves, between what and what: of trials that were drawn, and of those that TPE
proposed, which are near the best and seldom worse for sure. Measured in a search of `mmnet` on `synth-3` that was
stopped after 76 trials: 28 % of 18 drawn ones, 68 % of the others; simulated for 200 trials: 41 % in all at 16 folds,
26 % at 68 (reports/racing.md)."""
REFIT = 0.7
"""Share of its epochs that a refit trains, because it stops at the chosen one."""
TRIAL, RAY, CONCLUSION = 0.3, 6.0, 8.0
"""Seconds: Ray's, Optuna's and MLflow's of a trial; starting Ray; scoring and recording."""


@dataclass(frozen=True)
class Plan:
    """What a command would take.

    Attributes:
        what: run or search.
        model, task: of what.
        folds: of the task.
        trainings: of one fold each, if none were dropped: trials, finalists, refits.
        epochs: of all trainings.
        workers: trainings at the same time.
        seconds: how long it takes; `ends` is from what to what.
        share: of the trials' folds that are trained, and between what.
        parts: what the seconds are made of.
        probed: seconds of a training of each setting that was probed, trial 0 first.
        notes: what is assumed.
    """

    what: str
    model: str
    task: str
    folds: int
    trainings: Mapping[str, int]
    epochs: int
    workers: int
    seconds: float
    ends: tuple[float, float]
    share: float
    share_ends: tuple[float, float]
    parts: Mapping[str, float]
    probed: tuple[float, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        return asdict(self)

    def words(self) -> str:
        """Lines for people."""
        kinds = f"{sum(self.trainings.values()):,} trainings"
        if len(self.trainings) > 1:
            kinds += f" ({', '.join(f'{count:,} of {name}' for name, count in self.trainings.items())})"
        low, high = (prose.duration(end) for end in self.ends)
        parts = ", ".join(f"{name} {prose.duration(seconds)}" for name, seconds in self.parts.items())
        return "\n".join(
            [
                f"{self.what} {self.model} on {self.task}: {self.folds} folds, {kinds}; {self.epochs:,} epochs at most",
                f"about {prose.duration(self.seconds)} ({low} to {high}), {self.workers} at a time: {parts}",
                *self.notes,
            ]
        )


def search(
    model: str,
    task: str = commands.DEFAULT_TASK,
    *,
    seeds: int = 1,
    settings: Mapping[str, Any] | None = None,
    space: str = "",
    device: str = "auto",
    scale: str = "task",
    workers: int | None = None,
    tick: Tick | None = None,
    **options: Any,
) -> Plan:
    """What `commands.search` with these arguments would take; trials on record are not counted."""
    asked = options_of(options)
    wanted = asked.wanted(seeds)
    command = Command(model, task, settings, scale, device, seeds, workers, space, asked.address, asked.gpus_per_trial)
    ready, question = searches.settled(command, asked, tick)
    study = searches.study_of(ready, asked, searches.place(ready, question, asked))
    ended = trials.everything(study)
    at_once = max(1, min(_at_once(ready.where), study.trials - len(ended) or processes.cores()))
    told = probing.recorded(study, ended) or probing.probed(probing.trainings(study, ended), at_once, tick)
    mean, ends = probing.typical(told.seconds, study.trials if not ended else 0, asked.sampler in STRICT)
    work = _Work(study, study.trials - len(ended), at_once, asked, seeds, wanted, told.start)
    share, share_ends = _share(asked, len(ended), at_once, told.share)
    parts = work.parts(mean, share)
    return Plan(
        what="search",
        model=shown(ready.space.model),
        task=task,
        folds=len(study.folds),
        trainings={name: count for name, count in work.trainings.items() if count},
        epochs=_epochs(ready) * sum(work.trainings.values()),
        workers=at_once,
        seconds=sum(parts.values()),
        ends=(sum(work.parts(ends[0], share_ends[0]).values()), sum(work.parts(ends[1], share_ends[1]).values())),
        share=share,
        share_ends=share_ends,
        parts={name: seconds for name, seconds in parts.items() if seconds},
        probed=told.seconds,
        notes=tuple(_notes(asked, ended, told, share, share_ends)),
    )


def run(
    model: str,
    task: str = commands.DEFAULT_TASK,
    *,
    seeds: int = 1,
    rules: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    scale: str = "task",
    keep_weights: bool = False,
    weights_dir: str | Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    tick: Tick | None = None,
) -> Plan:
    """What `commands.run` with these arguments would take.

    Raises:
        UsageError: an unknown name, or nothing to train.
    """
    known(rules, selection.RUN_RULES, "rule")
    if weights_dir is not None:
        raise UsageError("--weights-dir trains nothing: there is nothing to plan")
    ready = prepare(Command(model, task, settings, scale, device, seeds, workers, address=address))
    ready = ready.with_inputs([ready.setting.view], tick)
    passes = {rule == "inner" for rule in rules or commands.DEFAULT_RULES}
    everything = [training for held in sorted(passes) for training in ready.trainings(held)]
    here = not address and (ready.setting.recipe is None or ready.device != "cpu")
    at_once = 1 if here else min(_at_once(ready.where), len(everything))
    usual = probing.usual(task, ready.setting.view, [training.fold for training in ready.trainings(False)])
    mine = [replace(everything[0], fold=name) for name in usual[:at_once]]
    told = probing.probed(mine, at_once, tick)
    parts = {"trainings": len(everything) * statistics.mean(told.seconds) / at_once}
    if ready.setting.recipe is None:
        # what it makes of a clip is made once, whatever the folds
        parts["trainings"] = told.once + len(everything) * statistics.mean(told.seconds)
    parts["starting and recording"] = (told.start if at_once > 1 else 0.0) + CONCLUSION
    around = sum(parts.values()) - parts["trainings"]
    ends = [around + parts["trainings"] * end / statistics.mean(told.seconds) for end in probing.ends(told.seconds)]
    return Plan(
        what="run",
        model=shown(ready.space.model),
        task=task,
        folds=len(everything) // (seeds * len(passes)),
        trainings={"folds": len(everything)},
        epochs=_epochs(ready) * len(everything),
        workers=at_once,
        seconds=sum(parts.values()),
        ends=(ends[0], ends[1]),
        share=1.0,
        share_ends=(1.0, 1.0),
        parts=parts,
        probed=told.seconds,
        notes=(),
    )


@dataclass(frozen=True)
class _Work:
    """A search's trainings and how long they take, given the seconds of one."""

    study: Study
    missing: int
    at_once: int
    asked: Options
    seeds: int
    wanted: Sequence[str]
    start: float

    @property
    def refits(self) -> int:
        return sum(rule in REFITTED for rule in self.wanted)

    @property
    def trainings(self) -> dict[str, int]:
        """By kind."""
        folds, inner = len(self.study.folds), self.asked.inner_folds
        names = {rule.removesuffix("-no-refit") for rule in self.wanted if rule != "oracle-trial"}
        finals = (self.asked.top or 0) * (self.seeds - 1) * folds * len(names)
        return {
            "trials": self.missing * folds * inner,
            "finalists": finals * inner,
            "refits": self.refits * self.seeds * folds,
        }

    def parts(self, one: float, share: float) -> dict[str, float]:
        """Seconds by what they are spent on.

        The last trials do not end together: half a trial of every worker but one is waited for.
        """
        counts, inner = self.trainings, self.asked.inner_folds
        trial = one * inner * len(self.study.folds) * share
        waiting = trial / 2 * (self.at_once - 1) / self.at_once if self.missing > self.at_once else 0.0
        spent = (self.missing * (trial + TRIAL) / self.at_once + waiting) if self.missing else 0.0
        if self.asked.budget is not None:
            spent = min(spent, self.asked.budget + trial)
        grown = inner / (inner - 1) if inner > 1 else 1 / (1 - splits.SHARE)
        return {
            "trials": spent,
            "finalists": counts["finalists"] * one / self.at_once,
            "refits": counts["refits"] * one * REFIT * grown / self.at_once,
            "starting and recording": (RAY + self.start if self.missing else 0.0)
            + self.refits * self.start
            + CONCLUSION,
        }


def _at_once(where: Cluster) -> int:
    """Trials at the same time: as many as workers, and on this machine's GPUs as many as share them.

    Of a cluster that says nothing as many as this machine has cores are assumed.
    """
    count = where.workers or processes.cores()
    part = where.share.get("gpu")
    return count if part is None or where.address else min(count, max(1, int(gpus() / part)))


def _share(asked: Options, ended: int, at_once: int, measured: float | None) -> tuple[float, tuple[float, float]]:
    """Share of the missing trials' folds that are trained: the first trials meet no one to lose against."""
    missing = asked.trials - ended
    if not asked.racing or missing <= 0:
        return 1.0, (1.0, 1.0)
    if measured is not None:
        return measured, (measured, measured)
    whole = max(0, min(missing, at_once - ended))
    learnt = 0 if asked.sampler in STRICT else max(0, min(missing - whole, asked.trials - startup(asked.trials)))
    share, low, high = (
        (whole + (missing - whole - learnt) * drawn + learnt * tpe) / missing
        for drawn, tpe in zip(DRAWN, LEARNT, strict=True)
    )
    return share, (low, high)


def _epochs(ready: Ready) -> int:
    return ready.setting.recipe.epochs if ready.setting.recipe else 1


def _notes(
    asked: Options, ended: Sequence[Ended], told: probing.Told, share: float, share_ends: tuple[float, float]
) -> list[str]:
    """What is assumed, in words."""
    found = [f"the time of a fold is told {told.source}"]
    if ended:
        found.append(f"{len(ended)} of {asked.trials} trials are on record already")
    if told.share is not None and asked.racing:
        found.append(f"racing left {share:.0%} of their folds, and is assumed to go on so")
    elif share < 1:
        low, high = share_ends
        found.append(f"racing is assumed to leave {share:.0%} of the trials' folds ({low:.0%} to {high:.0%})")
    if asked.sampler not in STRICT:
        found.append(
            "tpe gathers near what scores well, be it cheap or dear: the ends are the two halves of the settings"
        )
    if asked.address:
        found.append("the cluster is assumed to be as fast as this machine")
    return found
