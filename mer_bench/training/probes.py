"""In which format a training step is quickest here, and whether compiling it pays: by timing a few in turn."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_bench.contracts import Recipe
from mer_bench.training import trainer
from mer_bench.training.batches import Data
from mer_bench.training.trainer import Precision

log = logging.getLogger(__name__)

LONG, FEWEST = 20.0, 4
"""A probe stops timing two formats after so many seconds, but not before so many steps of each."""
MANY = 50_000
"""Clips to train from which on it is asked whether compiling pays."""
MARGIN = 2.0
"""Compiling is taken where it saves so many times what it costs."""


@dataclass(frozen=True)
class Compiling:
    """What compiling costs a process (seconds), and what it saves (seconds of each clip trained)."""

    costs: float
    saves: float

    def pays(self, updates: float) -> bool:
        """Whether it saves more than it costs in so many clips trained, by a clear margin."""
        return self.saves * updates > MARGIN * self.costs


def machine(device: str) -> str:
    """A name for the processor that a probe's answer belongs to."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def probe(build: Callable[[], nn.Module], recipe: Recipe, data: Data, steps: int = 20) -> Precision:
    """The format whose training step is fastest; one that wins by less than a tenth over a plainer one is not taken.

    Formats are tried from the plainest on, each against the best before it.
    """
    device = data.labels.device.type
    formats = [Precision(b, c) for b in (False, True) for c in (False, True)]
    # With two frames oneDNN 3.12 (torch 2.13) fills the gradient of a 3-D convolution's bf16 weights with garbage.
    if device == "mps" or (device == "cpu" and _has_3d(build)):
        formats = formats[:2]
    rows = torch.arange(min(recipe.batch_size, len(data.labels)), device=device)
    best = formats[0]
    for precision in formats[1:]:
        with torch.random.fork_rng(devices=[]):
            if _share_of_time(build, recipe, data, rows, (best, precision), steps) < 0.9:
                best = precision
    return best


def compiling(build: Callable[[], nn.Module], recipe: Recipe, data: Data, precision: Precision) -> Compiling | None:
    """What compiling costs and saves in a format, or None where there are too few clips or it cannot be done.

    A compiled step is timed in turn with one that is not.
    """
    from torch._dynamo.exc import TorchDynamoException

    device = data.labels.device
    missing = {"cpu": not _compiler(), "mps": True}.get(device.type, False)
    if missing or len(data.labels) < recipe.batch_size:
        return None
    rows, one = torch.arange(recipe.batch_size, device=device), dataclasses.replace(recipe, epochs=1)
    formats = precision, dataclasses.replace(precision, compiled=True)
    with torch.random.fork_rng(devices=[]):
        plain, quick = (_stepper(build, one, data, rows, one_format) for one_format in formats)
        plain()
        try:
            first = quick()
        except TorchDynamoException as error:
            log.warning("not compiled, trained as it is: %s", str(error).splitlines()[0])
            return None
        taken = [(plain(), quick()) for _ in range(FEWEST)]
    each, saved = (statistics.median(x) for x in ([b for _, b in taken], [a - b for a, b in taken]))
    return Compiling(max(0.0, first - each), saved / len(rows))


def _compiler() -> bool:
    """Whether there is a C++ compiler, as torch looks for one on a processor."""
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def _has_3d(build: Callable[[], nn.Module]) -> bool:
    """Whether a model convolves over time."""
    with torch.random.fork_rng(devices=[]):
        return any(isinstance(module, nn.Conv3d) for module in build().modules())


def _share_of_time(
    build: Callable[[], nn.Module], recipe: Recipe, data: Data, rows: Tensor, two: tuple[Precision, ...], steps: int
) -> float:
    """What a training step in the second format takes of one in the first: a median, after a few steps that warm up.

    They take turns, because a machine has slow moments, which must meet both.
    """
    one = dataclasses.replace(recipe, epochs=1, batch_size=len(rows))
    ways = [_stepper(build, one, data, rows, precision) for precision in two]
    times: list[list[float]] = []
    for _ in range(steps):
        times.append([way() for way in ways])
        if len(times) >= FEWEST and sum(map(sum, times)) > LONG:
            break
    return statistics.median(second / first for first, second in times[len(times) // 4 :])


def _stepper(
    build: Callable[[], nn.Module], recipe: Recipe, data: Data, rows: Tensor, precision: Precision
) -> Callable[[], float]:
    """A new model's training step on these rows, which says how many seconds it took."""
    model = precision.place(build().to(data.labels.device))
    steps, criterion, count = trainer.optimizer(recipe, model), nn.CrossEntropyLoss(), itertools.count()

    def step() -> float:
        began = time.perf_counter()
        generator = torch.Generator().manual_seed(next(count))
        trainer.one_epoch(model, steps, criterion, data, rows, recipe, 0, generator, precision).item()
        return time.perf_counter() - began

    return step
