"""A search as a command: find its study or start one, run what is missing, conclude, record.

A study is named by the hash of its question (space, task, sampler, seed, sizes; not the number of trials) and of the
harness's code, so asking again continues it: more trials go on from those that are there, and neither two spaces nor
trials of two harnesses ever merge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import (
    answers,
    attachments,
    cache,
    hindsight,
    loso,
    provenance,
    selection,
    shelf,
    studies,
    tracking,
    trials,
    tune,
)
from mer_bench.answers import Answer, Found, shown
from mer_bench.contracts import UsageError
from mer_bench.evidence import Curve, Trial
from mer_bench.ready import Ready, Tick, known, prepare
from mer_bench.space import SAMPLERS, STRICT, fingerprint, views
from mer_bench.trials import Ended

REFITTED = ("nested", "shared")


@dataclass(frozen=True)
class Options:
    """How to search; see `search`."""

    trials: int = 50
    sampler: str = "tpe"
    seed: int = 0
    rules: tuple[str, ...] = ()
    refit: bool = True
    race: bool | None = None
    inner_folds: int = 1
    budget: float | None = None
    trial_timeout: float | None = None
    resume: bool = False
    fresh: bool = False
    address: str | None = None
    gpus_per_trial: float | None = None

    def __post_init__(self) -> None:
        known(self.rules, selection.STUDY_RULES, "rule")
        known((self.sampler,), SAMPLERS, "sampler")
        for name in ("trials", "inner_folds", "budget", "trial_timeout", "gpus_per_trial"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"--{name.replace('_', '-')} {value}: at least one, or some seconds")
        if self.resume and self.fresh:
            raise UsageError("--resume goes on with a study and --fresh starts another: choose one")

    @property
    def racing(self) -> bool:
        """Whether to race: asked for, or by default where the proposals are adaptive anyway."""
        return self.sampler not in STRICT if self.race is None else self.race

    def wanted(self, seeds: int) -> tuple[str, ...]:
        """The rules asked for, in the project's order.

        Raises:
            UsageError: `--no-refit` with what only a refit gives.
        """
        if not self.refit and (seeds > 1 or set(self.rules) & set(REFITTED)):
            raise UsageError(f"--no-refit leaves nothing to repeat: drop --seeds and the rules {', '.join(REFITTED)}")
        possible = tuple(rule for rule in selection.STUDY_RULES if self.refit or rule not in REFITTED)
        return tuple(rule for rule in possible if rule in self.rules) or possible


def search(
    model: str,
    task: str = "synth-3",
    *,
    seeds: int = 1,
    settings: Mapping[str, Any] | None = None,
    space: str = "",
    device: str = "auto",
    scale: str = "task",
    workers: int | None = None,
    tick: Tick | None = None,
    **options: Any,
) -> Answer:
    """Search a method's space without ever asking the test subject, and record the study.

    Args:
        model: as in `run`.
        task: as in `run`.
        seeds: repetitions of the refit.
        settings: pinned values; a pinned knob is not searched.
        space: a file with a `suggest(trial)` that replaces the method's own space.
        device: as in `run`.
        scale: as in `run`.
        workers: trials at the same time; by default one a core.
        tick: called with (done, total, text).
        options: the fields of `Options`. trials (trial 0 is the published structure and recipe at the task's scale);
            sampler: tpe (adaptive), qmc or random (strict); seed of proposals and trials; rules of a study, all by
            default; refit: train each fold's choice once more on all its training subjects; race: drop trials by
            their first folds (by default where the sampler is adaptive); inner_folds; budget: seconds after which no
            trial starts; trial_timeout: seconds; resume: go on with a study that was stopped; fresh: start another
            though this one is on record; address of a Ray cluster; gpus_per_trial.

    Raises:
        UsageError: an unknown name, or a study of this question that was stopped or is under way.
        MerBenchError: anything else that stops the study.
    """
    asked = _options(options)
    wanted = asked.wanted(seeds)
    basics = model, task, settings, scale, device, seeds, workers
    where = asked.address, asked.gpus_per_trial
    ready = prepare(*basics, published=True, space=space, address=where[0], gpus_per_trial=where[1])
    ready = ready.with_inputs([ready.setting.view, *views(ready.space, ready.scale)], tick)
    question = _question(ready, asked)
    folder = _place(ready, question, asked)
    with _alone(folder):
        book, study = Book.open(folder, question), _study(ready, asked, folder)
        shelf.introduce(study, shown(ready.space.model))
        sought = f"{asked.trials} trials, {seeds} seeds, {', '.join(wanted)}"
        run_id, finished = book.run_of(sought, asked, ready, study)
        with _open_run(ready, run_id, finished):
            watch = Watch(ready.tracker, run_id, study, tick)
            ended = tune.search(study, ready.where, watch.catch_up(), asked.budget)
            folders = trials.candidates(study)
            refits = studies.Refits(study, seeds, ready.workers, lambda rule: _named(tick, f"refit {rule}"))
            chosen = {rule: studies.conclude(rule, folders, refits) for rule in wanted}
            whole = {**question, "trials": len(ended), "seeds": seeds}
            found = answers.result("search", ready, whole, chosen, _beside(ready, study, wanted, ended), study, ended)
            if not finished:
                attachments.finish(ready.tracker, run_id, found, folder, chosen)
                book.finished(sought, len(ended))
    return Answer(run_id, found, folder, chosen, reused=finished)


def _beside(ready: Ready, study: studies.Study, wanted: Sequence[str], ended: Sequence[Ended]) -> Found:
    """What is drawn beside a study's numbers."""
    searched = studies.Searched(study, trials.candidates(study), wanted)
    curve = Curve(
        f"validation UF1 of trial {searched.costed}",
        tuple(tuple(row.values()) for _, row in sorted(searched.curve.items())),
    )
    tried = tuple(
        Trial(e.number, dict(e.values), e.inner_uf1 if e.state == trials.COMPLETE else None, e.seconds, e.reason)
        for e in ended
    )
    cost = ready.cost(searched.costed_setting)
    return Found(cost, (curve,), tried, searched.choices, searched.costed, _hindsight(study))


def _hindsight(study: studies.Study) -> dict[str, Any]:
    """How lucky the choice was, and what fewer trials would have given; nothing where no trial finished every fold."""
    known = hindsight.outcomes(trials.candidates(study))
    if known is None or len(known.losses[0]) < len(study.folds):
        return {}
    curve = [list(row) for row in hindsight.best_so_far(known)]
    return {"bias_corrected": hindsight.bias_corrected(known, study.seed), "best_so_far": curve}


def _options(options: Mapping[str, Any]) -> Options:
    unknown = sorted(set(options) - set(Options.__dataclass_fields__))
    if unknown:
        raise TypeError(f"search() has no option {unknown[0]!r}; known: {', '.join(Options.__dataclass_fields__)}")
    given: dict[str, Any] = {k: tuple(v) if k == "rules" else v for k, v in options.items()}
    return Options(**given)


def _question(ready: Ready, asked: Options) -> dict[str, Any]:
    """What decides a study's trials, except how many."""
    return {
        "space": fingerprint(ready.space),
        "sampler": asked.sampler,
        "seed": asked.seed,
        "racing": asked.racing,
        "inner_folds": asked.inner_folds,
        "trial_timeout": asked.trial_timeout,
        "published": ready.setting.as_dict(),
        **{name: value for name, value in ready.question.items() if name != "seeds"},
    }


def _place(ready: Ready, question: Mapping[str, Any], asked: Options) -> Path:
    """The study's folder: the newest of this question, or a new one."""
    name = shown(ready.space.model).replace(":", "-")
    told = {"model": ready.space.model, "task": ready.task, "harness": provenance.harness(), **question}
    stem = f"{name}-{ready.task}-{cache.key(told)[:8]}"
    count = 1
    while (tracking.tables() / _nth(stem, count + 1)).is_dir():
        count += 1
    here = tracking.tables() / _nth(stem, count)
    return tracking.tables() / _nth(stem, count + 1) if asked.fresh and here.is_dir() else here


def _nth(stem: str, count: int) -> str:
    return stem if count == 1 else f"{stem}-{count}"


def _study(ready: Ready, asked: Options, folder: Path) -> studies.Study:
    return studies.Study(
        ready.space,
        ready.task,
        ready.scale,
        asked.sampler,
        asked.trials,
        asked.seed,
        folder,
        studies.shuffled(loso.folds(ready.task, ready.setting), asked.seed),
        racing=asked.racing,
        inner_folds=asked.inner_folds,
        timeout=asked.trial_timeout,
        device=ready.device,
        **ready.formats,
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One driver a study."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with cache.claimed(folder) as mine:
        if not mine:
            raise UsageError(f"{folder.name} is being searched by another process; `mer-bench runs show {folder.name}`")
        yield


@dataclass(frozen=True)
class Book:
    """`study.json`: the question of a study, and for each answer sought of it, its run and whether it is done.

    Attributes:
        path: of the file.
        question: what decides the trials.
        runs: what was sought, in words -> {"run_id", "done", "trials"}; of a finished one the trials that its budget
            let it have.
    """

    path: Path
    question: Mapping[str, Any]
    runs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def open(cls, folder: Path, question: Mapping[str, Any]) -> Book:
        """Read it, or make an empty one."""
        path = folder / "study.json"
        if path.is_file():
            found = json.loads(path.read_text())
            return cls(path, found["question"], found["runs"])
        return cls(path, question, {})

    def run_of(self, sought: str, asked: Options, ready: Ready, study: studies.Study) -> tuple[str, bool]:
        """The run that answers what is sought (trials, seeds, rules), and whether it is finished.

        Raises:
            UsageError: the study was stopped, and nobody said whether to resume it; or it has more trials already.
        """
        name, most = study.folder.name, max((run["trials"] for run in self.runs.values()), default=0)
        if asked.trials < most:
            raise UsageError(f"{name} has {most} trials already: ask for {most} or more, or for another with --fresh")
        here = self.runs.get(sought)
        if any(not run["done"] for run in self.runs.values()) and not asked.resume:
            done = len(trials.everything(study))
            raise UsageError(f"{name} was stopped after {done} trials: go on with --resume, or start anew with --fresh")
        if here is None or (here["done"] and here["trials"] < asked.trials):
            text, model = f"search {shown(ready.space.model)} on {ready.task}", shown(ready.space.model)
            run_id = ready.tracker.start(text, "search", model, ready.task, dict(self.question))
            ready.tracker.client.set_tag(run_id, "mer_bench.study", name)
            others = {n: run for n, run in self.runs.items() if run["done"]}
            self._write({**others, sought: {"run_id": run_id, "done": False, "trials": asked.trials}})
            return run_id, False
        return here["run_id"], here["done"]

    def finished(self, sought: str, count: int) -> None:
        """The run for it is done, with so many trials."""
        now = Book.open(self.path.parent, self.question)
        now._write({**now.runs, sought: {**now.runs[sought], "done": True, "trials": count}})

    def _write(self, runs: Mapping[str, Any]) -> None:
        cache.write_text(self.path, json.dumps({"question": self.question, "runs": runs}, indent=1, sort_keys=True))


@contextmanager
def _open_run(ready: Ready, run_id: str, finished: bool) -> Iterator[None]:
    """The study's run while it is worked on; a finished one is left as it is."""
    if finished:
        yield
        return
    with ready.tracker.going(run_id):
        yield


class Watch:
    """Records trials as they end and tells how far the search is. The driver is the database's only writer."""

    def __init__(self, tracker: tracking.Tracker, run_id: str, study: studies.Study, tick: Tick | None) -> None:
        self._tracker, self._run_id, self._study, self._tick = tracker, run_id, study, tick
        self._done, self._best = 0, 0.0

    def catch_up(self) -> Watch:
        """Record what ended before and is not in the database, because a driver died between the two."""
        there = self._tracker.trials_of(self._study.folder.name)
        for end in trials.everything(self._study):
            self._count(end)
            if end.number not in there:
                self._record(end)
        return self

    def __call__(self, end: Ended) -> None:
        """One ended trial."""
        self._record(end)
        self._count(end)
        if self._tick:
            self._tick(self._done, self._study.trials, f"trials, best inner UF1 {self._best:.3f}")

    def _count(self, end: Ended) -> None:
        self._done += 1
        if end.state == trials.COMPLETE:
            self._best = max(self._best, end.inner_uf1)

    def _record(self, end: Ended) -> None:
        numbers = {"inner_uf1": end.inner_uf1, "seconds": end.seconds, "folds": float(end.folds)}
        values = {**end.values, **({"reason": end.reason} if end.reason else {})}
        place = trials.passed(self._study, end.number)
        folder = place if place.is_dir() else None
        study = self._study.folder.name
        self._tracker.trial(self._run_id, end.number, values, numbers, end.state, folder, study=study)


def _named(tick: Tick | None, text: str) -> Tick | None:
    return (lambda done, total, _: tick(done, total, text)) if tick else None
