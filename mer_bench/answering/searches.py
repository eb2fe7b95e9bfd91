"""A search as a command: find its study or start one, run what is missing, conclude, record.

A study is named by the hash of its question (space, task, sampler, seed, sizes; not the number of trials) and of the
harness's code, so asking again continues it: more trials go on from those that are there, and neither two spaces nor
trials of two harnesses ever merge.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mer_bench import hindsight, processes
from mer_bench.answering import answers, attachments
from mer_bench.answering.answers import Answer, Found, shown
from mer_bench.answering.book import Book
from mer_bench.answering.options import Options
from mer_bench.answering.options import options as options_of
from mer_bench.answering.ready import Command, Ready, Tick, prepare
from mer_bench.contracts import Remark, UsageError
from mer_bench.pixels import cache
from mer_bench.records import provenance, tracking
from mer_bench.records.evidence import Curve, Trial
from mer_bench.searching import finals, shelf, studies, trials, tune
from mer_bench.searching.cluster import Cluster
from mer_bench.searching.space import fingerprint, views
from mer_bench.searching.trials import Ended
from mer_bench.training import loso


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
        seeds: repetitions of the refit, and of finalists.
        settings: pinned values; a pinned knob is not searched.
        space: a file with a `suggest(trial)` that replaces the method's own space.
        device: as in `run`.
        scale: as in `run`.
        workers: trials at the same time; by default one a core.
        tick: called with (done, total, text).
        options: the fields of `Options`. trials (trial 0 is the published structure and recipe at the task's scale; of
            a study that has more, the first so many answer); sampler: tpe (adaptive), qmc or random (strict); seed of
            proposals and trials; rules of a study, all by default; refit: train each fold's choice once more on all its
            training subjects; race: drop trials by their first folds (by default where the sampler is adaptive);
            inner_folds; top: train so many finalists with all the seeds before one is chosen (see `finals`); budget:
            seconds after which no trial starts; trial_timeout: seconds; resume: go on with a study that was stopped;
            fresh: start another though this one is on record; address of a Ray cluster; gpus_per_trial.

    Raises:
        UsageError: an unknown name, or a study of this question that was stopped or is under way.
        MerBenchError: anything else that stops the study.
    """
    asked = options_of(options)
    wanted = asked.wanted(seeds)
    command = Command(model, task, settings, scale, device, seeds, workers, space, asked.address, asked.gpus_per_trial)
    ready, question = settled(command, asked, tick)
    study = study_of(ready, asked, place(ready, question, asked))
    with _alone(study.folder):
        book = Book.open(study, question)
        shelf.introduce(study, shown(ready.space.model))
        run_id, finished = book.run_of(asked, ready, study)
        with _open_run(ready, run_id, finished):
            watch = Watch(ready.tracker, run_id, study, tick)
            ended = _trained(study, ready.where, asked.budget, watch.catch_up())
            folders = trials.candidates(study)
            with processes.kept(ready.workers) as kept:
                refits = studies.Refits(study, seeds, kept, lambda text: _named(tick, text))
                best = _finals(refits, folders, asked.top, wanted)
                chosen = {rule: studies.conclude(rule, folders, refits, best) for rule in wanted}
            whole = {**question, "trials": len(ended), "seeds": seeds, "top": asked.top, **_more(study)}
            beside = _beside(ready, studies.Searched(study, folders, wanted, best), ended)
            found = answers.result("search", ready, whole, chosen, beside, study, ended)
            if not finished:
                attachments.finish(ready.tracker, run_id, found, study.folder, chosen)
                book.finished(asked.sought(seeds), len(ended))
    return Answer(run_id, found, study.folder, chosen, reused=finished)


def settled(command: Command, asked: Options, tick: Tick | None) -> tuple[Ready, dict[str, Any]]:
    """The command with its inputs prepared, and what decides its study's trials, except how many."""
    ready = prepare(command, published=True)
    ready = ready.with_inputs([ready.setting.view, *views(ready.space, ready.scale)], tick)
    return ready, _question(ready, asked)


def _trained(study: studies.Study, where: Cluster, budget: float | None, watch: Callable[[Ended], None]) -> list[Ended]:
    """The study's trials, ended; nothing is started if they are on record."""
    there = trials.everything(study)
    if len(there) == study.trials and trials.candidates(study):
        return there
    return tune.search(study, where, watch, budget)


def _finals(
    refits: studies.Refits, folders: Mapping[int, Path], top: int | None, wanted: Sequence[str]
) -> dict[str, studies.Final]:
    """Train the finalists that these rules ask for; rule -> its choice among them. Nothing without `--top`."""
    if top is None:
        return {}
    study = refits.study
    best = finals.Finals(study.folder, study.seed, top, refits.seeds)
    names = [name for name in ("nested", "shared") if any(rule.removesuffix("-no-refit") == name for rule in wanted)]
    finals.train(study, folders, best, names, refits.workers, refits.tick_of("finalists"))
    return {name: finals.choose(name, folders, best) for name in names}


def _more(study: studies.Study) -> dict[str, int]:
    """How many trials are on record, if this answer is of fewer; it is said, too."""
    count = sum(1 for _ in study.folder.glob("trial-*/proposal.json"))
    if count <= study.trials:
        return {}
    warnings.warn(
        f"{study.folder.name}: {count} trials are on record; this answer is of the first {study.trials}",
        Remark,
        stacklevel=2,
    )
    return {"first_of": count}


def _beside(ready: Ready, searched: studies.Searched, ended: Sequence[Ended]) -> Found:
    """What is drawn beside a study's numbers."""
    curve = Curve(
        f"validation UF1 of trial {searched.costed}",
        tuple(tuple(row.values()) for _, row in sorted(searched.curve.items())),
    )
    tried = tuple(
        Trial(e.number, dict(e.values), e.inner_uf1 if e.state == trials.COMPLETE else None, e.seconds, e.reason)
        for e in ended
    )
    cost = ready.cost(searched.costed_setting)
    return Found(cost, (curve,), tried, searched.choices, searched.costed, _hindsight(searched.study))


def _hindsight(study: studies.Study) -> dict[str, Any]:
    """How lucky the choice was, and what fewer trials would have given; nothing where no trial finished every fold."""
    known = hindsight.outcomes(trials.candidates(study))
    if known is None or len(known.losses[0]) < len(study.folds):
        return {}
    curve = [list(row) for row in hindsight.best_so_far(known)]
    return {"bias_corrected": hindsight.bias_corrected(known, study.seed), "best_so_far": curve}


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


def place(ready: Ready, question: Mapping[str, Any], asked: Options) -> Path:
    """The study's folder: the newest of this question, or a new one; it need not exist."""
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


def study_of(ready: Ready, asked: Options, folder: Path) -> studies.Study:
    """The study in that folder."""
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
        code=ready.code,
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
