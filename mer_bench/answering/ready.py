"""What every command settles before it trains anything: names, sizes, inputs, formats, and a store that can be written.

Whatever can be wrong with a command is found here, in seconds, and not after an hour.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mer_bench import catalog, processes
from mer_bench.contracts import PAPER_SCALE, MerBenchError, Scale, Setting, UsageError
from mer_bench.pixels import inputs, inspection
from mer_bench.records import tracking
from mer_bench.searching.cluster import Cluster
from mer_bench.searching.space import Space
from mer_bench.training import cost, fold, loso

DEVICES = ("auto", "cpu", "cuda", "mps")
SCALES = ("task", "paper")
Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Ready:
    """A command's settled question, and `where` it runs; `data` and `formats` are there after `with_inputs`."""

    space: Space
    task: str
    scale_name: str
    scale: Scale
    setting: Setting
    device: str
    seeds: int
    where: Cluster
    tracker: tracking.Tracker
    began: float
    code: str
    data: Any = None
    formats: Mapping[str, bool] = field(default_factory=dict)

    def with_inputs(self, views: Sequence[str], tick: Tick | None, probed: bool = True, alone: bool = False) -> Ready:
        """Prepare the views, show the model two clips, and ask which number format pays, if anything is trained.

        Args:
            views: of all settings.
            tick: called with (done, total, text).
            probed: whether anything is trained.
            alone: whether no other setting than the command's own is, so that compiling it may pay.
        """
        fold.forget()
        data = inputs.load(self.task, self.setting.view, tick=tick)
        for view in dict.fromkeys(views):
            inputs.load(self.task, view, tick=tick)
        loso.examine(self.task, self.setting)
        trainings = self._each() if alone and not self.where.address else 0.0
        formats = asdict(loso.probe(self.task, self.setting, self.device, trainings, tick)) if probed else {}
        if not alone:
            formats.pop("compiled", None)
        return replace(self, data=data, formats=formats)

    def _each(self) -> float:
        """How many times each process of this machine trains the command's own setting; `--workers` has no say in it.

        What is settled by it is part of the question, and the number of processes is not.
        """
        everything = self.seeds * len(loso.folds(self.task, self.setting))
        return everything / (processes.cores() if self.device == "cpu" else 1)

    @property
    def workers(self) -> processes.Workers:
        """Processes on this machine, or those of a cluster."""
        return self.where if self.where.address else processes.workers(self.where.workers)

    @property
    def question(self) -> dict[str, Any]:
        """What is stored beside every answer."""
        return {
            "pinned": dict(self.space.pinned),
            "code": self.code,
            "scale": self.scale_name,
            "seeds": self.seeds,
            "inputs": self.data.key,
            "faces_not_found": len(self.data.unfound),
            "device": self.device,
            **({"files": found} if (found := files(self.setting)) else {}),
            **self.formats,
        }

    def cost(self, setting: Setting | None = None) -> cost.Cost:
        """What a setting costs, by default the command's own."""
        return cost.measure(self.task, setting or self.setting, self.device)

    def trainings(self, validation: bool) -> list[fold.Training]:
        """One training for each seed and fold."""
        return [
            fold.Training(
                self.task,
                self.setting,
                seed,
                name,
                validation=validation,
                device=self.device,
                code=self.code,
                **self.formats,
            )
            for seed in range(self.seeds)
            for name in loso.folds(self.task, self.setting)
        ]


@dataclass(frozen=True)
class Command:
    """What a command names, as it was typed.

    Attributes:
        model, task, settings, scale, device, seeds, workers: as in `commands.run`.
        space: a file with the `suggest(trial)` to search by, in place of the model's own.
        address: of a running Ray cluster; without one everything happens on this machine.
        gpus_per_trial: share of a GPU that a trial, or a fold on a cluster, takes.
    """

    model: str
    task: str
    settings: Mapping[str, Any] | None = None
    scale: str = "task"
    device: str = "auto"
    seeds: int = 1
    workers: int | None = None
    space: str = ""
    address: str | None = None
    gpus_per_trial: float | None = None


def prepare(command: Command, *, published: bool = False) -> Ready:
    """Settle a command.

    Args:
        command: what it names.
        published: the setting is trial 0 of the model's space, which must hold it.

    Raises:
        UsageError: an unknown name, or a number or device that cannot be.
        MerBenchError: the store cannot be opened.
    """
    began = time.perf_counter()
    if command.seeds < 1:
        raise UsageError(f"--seeds {command.seeds}: at least one")
    searched, size, setting = settled(command, published=published)
    count, place = processes.workers(command.workers), usable(command.device)
    where = Cluster(command.workers if command.address else count, command.address, command.gpus_per_trial, place)
    return Ready(
        space=searched,
        task=command.task,
        scale_name=command.scale,
        scale=size,
        setting=setting,
        device=place,
        seeds=command.seeds,
        where=where,
        tracker=tracking.open(),
        began=began,
        code=catalog.fingerprint(searched.model),
    )


def settled(command: Command, *, published: bool = False) -> tuple[Space, Scale, Setting]:
    """The names of a command settled, as in `prepare`: what may be searched, at which scale, and the setting.

    Raises:
        UsageError: an unknown name.
    """
    searched = Space(placed(command.model), dict(command.settings or {}), placed(command.space))
    known((command.scale,), SCALES, "scale")
    size = catalog.task(command.task).scale if command.scale == "task" else PAPER_SCALE
    setting = searched.setting(searched.default() if published else {}, size)
    settle = catalog.baseline(command.model).settle
    if settle is not None and (changed := settle(setting.options)):
        kept = {key: value for key, value in searched.pinned.items() if key.split(".")[-1] not in changed}
        searched = replace(searched, pinned={**kept, **changed})
        setting = searched.setting(searched.default() if published else {}, size)
    return searched, size, setting


def files(setting: Setting) -> dict[str, str]:
    """Option -> SHA-256 of the file it names (weights to start from): other contents are another question."""
    named = {name: Path(value).expanduser() for name, value in setting.options.items() if isinstance(value, str)}
    found = {}
    for name, path in named.items():
        if path.suffix and path.is_file():
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def inputs_for(corpus: str, task: str, model: str, scale: str, tick: Tick | None) -> dict[str, inputs.Inputs]:
    """What a model is shown of a corpus's tasks, prepared; tasks whose sheet is not on this machine are left out.

    Raises:
        UsageError: an unknown name.
        MerBenchError: no task can be prepared; the first reason.
    """
    known((scale,), SCALES, "scale")
    found, reasons = {}, []
    for label, one in inspection.tasks(corpus, task).items():
        setting = Space(placed(model), {}).setting({}, one.scale if scale == "task" else PAPER_SCALE)
        try:
            for part in one.corpora:
                inputs.table(part)
        except MerBenchError as error:
            reasons.append(error)
            continue
        found[label] = inputs.load(label, setting.view, tick=tick)
    if not found:
        raise reasons[0]
    return found


def placed(model: str) -> str:
    """A user's file by its absolute path, because workers run elsewhere; other names as they are."""
    path, preset = catalog.split(model)
    return str(Path(path).resolve()) + (f":{preset}" if preset else "") if path.endswith(".py") else model


def usable(device: str) -> str:
    """The device meant by `auto`, or the named one if this machine has it.

    Raises:
        UsageError: it does not.
    """
    known((device,), DEVICES, "device")
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, has in there.items() if has)
    if not there[device]:
        raise UsageError(f"--device {device}: torch {torch.__version__} finds none here; use auto or cpu")
    return device


def known(names: Sequence[str], among: Sequence[str], kind: str) -> None:
    """Raise a UsageError for a name that is not among the known ones."""
    for name in names:
        if name not in among:
            raise UsageError(f"unknown {kind} {name!r}; known: {', '.join(among)}")
