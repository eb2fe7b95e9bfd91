"""The commands as Python functions: `run`, `search`, `report`. The command line adds nothing but words.

from mer_bench import run, search, report
run("ridge_flow"); search("mmnet", trials=8)
report()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_bench import catalog, processes, selection
from mer_bench.answering import answers, attachments, given, pending
from mer_bench.answering.answers import Answer, Found, shown
from mer_bench.answering.ready import Command, Ready, Tick, known, prepare
from mer_bench.answering.searches import search as search
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.records import tracking
from mer_bench.records.evidence import Curve
from mer_bench.reports import pages, standings
from mer_bench.searching import dossier, shelf
from mer_bench.training import loso

DEFAULT_TASK = "synth-3"
DEFAULT_RULES = ("last", "oracle-epoch", "oracle-global-epoch", "oracle-mmnet")
"""Of a run: what one pass over all training subjects answers; `inner` costs a pass of its own."""


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
    address: str | None = None,
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
        weights_dir: train nothing; read each held-out subject's weights from `<subject>.pth` in this folder.
        workers: processes; by default one a core, on a cluster as many as it has room for.
        address: of a running Ray cluster, over which folds are spread.
        tick: called with (done, total, text).
        reuse: answer with an identical recorded evaluation, if there is one, instead of training again.

    Raises:
        UsageError: an unknown name.
        MerBenchError: anything else that stops the run; nothing half-done is recorded as finished.
    """
    known(rules, selection.RUN_RULES, "rule")
    if weights_dir is not None:
        if rules or seeds != 1 or keep_weights:
            raise UsageError("--weights-dir trains nothing: drop --rules, --seeds and --keep-weights")
        return given.run(model, task, Path(weights_dir), settings=settings, device=device, scale=scale, tick=tick)
    ready = prepare(Command(model, task, settings, scale, device, seeds, workers, address=address))
    wanted = _in_order(rules, selection.RUN_RULES) or (DEFAULT_RULES if ready.setting.recipe else ("last",))
    ready = ready.with_inputs([ready.setting.view], tick, alone=True)
    question = {"setting": ready.setting.as_dict(), **ready.question}
    name = shown(ready.space.model)
    if reuse and (recorded := answers.on_record("run", ready, question, wanted)):
        return recorded
    cost = ready.cost()
    asked = {"model": name, "task": task, "question": question, "keep_weights": keep_weights}
    with (
        ready.tracker.run(f"{name} on {task}", "run", name, task, question) as run_id,
        tracking.held(run_id) as folder,
        pending.place(folder, asked) as here,
    ):
        passes = {held: here / ("held" if held else "all") for held in sorted({rule == "inner" for rule in wanted})}
        lost, notes = _train(ready, passes, question, keep_weights, _named(tick, f"{name} folds"))
        chosen = {rule: selection.of_run(rule, passes.get(False), passes.get(True)) for rule in wanted}
        chosen = {rule: one.without(set(lost)) for rule, one in chosen.items()}
        found = Found(cost, _curves(passes), lost=lost, notes=notes)
        result = answers.result("run", ready, question, chosen, found)
        with pending.moved(here, folder):
            attachments.finish(ready.tracker, run_id, result, folder, chosen)
    return Answer(run_id, result, folder, chosen)


def _train(
    ready: Ready, passes: Mapping[bool, Path], question: Mapping[str, Any], keep_weights: bool, tick: Tick | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Train each pass (whether validation subjects are kept back -> folder), or what is missing of it.

    Returns:
        Folds that diverged, each with its reason, and what to know about the passes.

    Raises:
        MerBenchError: no fold is whole.
    """
    lost: dict[str, str] = {}
    earlier = total = 0
    with processes.kept(ready.workers) as kept:
        for held, folder in passes.items():
            trainings = ready.trainings(held)
            earlier, total = earlier + pending.there(folder), total + len(trainings)
            ends = loso.run_pass(trainings, folder, question, workers=kept, keep_weights=keep_weights, tick=tick)
            lost |= {end["fold"]: end["diverged"] for end in ends if end["diverged"]}
    if len(lost) == len({end["fold"] for end in ends}):
        raise MerBenchError(f"{next(iter(lost.values()))} (no fold is whole)")
    said = f"{earlier} of {total} trainings are of an earlier command that was stopped; the time is without them."
    return lost, (said,) if earlier else ()


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
    """Write the leaderboard of these runs, and a page for each study; a task's own is named after it.

    Where no run is finished yet, only the pages of studies that are under way or were stopped.
    """
    stem = f"leaderboard-{task}" if task else "leaderboard"
    known = [one for one in shelf.studies(tracking.tables(), found) if task in (None, one.task)]
    links = dossier.write(known, Path(folder), f"{stem}.html" if found else "")
    if links and not found:
        return sorted({Path(folder) / link for link in links.values()})
    return pages.build(found, Path(folder), stem, against, links, dossier.listing(known, links))


def study_page(answer: Answer, folder: str | Path = "reports") -> Path:
    """Write the page of a search that has just answered."""
    found = tracking.Finished(answer.run_id, tracking.open().started(answer.run_id), answer.result)
    links = dossier.write([shelf.read(answer.tables, [found])], Path(folder))
    return Path(folder) / links[answer.run_id]


def recorded(tracker: tracking.Tracker, task: str | None = None) -> list[tracking.Finished]:
    """Every finished run and study, of one task if named."""
    if task is not None:
        catalog.task(task)
    return [found for found in tracker.results() if task in (None, found.result.task)]


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
