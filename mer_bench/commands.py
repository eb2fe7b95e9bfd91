"""The commands as Python functions: `run`, `search`, `compare`, `report`. The command line adds nothing but words.

from mer_bench import run, search, report
run("ridge_flow"); search("mmnet", trials=8)
report()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mer_bench import answers, catalog, grading, inputs, loso, selection, tracking
from mer_bench.answers import Answer, shown
from mer_bench.contracts import PAPER_SCALE, MerBenchError, Scale, Setting, UsageError
from mer_bench.space import SAMPLERS, Space, fingerprint, views

DEFAULT_TASK = "synth-3"
RUN_RULES = ("last", "oracle-epoch", "oracle-global-epoch", "oracle-mmnet")
DEVICES = ("auto", "cpu", "cuda", "mps")
Tick = Callable[[int, int, str], None]


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

    Raises:
        UsageError: an unknown name.
        MerBenchError: anything else that stops the run; nothing half-done is recorded as finished.
    """
    model = _placed(model)
    _known(rules, selection.RUN_RULES, "rule")
    wanted = _in_order(rules, selection.RUN_RULES) or RUN_RULES
    if seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least one")
    setting = _setting(model, task, settings or {}, scale)
    if setting.recipe is None and not rules:
        wanted = ("last",)
    device = _device(device)
    began = time.perf_counter()
    data = inputs.load(task, setting.view, tick=tick)
    formats = asdict(loso.probe(task, setting, device))
    question = {
        "setting": setting.as_dict(),
        "pinned": dict(settings or {}),
        "code": catalog.fingerprint(model),
        "scale": scale,
        "seeds": seeds,
        "inputs": data.key,
        **formats,
        "device": device,
    }
    tracker = tracking.open()
    with tracker.run(f"{shown(model)} on {task}", "run", model, task, question) as run_id:
        folder = tracking.tables() / run_id
        passes: dict[bool, Path] = {}
        for validation in sorted({rule == "inner" for rule in wanted}):
            trainings = [
                loso.Training(task, setting, seed, fold, validation, device=device, **formats)
                for seed in range(seeds)
                for fold in loso.folds(task, setting)
            ]
            passes[validation] = folder / ("held" if validation else "all")
            finished = loso.run_pass(
                trainings,
                passes[validation],
                question,
                workers=workers or _cores(),
                keep_weights=keep_weights,
                tick=_named(tick, f"{shown(model)} folds"),
            )
            diverged = [f.diverged for f in finished if f.diverged]
            if diverged:
                raise MerBenchError(f"{diverged[0]} ({len(diverged)} of {len(finished)} folds)")
        chosen = {rule: selection.of_run(rule, passes.get(False), passes.get(True)) for rule in wanted}
        found = answers.result(
            "run", model, task, scale, question, chosen, data.clips, seeds, time.perf_counter() - began
        )
        tracker.finish(run_id, found, folder)
    return Answer(run_id, found, folder)


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
    from mer_bench import tune

    model = _placed(model)
    refitted = ("nested", "shared")
    _known(rules, selection.STUDY_RULES, "rule")
    _known((sampler,), SAMPLERS, "sampler")
    if trials < 1 or seeds < 1:
        raise UsageError(f"--trials {trials} --seeds {seeds}: at least one of each")
    if not refit and (seeds > 1 or set(rules) & set(refitted)):
        raise UsageError("--no-refit leaves nothing to repeat: drop --seeds and the rules nested, shared")
    wanted = _in_order(rules, selection.STUDY_RULES) or tuple(
        r for r in selection.STUDY_RULES if refit or r not in refitted
    )
    space = Space(model, dict(settings or {}))
    device = _device(device)
    began = time.perf_counter()
    first = _at(space, task, scale)
    data = inputs.load(task, first.view, tick=tick)
    for view in views(space, _scale(task, scale)):
        inputs.load(task, view, tick=tick)
    formats = asdict(loso.probe(task, first, device))
    tracker = tracking.open()
    question = {
        "space": fingerprint(space),
        "pinned": dict(space.pinned),
        "sampler": sampler,
        "trials": trials,
        "seed": seed,
        "seeds": seeds,
        "scale": scale,
        "workers": workers or _cores(),
        "code": catalog.fingerprint(model),
        "published": first.as_dict(),
        "inputs": data.key,
        "device": device,
        **formats,
    }
    with tracker.run(f"search {shown(model)} on {task}", "search", model, task, question) as run_id:
        folder = tracking.tables() / run_id
        study = tune.Study(space, task, _scale(task, scale), sampler, trials, seed, folder, device=device, **formats)
        watch = _Watch(tracker, run_id, trials, tick)
        folders = tune.search(study, workers or _cores(), watch)
        refits = tune.Refits(study, seeds, workers or _cores(), lambda rule: _named(tick, f"refit {rule}"))
        chosen = {rule: tune.conclude(rule, folders, refits) for rule in wanted}
        taken = time.perf_counter() - began
        found = answers.result("search", model, task, scale, question, chosen, data.clips, seeds, taken)
        found = replace(found, trials=len(folders), strictness=study.strictness)
        tracker.finish(run_id, found, folder)
    return Answer(run_id, found, folder)


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
        return (
            f"{ahead}: {names[0]} - {names[1]} = {self.difference:+.3f} UF1 [{low:+.3f}, {high:+.3f}] over subjects, "
            f"rule {self.rule}{', leaky' if selection.is_leaky(self.rule) else ''}, each its own recipe"
        )

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        names = self.ours.result.model, self.theirs.result.model
        models = dict(zip(names, (self.ours.as_json(), self.theirs.as_json()), strict=True))
        gap = {"model": names[0], "against": names[1], "rule": self.rule, "uf1": self.difference}
        return {"models": models, "differences": [{**gap, "uf1_interval": list(self.interval)}]}


def compare(model: str, against: str = "mmnet", task: str = DEFAULT_TASK, **options: Any) -> Comparison:
    """Run two models by their own recipes on the same folds and say who is ahead.

    Args:
        model: the challenger, as in `run`.
        against: the other one.
        task: as in `run`.
        options: as in `run`.
    """
    if shown(model) == shown(against):
        raise UsageError(f"{model} against a model of the same name: give another one with --against")
    ours, theirs = (run(name, task, **options) for name in (model, against))
    rule = next(iter(ours.result.rules))
    validation = rule == "inner"
    rows = []
    for answer in (ours, theirs):
        folder = answer.tables / ("held" if validation else "all")
        rows.append(selection.of_run(rule, None if validation else folder, folder if validation else None).rows)
    table = inputs.load(task, _setting(model, task, {}, options.get("scale", "task")).view).clips
    gap, interval = grading.difference(rows[0], rows[1], table, len(catalog.task(task).classes))
    return Comparison(ours, theirs, rule, gap, (interval.low, interval.high))


def report(folder: str | Path = "reports", task: str | None = None) -> list[Path]:
    """Write the leaderboard from everything recorded (of one task, if named); returns the files."""
    from mer_bench import leaderboard

    return leaderboard.build(recorded(tracking.open(), task), Path(folder))


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


def _placed(model: str) -> str:
    """A user's file by its absolute path, because workers run elsewhere; other names as they are."""
    path, preset = catalog.split(model)
    return str(Path(path).resolve()) + (f":{preset}" if preset else "") if path.endswith(".py") else model


def _setting(model: str, task: str, settings: Mapping[str, Any], scale: str) -> Setting:
    return Space(model, dict(settings)).setting({}, _scale(task, scale))


def _at(space: Space, task: str, scale: str) -> Setting:
    return space.setting(space.default(), _scale(task, scale))


def _scale(task: str, scale: str) -> Scale:
    _known((scale,), ("task", "paper"), "scale")
    return catalog.task(task).scale if scale == "task" else PAPER_SCALE


def _device(device: str) -> str:
    _known((device,), DEVICES, "device")
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(tick: Tick | None, text: str) -> Tick | None:
    return (lambda done, total, _: tick(done, total, text)) if tick else None


def _in_order(rules: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Rules in the project's order, honest ones first: the first is the headline."""
    return tuple(rule for rule in known if rule in rules)


def _known(names: Sequence[str], known: Sequence[str], kind: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
