"""The commands as Python functions: `run`, `search`, `compare`, `report`. The command line adds nothing but words.

from mer_bench import run, search, report
run("ridge_flow"); search("mmnet", trials=8)
report()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import answers, catalog, given, grading, inputs, loso, selection, tracking
from mer_bench.answers import Answer, shown
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.ready import Tick, known, prepare
from mer_bench.space import SAMPLERS, fingerprint, views

DEFAULT_TASK = "synth-3"
DEFAULT_RULES = ("last", "oracle-epoch", "oracle-global-epoch", "oracle-mmnet")
"""Of a run: what one pass over all training subjects answers; `inner` costs a pass of its own."""
REFITTED = ("nested", "shared")


def run(
    model: str,
    task: str = DEFAULT_TASK,
    *,
    seeds: int = 1,
    rules: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    scale: str = "task",
    keep_weights: bool = False,
    weights_dir: str | Path | None = None,
    workers: int | None = None,
    tick: Tick | None = None,
) -> Answer:
    """Evaluate one recipe by leave-one-subject-out and record it.

    Args:
        model: `FILE[:PRESET]` or a path to a `.py` file.
        task: a task's name.
        seeds: repetitions, each scored on its own.
        rules: selection rules; by default those that one pass over all training subjects answers.
        settings: model options and recipe fields by name.
        device: auto, cpu, cuda or mps.
        scale: `task` (the size the task states) or `paper`.
        keep_weights: keep each fold's final weights as safetensors.
        weights_dir: train nothing; read each held-out subject's weights from `<subject>.pth` in this folder.
        workers: processes; by default one a core.
        tick: called with (done, total, text).

    Raises:
        UsageError: an unknown name.
        MerBenchError: anything else that stops the run; nothing half-done is recorded as finished.
    """
    known(rules, selection.RUN_RULES, "rule")
    if weights_dir is not None:
        if rules or seeds != 1 or keep_weights:
            raise UsageError("--weights-dir trains nothing: drop --rules, --seeds and --keep-weights")
        return given.run(model, task, Path(weights_dir), settings=settings, device=device, scale=scale, tick=tick)
    ready = prepare(model, task, settings, scale, device, seeds, workers)
    wanted = _in_order(rules, selection.RUN_RULES) or (DEFAULT_RULES if ready.setting.recipe else ("last",))
    ready = ready.with_inputs([ready.setting.view], tick)
    question = {"setting": ready.setting.as_dict(), **ready.question}
    name = shown(ready.space.model)
    with ready.tracker.run(f"{name} on {task}", "run", name, task, question) as run_id:
        folder = tracking.tables() / run_id
        passes: dict[bool, Path] = {}
        for validation in sorted({rule == "inner" for rule in wanted}):
            passes[validation] = folder / ("held" if validation else "all")
            finished = loso.run_pass(
                ready.trainings(validation),
                passes[validation],
                question,
                workers=ready.workers,
                keep_weights=keep_weights,
                tick=_named(tick, f"{name} folds"),
            )
            diverged = [f.diverged for f in finished if f.diverged]
            if diverged:
                raise MerBenchError(f"{diverged[0]} ({len(diverged)} of {len(finished)} folds)")
        chosen = {rule: selection.of_run(rule, passes.get(False), passes.get(True)) for rule in wanted}
        found = answers.result("run", ready, question, chosen)
        ready.tracker.finish(run_id, found, folder)
    return Answer(run_id, found, folder, chosen)


def search(
    model: str,
    task: str = DEFAULT_TASK,
    *,
    trials: int = 50,
    sampler: str = "tpe",
    seed: int = 0,
    seeds: int = 1,
    rules: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    scale: str = "task",
    refit: bool = True,
    workers: int | None = None,
    tick: Tick | None = None,
) -> Answer:
    """Search a method's space without ever asking the test subject, and record the study.

    Args:
        model: as in `run`.
        task: as in `run`.
        trials: how many; trial 0 is the published structure and recipe at the task's scale.
        sampler: tpe (adaptive), qmc or random (strict).
        seed: of the proposals and of the trials.
        seeds: repetitions of the refit.
        rules: of a study; all by default.
        settings: pinned values; a pinned knob is not searched.
        device: as in `run`.
        scale: as in `run`.
        refit: train each fold's choice once more on all its training subjects.
        workers: trials at the same time; by default one a core.
        tick: called with (done, total, text).

    Raises:
        UsageError: an unknown name.
        MerBenchError: anything else that stops the study.
    """
    from mer_bench import studies, tune

    known(rules, selection.STUDY_RULES, "rule")
    known((sampler,), SAMPLERS, "sampler")
    if trials < 1:
        raise UsageError(f"--trials {trials}: at least one")
    if not refit and (seeds > 1 or set(rules) & set(REFITTED)):
        raise UsageError(f"--no-refit leaves nothing to repeat: drop --seeds and the rules {', '.join(REFITTED)}")
    possible = tuple(rule for rule in selection.STUDY_RULES if refit or rule not in REFITTED)
    wanted = _in_order(rules, possible) or possible
    ready = prepare(model, task, settings, scale, device, seeds, workers, published=True)
    ready = ready.with_inputs([ready.setting.view, *views(ready.space, ready.scale)], tick)
    question = {
        "space": fingerprint(ready.space),
        "sampler": sampler,
        "trials": trials,
        "seed": seed,
        "workers": ready.workers,
        "published": ready.setting.as_dict(),
        **ready.question,
    }
    name = shown(ready.space.model)
    with ready.tracker.run(f"search {name} on {task}", "search", name, task, question) as run_id:
        folder = tracking.tables() / run_id
        study = studies.Study(
            ready.space, task, ready.scale, sampler, trials, seed, folder, device=ready.device, **ready.formats
        )
        folders = tune.search(study, ready.workers, _Watch(ready.tracker, run_id, trials, tick))
        refits = studies.Refits(study, seeds, ready.workers, lambda rule: _named(tick, f"refit {rule}"))
        chosen = {rule: studies.conclude(rule, folders, refits) for rule in wanted}
        found = answers.result("search", ready, question, chosen, len(folders), study.strictness)
        ready.tracker.finish(run_id, found, folder)
    return Answer(run_id, found, folder, chosen)


@dataclass(frozen=True)
class Comparison:
    """Two models under one protocol: their answers, and the difference in UF1 with its interval over subjects."""

    ours: Answer
    theirs: Answer
    rule: str
    difference: float
    interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        """In words."""
        names = self.ours.result.model, self.theirs.result.model
        low, high = self.interval
        ahead = f"{names[0]} is ahead" if low > 0 else f"{names[0]} is behind" if high < 0 else "no difference shown"
        leaky = ", leaky" if selection.is_leaky(self.rule) else ""
        trials = self.ours.result.trials
        how = "each its own recipe" if trials is None else f"each searched with {trials} trials"
        return (
            f"{ahead}: {names[0]} - {names[1]} = {self.difference:+.3f} UF1 [{low:+.3f}, {high:+.3f}] over subjects, "
            f"rule {self.rule}{leaky}, {how}"
        )

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        names = self.ours.result.model, self.theirs.result.model
        models = dict(zip(names, (self.ours.as_json(), self.theirs.as_json()), strict=True))
        gap = {"model": names[0], "against": names[1], "rule": self.rule, "uf1": self.difference}
        return {"models": models, "differences": [{**gap, "uf1_interval": list(self.interval)}]}


def compare(
    model: str,
    against: str = "mmnet",
    task: str = DEFAULT_TASK,
    *,
    trials: int | None = None,
    sampler: str = "tpe",
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Comparison:
    """Evaluate two models on the same folds, by their own recipes or searched alike, and say who is ahead.

    Args:
        model: the challenger, as in `run`.
        against: the other one.
        task: as in `run`.
        trials: search both with so many trials; without it each runs its own recipe.
        sampler: as in `search`.
        settings: of the challenger.
        options: as in `run` or `search`.
    """
    if shown(model) == shown(against):
        raise UsageError(f"{model} against a model of the same name: give another one with --against")
    found = []
    for name, values in ((model, settings), (against, None)):
        if trials is None:
            found.append(run(name, task, settings=values, **options))
        else:
            found.append(search(name, task, trials=trials, sampler=sampler, settings=values, **options))
    ours, theirs = found
    rule = next(iter(ours.result.rules))
    rows = ours.chosen[rule].rows, theirs.chosen[rule].rows
    clips = inputs.clips_of(task)
    gap, interval = grading.difference(*rows, clips, len(catalog.task(task).classes))
    return Comparison(ours, theirs, rule, gap, (interval.low, interval.high))


def report(folder: str | Path = "reports", task: str | None = None) -> list[Path]:
    """Write the leaderboard from everything recorded (of one task, if named); returns the files."""
    from mer_bench import leaderboard

    stem = f"leaderboard-{task}" if task else "leaderboard"
    return leaderboard.build(recorded(tracking.open(), task), Path(folder), stem)


def recorded(tracker: tracking.Tracker, task: str | None = None) -> list[tracking.Finished]:
    """Every finished run and study, of one task if named."""
    if task is not None:
        catalog.task(task)
    return [found for found in tracker.results() if task in (None, found.result.task)]


class _Watch:
    """Records trials as they end and tells how far the search is. The driver is the database's only writer."""

    def __init__(self, tracker: tracking.Tracker, run_id: str, trials: int, tick: Tick | None) -> None:
        self._tracker, self._run_id, self._trials, self._tick = tracker, run_id, trials, tick
        self._done, self._best = 0, 0.0

    def __call__(self, record: Any) -> None:
        """One ended trial, a `tune.TrialRecord`."""
        numbers = {"inner_uf1": record.inner_uf1, "seconds": record.seconds}
        state = "COMPLETE" if not record.error else "FAIL"
        values = {**record.values, **({"reason": record.error} if record.error else {})}
        self._tracker.trial(self._run_id, record.number, values, numbers, state, record.folder)
        self._done += 1
        self._best = max(self._best, record.inner_uf1 or 0.0)
        if self._tick:
            self._tick(self._done, self._trials, f"trials, best inner UF1 {self._best:.3f}")


def _named(tick: Tick | None, text: str) -> Tick | None:
    return (lambda done, total, _: tick(done, total, text)) if tick else None


def _in_order(rules: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Rules in the project's order, honest ones first: the first is the headline."""
    return tuple(rule for rule in known if rule in rules)
