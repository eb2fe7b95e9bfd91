"""Weights that somebody else trained, one file for each held-out subject, evaluated without training.

    DIR/sub05.pth ─► state dict, checked ─► the method's network ─► that subject's clips ─► a pass of one epoch

Nothing here can know what such weights were trained on or which epoch was kept, so the rule they are scored under is
`given-weights`, which stands apart from the honest rules, and the model's name says where they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mer_bench import catalog, selection, splits
from mer_bench.answering import answers, attachments
from mer_bench.answering.answers import Answer, Found, shown
from mer_bench.answering.ready import Command, Ready, Tick, prepare
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import inputs
from mer_bench.records import tracking
from mer_bench.training import fold, loso

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".pth", ".pt", ".safetensors")


def run(
    model: str,
    task: str,
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    scale: str = "task",
    tick: Tick | None = None,
) -> Answer:
    """Evaluate a folder of weights by leave-one-subject-out and record it; arguments as in `commands.run`.

    Args:
        folder: holds `<subject>.pth` for every subject of the task; the subject is called as in the corpus's release
            (`sub05`) or `corpus-id` (`casme2-05`).

    Raises:
        UsageError: an unknown name, or a method that is not a network.
        MerBenchError: files are missing, belong to no subject or do not fit, one line each.
    """
    ready = prepare(Command(model, task, settings, scale, device, workers=1))
    if ready.setting.recipe is None:
        raise UsageError(f"{shown(model)} has no weights to load: it is fitted, not trained; drop --weights-dir")
    ready = ready.with_inputs([ready.setting.view], tick, probed=False)
    trainings = ready.trainings(validation=False)
    states = _states(ready, files(folder, task, [t.fold for t in trainings]))
    digest = hashlib.sha256("".join(_digest(states[t.fold]) for t in trainings).encode()).hexdigest()
    setting = {**ready.setting.as_dict(), "recipe": None}
    question = {"setting": setting, **ready.question, "weights": {"folder": folder.resolve().name, "sha256": digest}}
    name = f"{shown(ready.space.model)} (weights: {folder.resolve().name})"
    with ready.tracker.run(f"{name} on {task}", "run", name, task, question) as run_id:
        place, finished = tracking.tables() / run_id, []
        for training in trainings:
            finished.append(said(training, states[training.fold], ready.data))
            if tick:
                tick(len(finished), len(trainings), f"{name} folds")
        loso.write(place / "all", finished, question)
        chosen = {selection.GIVEN: selection.of_run(selection.GIVEN, place / "all", None)}
        result = answers.result("run", ready, question, chosen, Found(ready.cost()))
        result = replace(result, model=name, setting_name=f"weights {digest[:8]} as given, not trained here")
        attachments.finish(ready.tracker, run_id, result, place, chosen)
    return Answer(run_id, result, place, chosen)


def files(folder: Path, task: str, subjects: Sequence[str]) -> dict[str, Path]:
    """Each subject's file.

    Raises:
        MerBenchError: files are missing, double, or belong to no subject; one line each.
    """
    if not folder.is_dir():
        raise MerBenchError(f"{folder} is no folder; give the one that holds <subject>.pth for every subject")
    there = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.suffix in SUFFIXES}
    found, lines = {}, []
    for subject in subjects:
        names = _names(task, subject)
        own = [path for path in there if str(path.with_suffix("")) in names]
        if not own:
            lines.append(f"{folder / names[0]}.pth is missing; put the weights trained without {subject} there")
        elif len(own) > 1:
            lines.append(f"{folder} holds {' and '.join(map(str, own))} for {subject}; remove all but one")
        found[subject] = there[own[0]] if own else folder
    odd = [there[path] for path in there if there[path] not in found.values()]
    known = {str(Path(name)) for subject in subjects for name in _names(task, subject)}
    odd = [file for file in odd if str(file.relative_to(folder).with_suffix("")) not in known]
    lines += [f"{file} belongs to no subject of {task}; remove it, or name the task it is for" for file in odd]
    if lines:
        raise MerBenchError("\n".join(lines))
    return found


def _names(task: str, subject: str) -> list[str]:
    """What a subject's file may be called, without its suffix; the name in the corpus's release first."""
    released = [catalog.dataset(corpus).released for corpus in catalog.task(task).corpora]
    return [*(name(subject) for name in released if name), subject.replace("/", "-"), subject]


def read(file: Path) -> dict[str, Tensor]:
    """A state dict: safetensors, or torch's format, the legacy one too; nothing in it is executed.

    Raises:
        MerBenchError: it is none.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        said = " ".join(str(error).split())[:120]
        raise MerBenchError(f"{file} cannot be read as weights ({said}); save model.state_dict() again") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise MerBenchError(f"{file} holds a {type(state).__name__}, no state dict; save model.state_dict()")
    return dict(state)


def _states(ready: Ready, found: Mapping[str, Path]) -> dict[str, dict[str, Tensor]]:
    """Every subject's state dict, held against the network's.

    Raises:
        MerBenchError: files that do not fit, one line each.
    """
    wanted = fold.builder(ready.setting, len(catalog.task(ready.task).classes))().state_dict()
    states, lines = {}, []
    for subject, file in found.items():
        try:
            states[subject] = read(file)
            _fits(states[subject], wanted, file, shown(ready.space.model))
        except MerBenchError as error:
            lines.append(str(error))
    if lines:
        raise MerBenchError("\n".join(lines))
    return states


def _fits(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: Path, model: str) -> None:
    # torch before 0.4.1 kept no count of batches; nothing here reads it
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    odd = [name for name in state if name not in wanted]
    other = [name for name, value in state.items() if name in wanted and value.shape != wanted[name].shape]
    cure = f"is it {model}'s, for this task's classes and settings?"
    for names, said in ((missing, "lacks"), (odd, "has, beyond the network,")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise MerBenchError(f"{file} {said} {names[0]}{more}; {cure}")
    if other:
        shapes = ["x".join(map(str, part[other[0]].shape)) for part in (state, wanted)]
        raise MerBenchError(f"{file}: {other[0]} is {shapes[0]} and should be {shapes[1]}; {cure}")
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise MerBenchError(f"{file}: {broken[0]} holds NaN or infinity; fetch or train it again")


def said(training: fold.Training, state: Mapping[str, Tensor], data: inputs.Inputs) -> fold.Finished:
    """What a network of these weights says about the held-out subject's clips, as a pass of one epoch."""
    import torch

    from mer_bench.training import trainer

    task = catalog.task(training.task)
    (held,) = splits.inner(data.clips, training.fold, 0, by=task.fold, tested=task.tested)
    classes = len(task.classes)
    with fold.one_thread(), trainer.seeded("given"):
        model = fold.builder(training.setting, classes)()
        model.load_state_dict(state, strict=False)
        clips = fold.on_device(data, 0.0, False, training.device)
        rows = torch.from_numpy(held.test).to(training.device)
        test = trainer.score(model.to(training.device), clips, rows, trainer.Precision())
    outcome = trainer.Outcome(np.zeros((1, 0, classes)), trainer.spoken(test.cpu().numpy()[None]), _digest(state), {})
    return fold.finished(training, data.clips, (held.validation, held.test), outcome, seconds=0.0)


def _digest(state: Mapping[str, Tensor]) -> str:
    from mer_bench.training import trainer

    return trainer.digest({name: value.detach().contiguous() for name, value in state.items()})
