"""In which format a training step is quickest here, and whether compiling it pays: by timing a few in turn."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mer_bench.contracts import Recipe
from mer_bench.training import trainer
from mer_bench.training.batches import Data
from mer_bench.training.trainer import Precision

log = logging.getLogger(__name__)

LONG, FEWEST = 20.0, 4
"""A probe stops timing two formats after so many seconds, but not before so many steps of each."""
CLEARLY, LAYOUT = 0.9, 0.95
"""A format is taken if its step takes less than this share of a plainer one's, or, where both count in the same numbers
and only lay them otherwise, less than the second: too little to spoil anything, and MMNet's gain is about a tenth."""
HOUR = 3600.0
"""Seconds that a process trains from which on it is asked whether compiling pays: to ask takes a minute or two."""
SLOW = 2.0
"""Times as long as in float32 that a lone convolution may take in bf16 where bf16 is tried at all."""
MARGIN = 2.0
"""Compiling is taken where it saves so many times what it costs."""
ALIKE = 0.05
"""Share by which a loss after one compiled step may differ from that after the same step as it is. Later ones drift
apart of themselves: with a published learning rate, rounding alone moves MMNet's fifth loss by so much."""


@dataclass(frozen=True)
class Found:
    """The format that a probe chose, and how many seconds a clip's training step takes in it."""

    precision: Precision
    seconds: float


@dataclass(frozen=True)
class Compiling:
    """What compiling costs a process (seconds, and seconds for each training), and what it saves of each clip."""

    costs: float
    again: float
    saves: float

    def pays(self, clips: float, trainings: float) -> bool:
        """Whether it saves more than it costs a process that trains so many clips, by a clear margin."""
        return self.saves * clips > MARGIN * (self.costs + self.again * trainings)


def machine(device: str) -> str:
    """A name for the processor that a probe's answer belongs to."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def probe(build: Callable[[], nn.Module], recipe: Recipe, data: Data, steps: int = 20) -> Found:
    """The format whose training step is fastest; one that gains too little over a plainer one is not taken.

    Formats are tried from the plainest on, each against the best before it.
    """
    device = data.labels.device.type
    formats = [Precision(b, c) for b in (False, True) for c in (False, True)]
    # With two frames oneDNN 3.12 (torch 2.13) fills the gradient of a 3-D convolution's bf16 weights with garbage.
    if device == "mps" or (device == "cpu" and (_has_3d(build) or slower_in_bf16() > SLOW)):
        formats = formats[:2]
    rows = torch.arange(min(recipe.batch_size, len(data.labels)), device=device)
    best, seconds = formats[0], 0.0
    for precision in formats[1:]:
        first, second = _times(build, recipe, data, rows, (best, precision), steps)
        enough = LAYOUT if precision.bf16 == best.bf16 else CLEARLY
        better = statistics.median(b / a for a, b in zip(first, second, strict=True)) < enough
        best, seconds = (precision, statistics.median(second)) if better else (best, statistics.median(first))
    return Found(best, seconds / len(rows))


def compiling(build: Callable[[], nn.Module], recipe: Recipe, data: Data, precision: Precision) -> Compiling | None:
    """What compiling costs and saves in a format; None where it cannot be done, or does not train as without it.

    A compiled step is timed, and its loss compared, in turn with one that is not.
    """
    device = data.labels.device
    if device.type == "mps" or len(data.labels) < recipe.batch_size:
        return None
    rows = torch.arange(recipe.batch_size, device=device)
    quick_format = dataclasses.replace(precision, compiled=True)
    plain, quick = (_stepper(build, recipe, data, rows, x) for x in (precision, quick_format))
    try:
        steps = [(plain(), quick()) for _ in range(1 + FEWEST)]
        anew = _stepper(build, recipe, data, rows, quick_format)()
    except RuntimeError as error:
        log.warning("not compiled, trained as it is: %s", " ".join(str(error).splitlines()[:2]))
        return None
    if not all(math.isclose(a.loss, b.loss, rel_tol=ALIKE) for a, b in steps[:2]):
        said = ", ".join(f"{b.loss:.4g} instead of {a.loss:.4g}" for a, b in steps[:2])
        log.warning("not compiled, trained as it is: its first losses would be %s", said)
        return None
    each = statistics.median(b.seconds for _, b in steps[1:])
    saved = statistics.median(a.seconds - b.seconds for a, b in steps[1:])
    first = steps[0][1].seconds
    return Compiling(max(0.0, first - anew.seconds), max(0.0, anew.seconds - each), saved / len(rows))


def _has_3d(build: Callable[[], nn.Module]) -> bool:
    """Whether a model convolves over time."""
    with torch.random.fork_rng(devices=[]):
        return any(isinstance(module, nn.Conv3d) for module in build().modules())


def slower_in_bf16() -> float:
    """How many times as long as in float32 this processor takes for one small convolution in bf16.

    One without bf16 instructions takes 5 to 90 times as long, at 224 pixels minutes a step: it is told by a convolution
    of a millisecond, not by the steps themselves.
    """
    return _lone(torch.bfloat16) / _lone(torch.float32)


def _lone(number: torch.dtype) -> float:
    """Seconds of one small convolution, the least of a few."""
    maps, filters = torch.ones(1, 32, 28, 28, dtype=number), torch.ones(32, 32, 3, 3, dtype=number)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        nn.functional.conv2d(maps, filters, padding=1)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _times(
    build: Callable[[], nn.Module], recipe: Recipe, data: Data, rows: Tensor, two: tuple[Precision, ...], steps: int
) -> list[list[float]]:
    """Seconds of training steps in two formats, after a few that warm up.

    They take turns, because a machine has slow moments, which must meet both.
    """
    ways = [_stepper(build, recipe, data, rows, precision) for precision in two]
    times: list[list[float]] = []
    for _ in range(steps):
        times.append([way().seconds for way in ways])
        if len(times) >= FEWEST and sum(map(sum, times)) > LONG:
            break
    return [list(column) for column in zip(*times[len(times) // 4 :], strict=True)]


class Step(NamedTuple):
    """How long a training step took, and its loss."""

    seconds: float
    loss: float


def _stepper(
    build: Callable[[], nn.Module], recipe: Recipe, data: Data, rows: Tensor, precision: Precision
) -> Callable[[], Step]:
    """A new model's training steps on these rows, seeded one by one."""
    one = dataclasses.replace(recipe, epochs=1, batch_size=len(rows))
    with trainer.seeded("probe"):
        model = precision.place(build().to(data.labels.device))
    steps, criterion, count = trainer.optimizer(one, model), nn.CrossEntropyLoss(), itertools.count()

    def step() -> Step:
        number = next(count)
        generator = torch.Generator().manual_seed(number)
        with trainer.seeded("probe", number):
            began = time.perf_counter()
            loss = trainer.one_epoch(model, steps, criterion, data, rows, one, 0, generator, precision).item()
            return Step(time.perf_counter() - began, loss)

    return step
