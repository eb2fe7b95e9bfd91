"""The commands as Python functions: `run`, `search`, `report`. The command line adds nothing but words.

from mer_bench import run, search, report
run("ridge_flow"); search("mmnet", trials=8)
report()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_bench import answers, attachments, catalog, loso, pages, selection, standings, tracking
from mer_bench.answers import Answer, Found, shown
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.evidence import Curve, Trial
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
    workers: int | None = None,
    tick: Tick | None = None,
    reuse: bool = False,
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
        workers: processes; by default one a core.
        tick: called with (done, total, text).
        reuse: answer with an identical recorded evaluation, if there is one, instead of training again.

    Raises:
        UsageError: an unknown name.
        MerBenchError: anything else that stops the run; nothing half-done is recorded as finished.
    """
    known(rules, selection.RUN_RULES, "rule")
    ready = prepare(model, task, settings, scale, device, seeds, workers)
    wanted = _in_order(rules, selection.RUN_RULES) or (DEFAULT_RULES if ready.setting.recipe else ("last",))
    ready = ready.with_inputs([ready.setting.view], tick)
    question = {"setting": ready.setting.as_dict(), **ready.question}
    name = shown(ready.space.model)
    if reuse and (recorded := answers.on_record("run", ready, question, wanted)):
        return recorded
    cost = ready.cost()
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
        found = answers.result("run", ready, question, chosen, Found(cost, _curves(passes)))
        attachments.finish(ready.tracker, run_id, found, folder, chosen)
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
    space: str = "",
    reuse: bool = False,
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
        space: a file with the `suggest(trial)` to search by, in place of the model's own.
        reuse: as in `run`.

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
    ready = prepare(model, task, settings, scale, device, seeds, workers, published=True, space=space)
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
    if reuse and (recorded := answers.on_record("search", ready, question, wanted)):
        return recorded
    with ready.tracker.run(f"search {name} on {task}", "search", name, task, question) as run_id:
        folder = tracking.tables() / run_id
        study = studies.Study(
            ready.space, task, ready.scale, sampler, trials, seed, folder, device=ready.device, **ready.formats
        )
        watch = _Watch(ready.tracker, run_id, trials, tick)
        folders = tune.search(study, ready.workers, watch)
        refits = studies.Refits(study, seeds, ready.workers, lambda rule: _named(tick, f"refit {rule}"))
        chosen = {rule: studies.conclude(rule, folders, refits) for rule in wanted}
        searched = studies.Searched(study, folders, wanted)
        beside = Found(
            ready.cost(searched.costed_setting),
            (_curve(f"validation UF1 of trial {searched.costed}", searched.curve),),
            tuple(sorted(watch.trials, key=lambda trial: trial.number)),
            searched.choices,
            searched.costed,
        )
        found = answers.result("search", ready, question, chosen, beside, len(folders), study.strictness)
        attachments.finish(ready.tracker, run_id, found, folder, chosen)
    return Answer(run_id, found, folder, chosen)


def report(folder: str | Path = "reports", task: str | None = None, against: str = standings.REFERENCE) -> list[Path]:
    """Write the leaderboard from everything recorded (of one task, if named); returns the files.

    Args:
        folder: where they go.
        task: only this one.
        against: the model that others are compared with.
    """
    return write(recorded(tracking.open(), task), folder, task, against)


def write(
    found: Sequence[tracking.Finished], folder: str | Path, task: str | None, against: str = standings.REFERENCE
) -> list[Path]:
    """Write the leaderboard of these runs; a task's own is named after it."""
    return pages.build(found, Path(folder), f"leaderboard-{task}" if task else "leaderboard", against)


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
        self.trials: list[Trial] = []

    def __call__(self, record: Any) -> None:
        """One ended trial, a `tune.TrialRecord`."""
        numbers = {"inner_uf1": record.inner_uf1, "seconds": record.seconds}
        state = "COMPLETE" if not record.error else "FAIL"
        values = {**record.values, **({"reason": record.error} if record.error else {})}
        self._tracker.trial(self._run_id, record.number, values, numbers, state, record.folder)
        uf1 = None if record.error else record.inner_uf1
        self.trials.append(Trial(record.number, dict(record.values), uf1, record.seconds, record.error))
        self._done += 1
        self._best = max(self._best, record.inner_uf1 or 0.0)
        if self._tick:
            self._tick(self._done, self._trials, f"trials, best inner UF1 {self._best:.3f}")


def _curves(passes: Mapping[bool, Path]) -> tuple[Curve, ...]:
    """How UF1 moved while training: of validation subjects where some were kept back, and of the test subjects."""
    found = []
    if True in passes:
        found.append(_curve("validation UF1", selection.validation_curve(passes[True])))
    if False in passes:
        found.append(_curve("test UF1", selection.test_curve(passes[False]), leaky=True))
    return tuple(curve for curve in found if len(curve.values[0]) > 1)


def _curve(name: str, scores: Mapping[int, Mapping[int, float]], leaky: bool = False) -> Curve:
    return Curve(name, tuple(tuple(row.values()) for _, row in sorted(scores.items())), leaky)


def _named(tick: Tick | None, text: str) -> Tick | None:
    return (lambda done, total, _: tick(done, total, text)) if tick else None


def _in_order(rules: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Rules in the project's order, honest ones first: the first is the headline."""
    return tuple(rule for rule in known if rule in rules)
