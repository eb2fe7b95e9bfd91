"""What the training loop costs beyond the model: our epoch against bare forward, backward and step.

    python tests/benchmarks/step.py [--device cuda] [--only NAME]

Bare: the same network, optimizer, precision and memory format on one batch prepared beforehand, nothing drawn, nothing
scheduled, nothing checked. Ours: the trainer's epoch, which picks clips from memory, moves and turns them, sets the
learning rate and sums the loss. Both are timed in turn in three processes one after another, and take turns with two
networks, because where memory happens to lie moves the ratio by hundredths: of two networks alike, the first built is
slower by one or two in a hundred.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import measuring
import numpy as np
import torch
from torch import nn

from mer_bench import catalog
from mer_bench.contracts import Setting, resolve
from mer_bench.pixels import frames
from mer_bench.training import batches, fold, probes, trainer

WANTED = 1.05
CLASSES = 5


@dataclass(frozen=True)
class Case:
    """One model at one size: its question, batches an epoch, repeats in a process, the format (None: probed)."""

    title: str
    question: str
    pinned: dict[str, Any]
    steps: int
    repeats: int
    precision: trainer.Precision | None = None


BF16 = trainer.Precision(bf16=True, channels_last=True)
SEARCHED = {"image_size": 48, "width": 0.25, "batch_size": 16}
CASES = (
    Case("mmnet, 224 px, batch 16", "mmnet:paper-5class", {"batch_size": 16}, 1, 2, BF16),
    Case("mmnet, 112 px, batch 32", "mmnet:paper-5class", {"image_size": 112}, 1, 3, BF16),
    Case("mmnet, 48 px, width .25, batch 16", "mmnet", SEARCHED, 6, 31),
    Case("mmnet, 24 px, width .125, batch 16", "mmnet", {**SEARCHED, "image_size": 24, "width": 0.125}, 6, 61),
    Case("mmnet:flow, 28 px, width .25", "mmnet:flow", {"image_size": 28, "width": 0.25}, 6, 41),
    Case("ststnet, batch 256", "ststnet", {}, 4, 31),
    Case("off_apexnet, batch 64", "off_apexnet", {}, 6, 31),
)


def drawn(setting: Setting, clips: int, device: str) -> batches.Data:
    """Random clips in the setting's view."""
    rng = np.random.default_rng(0)
    view = frames.parse_view(setting.view)
    arrays = {key: rng.integers(0, 256, (clips, *shape), np.uint8) for key, shape in view.shapes.items()}
    return batches.load(arrays, np.arange(clips) % CLASSES, np.ones((clips, 3), np.int64), device)


def ways(case: Case, device: str) -> tuple[dict[str, Callable[[], object]], trainer.Precision, int]:
    """Our epoch and the bare one over as many clips, the format they are in, and the number of clips."""
    stem, preset = catalog.split(case.question)
    setting = resolve(stem, catalog.baseline(stem), preset, None, pinned=case.pinned)
    recipe = setting.recipe
    assert recipe is not None
    data = drawn(setting, recipe.batch_size * case.steps, device)
    build = fold.builder(setting, CLASSES)
    precision = case.precision or probes.probe(build, recipe, data).precision
    rows, criterion = torch.arange(len(data.labels), device=device), nn.CrossEntropyLoss()
    models = [precision.place(build().to(device)) for _ in range(2)]
    pair = [(model, trainer.optimizer(recipe, model)) for model in models]
    mine, theirs = itertools.cycle(pair), itertools.cycle(pair[::-1])
    few = rows[: recipe.batch_size]
    ready = {key: precision.lay(x) for key, x in batches.batch(data, few).items()}
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def ours() -> None:
        model, steps = next(mine)
        generator = torch.Generator().manual_seed(0)
        trainer.one_epoch(model, steps, criterion, data, rows, recipe, 0, generator, precision)
        wait()

    def bare() -> None:
        model, steps = next(theirs)
        model.train()
        for _ in range(case.steps):
            with precision.autocast(device):
                logits = model(**ready)
            loss = criterion(logits.float(), data.labels[few])
            steps.zero_grad(set_to_none=True)
            loss.backward()
            steps.step()
        wait()

    return {"ours": ours, "bare": bare}, precision, len(rows)


def timed(case: Case, device: str) -> tuple[dict[str, list[float]], trainer.Precision, int]:
    """Seconds of both, taken in turn in the process that this is called in, and what `ways` says of them."""
    with fold.one_thread():
        both, precision, clips = ways(case, device)
        return measuring.paired(both, case.repeats), precision, clips


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--only", default="", help="cases whose title holds this")
    given = asked.parse_args()
    rows = []
    for case in (case for case in CASES if given.only in case.title):
        taken: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(measuring.PROCESSES):
            with measuring.worker() as there:
                more, precision, clips = there(timed, case, given.device)
            case = replace(case, precision=precision)
            taken = {way: seconds + more[way] for way, seconds in taken.items()}
        over = measuring.ratio(taken, "ours", "bare")
        said = measuring.laid(precision)
        each = [1000 * measuring.median(taken[way]) / clips for way in ("ours", "bare")]
        rows.append((case.title, over, measuring.verdict(over, WANTED, most=True), *each, said))
    head = ("model", "loop / bare", "wanted", "loop, ms a clip", "bare, ms a clip", "format")
    print(measuring.section("Training step", "\n\n".join(__doc__.split("\n\n")[2:]), head, rows))


if __name__ == "__main__":
    main()
