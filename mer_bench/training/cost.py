"""What a model costs: parameters, multiply-accumulates and milliseconds of one clip.

Measured with one thread, in 32-bit floats, one clip at a time, in evaluation mode: the way a model would be asked about
one clip. They describe a machine and are no part of the recorded question.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mer_bench import catalog
from mer_bench.contracts import Setting
from mer_bench.training.fold import builder, data_of, one_thread, view_of

REPEATS, WARM = 15, 3
FIT_ON = 10
"""Clips of each class that a model with a `fit` of its own is fitted on before it is timed."""


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, multiply-accumulates of one clip (None: not a network), milliseconds of one clip."""

    parameters: int | None
    macs: int | None
    latency: float


def measure(task: str, setting: Setting, device: str) -> Cost:
    """Build a setting's model as a fold would, untrained, and ask it about one clip a few times."""
    from mer_bench.training import trainer  # with torch, which a report should not wait for

    classes = len(catalog.task(task).classes)
    with trainer.seeded("cost"), one_thread():
        model = builder(setting, classes)()
        return _classical(model, task, setting) if setting.recipe is None else _network(model, task, setting, device)


def _network(model: Any, task: str, setting: Setting, device: str) -> Cost:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mer_bench.training import batches

    data = data_of(view_of(task, setting.view), setting, device)
    model = model.to(device).eval()
    clip = batches.batch(data, torch.arange(1, device=data.labels.device))
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            model(**clip)
        latency = _median(lambda: model(**clip).cpu())
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # torch counts a multiplication and an addition as two operations
    return Cost(int(parameters), int(counter.get_total_flops()) // 2, latency)


def _classical(model: Any, task: str, setting: Setting) -> Cost:
    data = view_of(task, setting.view)
    labels = data.clips["label"].to_numpy().astype(np.int64)
    few = np.sort(np.concatenate([np.flatnonzero(labels == k)[:FIT_ON] for k in np.unique(labels)]))
    model.fit({key: np.asarray(array[few]) for key, array in data.arrays.items()}, labels[few])
    clip = {key: np.asarray(array[few[:1]]) for key, array in data.arrays.items()}
    return Cost(None, None, _median(lambda: model.predict_proba(clip)))


def _median(ask: Callable[[], object]) -> float:
    """Median milliseconds of a call, after a few that warm up; a slow call is repeated less often."""
    taken: list[float] = []
    for turn in range(WARM + REPEATS):
        began = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - began))
        if sum(taken) > 3000 and turn >= WARM:
            break
    return statistics.median(taken[WARM:])
