"""Our training, from files to probabilities, against a plain loop with the published scripts' habits.

    python tests/benchmarks/reference.py [--device cuda] [--only mmnet|net]

MMNet's plain loop, written from facts about the public script: for every clip and epoch nine frames are decoded in
the main process, brought to 224 pixels, normalised, stacked and augmented together; the network runs in fp32, NCHW,
eager, AdamW as torch sets it; loss and hits are read back after every step; test clips are decoded again after every
epoch. Small nets: one flow picture decoded for every clip and epoch, STSTNet's streams apart, otherwise alike. The
clips are drawn in CASME II's shape.

Ours is what `mer-bench run` does in a fold: faces found and frames cut once for all folds and epochs (that share of
the preparation is counted), bytes in memory, batched augmentation, the probe's format, in a process started as
`mer-bench` starts its workers; the plain loop runs in one started by hand. Both score the test clips, and are timed in
turn in three pairs of fresh processes. MMNet's one batch is its training side; what compiling costs is shared by the
clips that a process trains in a run of the published recipe. Beside it stand a clip's operations at the best rate of
three products and convolutions measured then: a yardstick, not a proof that no loop is quicker.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import measuring
import numpy as np
import plain
import shaped
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mer_bench import catalog, processes, splits
from mer_bench.contracts import Setting, resolve
from mer_bench.pixels import inputs
from mer_bench.training import batches, fold, probes, trainer

SIZES = (2, 4, 4, 4, 4)
"""Clips drawn; the first subject is tested. Time is told a clip, so that few are enough."""
MMNET_WANTED, STRETCH, SMALL_WANTED = 3.5, 5.0, 2.5
SMALL = ("ststnet", "off_apexnet", "dual_inception")
MORE = 3
"""Further epochs of MMNet, by which an epoch is told apart from what a fold takes but once."""
STEPS = 60
"""Of a small net, about, in one measurement."""


def mmnet(device: str, repeats: int) -> list[tuple[object, ...]]:
    """End to end at 224 pixels; a row for the ratio, and where the time goes."""
    task = "shaped-5"
    setting = resolve("mmnet", catalog.baseline("mmnet"), "paper-5class", pinned={"batch_size": sum(SIZES[1:])})
    inputs.load(task, setting.view)  # draws the corpus as well
    prepared, data = timed_load(task, setting)
    root = next((Path(catalog.home()) / "corpora").glob("shaped-*"))
    table, part = data.clips.to_dicts(), splits.loso(data.clips)[0]
    recipe = setting.recipe
    assert recipe is not None
    with measuring.worker() as there:
        precision = there(probed, setting, 5, data, device, probes.FEWEST)
        compiling = there(compiled, setting, 5, data, device, precision)
        limit = there(roof, setting, 5, data, part, precision, device)
    trainings = shaped.FOLDS / (processes.cores() if device == "cpu" else 1)
    updates = trainings * shaped.CLIPS * recipe.epochs
    pays = compiling is not None and compiling.pays(updates, trainings)
    training = fold.Training(
        task, setting, 0, part.name, False, **asdict(replace(precision, compiled=pays)), device=device
    )
    taken = measuring.anew(
        lambda there, by_hand: {
            "plain": lambda: by_hand("epoch"),
            "one": lambda: there(fold.train_on, replace(training, stop_after=0), data, 5),
            "many": lambda: there(fold.train_on, replace(training, stop_after=MORE), data, 5),
            "decoding": lambda: by_hand("decoding"),
        },
        functools.partial(plain.mmnet, root, table, labels_of(data), part, setting, device),
        repeats,
    )
    clips = len(part.train) + len(part.test)
    share = prepared / len(table) / (shaped.FOLDS * recipe.epochs) + (compiling.costs / updates if pays else 0.0)
    # what a fold takes but once is shared by the clips that it has on CASME II, not by the few drawn here
    once = shaped.CLIPS / clips * recipe.epochs
    ours = [
        shared(one, many, MORE, once) / clips + share for one, many in zip(taken["one"], taken["many"], strict=True)
    ]
    plainly = [seconds / clips for seconds in taken["plain"]]
    faster = float(np.median([a / b for a, b in zip(plainly, ours, strict=True)]))
    wanted = f"{measuring.verdict(faster, MMNET_WANTED)}, {measuring.verdict(faster, STRETCH)}"
    said = measuring.laid(precision)
    said += f", compiled in {compiling.costs:.0f} s once and {compiling.again:.0f} s a fold" if pays else ""
    decoding = 1000 * measuring.median(taken["decoding"]) / len(part.train)
    cut = f"{decoding:.0f} ms of plain decode and augment, preparing {1000 * prepared / len(table):.0f} ms once"
    note = f"{said}; {cut}; {limit}"
    return [("mmnet:paper-5class, 224 px", faster, wanted, 1000 * np.median(plainly), 1000 * np.median(ours), note)]


def roof(
    setting: Setting, classes: int, data: inputs.Inputs, part: splits.Fold, precision: trainer.Precision, device: str
) -> str:
    """How long a clip's products and convolutions would take at the best rate of `rate`: a yardstick, in words."""
    best, plain_best = (rate(laid, device) for laid in (precision, trainer.Precision()))
    with fold.one_thread():
        model = fold.builder(setting, classes)()
        with FlopCounterMode(display=False) as counted:
            logits = model(**batches.batch(fold.data_of(data, setting, "cpu"), torch.arange(2)))
            forward = counted.get_total_flops() / 2
            logits.sum().backward()
        step = counted.get_total_flops() / 2
    flops = (len(part.train) * step + len(part.test) * forward) / (len(part.train) + len(part.test))
    return (
        f"{flops / 1e9:.0f} GFLOP a clip would take {1000 * flops / best:.0f} ms (plainly "
        f"{1000 * flops / plain_best:.0f}) at the best rate of a product or convolution here, {best / 1e9:.0f} GFLOP/s "
        f"(plainly {plain_best / 1e9:.0f})"
    )


def rate(precision: trainer.Precision, device: str) -> float:
    """Floating-point operations a second of the best of two products and a convolution in a format."""
    number = torch.bfloat16 if precision.bf16 else torch.float32
    random = functools.partial(torch.randn, device=device, dtype=number)
    maps, filters = (precision.lay(random(*shape)) for shape in ((16, 128, 56, 56), (128, 128, 3, 3)))
    wide, narrow, square = random(4096, 512), random(2048, 512), random(2048, 2048)
    ways = {
        2 * 4096 * 512 * 2048: lambda: nn.functional.linear(wide, narrow),
        2 * 2048**3: lambda: nn.functional.linear(square, square),
        2 * 16 * 56**2 * 128**2 * 9: lambda: nn.functional.conv2d(maps, filters, padding=1),
    }
    return max(flops / seconds(way, device) for flops, way in ways.items())


def seconds(way: Callable[[], object], device: str, repeats: int = 10) -> float:
    """The least that a call takes."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        way()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return min(taken)


def probed(setting: Setting, classes: int, data: inputs.Inputs, device: str, steps: int) -> trainer.Precision:
    """The format in which training steps are fastest where this is called."""
    assert setting.recipe is not None
    ready = fold.data_of(data, setting, device)
    return probes.probe(fold.builder(setting, classes), setting.recipe, ready, steps).precision


def compiled(
    setting: Setting, classes: int, data: inputs.Inputs, device: str, precision: trainer.Precision
) -> probes.Compiling | None:
    """What compiling costs and saves where this is called."""
    assert setting.recipe is not None
    ready = fold.data_of(data, setting, device)
    with fold.one_thread():
        return probes.compiling(fold.builder(setting, classes), setting.recipe, ready, precision)


def shared(few: float, many: float, more: int, epochs: float) -> float:
    """Seconds of an epoch, from those of a fold of one epoch and of one with so many more.

    What a fold takes but once (building, hashing the weights) is shared by its epochs, as the preparation is by all.
    """
    epoch = (many - few) / more
    return epoch + max(0.0, few - epoch) / epochs


def labels_of(data: inputs.Inputs) -> np.ndarray:
    """Classes of a view's clips, (N,) int64."""
    return data.clips["label"].to_numpy().astype(np.int64)


def timed_load(task: str, setting: Setting) -> tuple[float, inputs.Inputs]:
    """Seconds of preparing a view anew, by one process, and the view."""
    for folder in (catalog.home() / "inputs").glob("shaped-*"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    began = time.perf_counter()
    data = inputs.load(task, setting.view)
    return time.perf_counter() - began, data


def small(name: str, device: str, repeats: int, folder: Path) -> list[tuple[object, ...]]:
    """A flow net on 442 drawn pictures: a few epochs of one fold."""
    import linear

    setting = resolve(name, catalog.baseline(name))
    recipe = setting.recipe
    assert recipe is not None
    data = linear.drawn("ridge_flow")
    epochs = max(2, STEPS * recipe.batch_size // len(data.clips))
    for row, picture in enumerate(data.arrays["flow"]):
        cv2.imwrite(str(folder / f"{row}.png"), picture[..., ::-1])
    part = splits.loso(data.clips)[0]
    with measuring.worker() as there:
        precision = there(probed, setting, 3, data, device, 20)
    training = fold.Training(
        "drawn", setting, 0, part.name, False, bf16=precision.bf16, channels_last=precision.channels_last, device=device
    )

    taken = measuring.anew(
        lambda there, by_hand: {
            "plain": lambda: by_hand(epochs),
            "few": lambda: there(fold.train_on, replace(training, stop_after=0), data, 3),
            "many": lambda: there(fold.train_on, replace(training, stop_after=epochs), data, 3),
        },
        functools.partial(plain.net, folder, labels_of(data), part, setting, device),
        repeats,
    )
    clips = len(part.train) + len(part.test)
    ours = [
        shared(few, many, epochs, recipe.epochs) / clips for few, many in zip(taken["few"], taken["many"], strict=True)
    ]
    plainly = [seconds / epochs / clips for seconds in taken["plain"]]
    faster = float(np.median([a / b for a, b in zip(plainly, ours, strict=True)]))
    each = [1000 * np.median(seconds) for seconds in (plainly, ours)]
    said = f"{measuring.laid(precision)}; {epochs} epochs"
    return [(f"{name}, 28 px", faster, measuring.verdict(faster, SMALL_WANTED), *each, said)]


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--device", default="cpu")
    asked.add_argument("--only", default="", help="mmnet, net (the small ones) or one name")
    asked.add_argument("--repeats", type=int, default=2, help="in each process")
    given = asked.parse_args()
    rows: list[tuple[object, ...]] = []
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        shaped.install(Path(home), SIZES)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{home}/compiled"  # nothing compiled before is found
        cv2.setNumThreads(1)
        if given.only in ("", "mmnet"):
            rows += mmnet(given.device, given.repeats)
        for name in SMALL:
            if given.only in ("", "net", name):
                pictures = Path(home) / name
                pictures.mkdir()
                rows += small(name, given.device, given.repeats, pictures)
    head = ("model", "plain / ours", "wanted", "plain, ms a clip", "ours, ms a clip", "notes")
    title = "End to end against a plain loop" + (", small nets" if given.only == "net" else "")
    print(measuring.section(title, "\n\n".join(__doc__.split("\n\n")[2:]), head, rows))


if __name__ == "__main__":
    main()
