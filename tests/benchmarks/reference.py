"""Our training, from files to probabilities, against a plain loop with the published scripts' habits.

    python tests/benchmarks/reference.py [--device cuda] [--only mmnet|net]

MMNet's plain loop, written from facts about the public script: for every clip and epoch nine frames are decoded in
the main process, brought to 224 pixels, normalised, stacked and augmented together; the network runs in fp32, NCHW,
eager, AdamW as torch sets it; loss and hits are read back after every step; test clips are decoded again after every
epoch. Small nets: one flow picture decoded for every clip and epoch, STSTNet's streams apart, otherwise alike. The
clips are drawn in CASME II's shape.

Ours is what `mer-bench run` does in a fold: faces found and frames cut once for all folds and epochs (that share of
the preparation is counted), bytes in memory, batched augmentation, the probe's format, in a process started as
`mer-bench` starts its workers; the plain loop runs in one started by hand. Both score the test clips. Ours is timed in
three processes one after another, each in turn with the plain loop.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import measuring
import numpy as np
import shaped
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench import catalog, splits
from mer_bench.contracts import Setting, resolve
from mer_bench.pixels import inputs
from mer_bench.training import batches, fold, trainer

SIZES = (2, 4, 4, 4, 4)
"""Clips drawn; the first subject is tested. Time is told a clip, so that few are enough."""
MMNET_WANTED, STRETCH, SMALL_WANTED = 3.5, 5.0, 2.5
SMALL = ("ststnet", "off_apexnet", "dual_inception")
MEAN, STD = (np.array(values, np.float32) for values in (batches.MEAN, batches.STD))
STEPS = 60
"""Of a small net, about, in one measurement."""
FRAMES = 4
"""Frames after the onset, and before and after the apex, which the script loads beside the two that it uses."""


class PlainGate(nn.Module):
    """A spatial attention map as such scripts write it."""

    def __init__(self, gate: Any) -> None:
        super().__init__()
        self.mix, self.norm = gate.mix, gate.norm

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 1, h, w)."""
        mean, most = features.mean(1, keepdim=True), features.max(1, keepdim=True).values
        return torch.sigmoid(self.norm(self.mix(torch.cat([mean, most], 1))))


class PlainStreams(nn.Module):
    """STSTNet's three streams one after another, as its script runs them; ours are one convolution and one norm."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> logits."""
        net, streams = self.net, []
        for mix, norm in ((net.conv1, net.bn1), (net.conv2, net.bn2), (net.conv3, net.bn3)):
            pooled = F.max_pool2d(norm(F.relu(mix(flow))), 3, 3, 1)
            streams.append(F.dropout(pooled, net.dropout, self.training))
        return self.net.fc(F.avg_pool2d(torch.cat(streams, 1), 2).flatten(1))


class PlainPair(nn.Module):
    """Two streams one after the other and torch's dropout, as OFF-ApexNet's port runs them; ours are side by side."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.head = nn.Sequential(*(nn.Dropout(x.p) if isinstance(x, nn.Dropout) else x for x in net.head))

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> logits."""
        net, scaled = self.net, flow / 255
        streams = net.u(scaled[:, 0:1]), net.v(scaled[:, 1:2])
        return self.head(torch.cat([stream.flatten(1) for stream in streams], 1))


def plain_network(build: Callable[[], nn.Module]) -> nn.Module:
    """The network as scripts write it: without our own gradient of MMNet's gates, streams apart."""
    model = build()
    if hasattr(model, "bn3"):
        return PlainStreams(model)
    if hasattr(model, "u"):
        return PlainPair(model)
    for module in list(model.modules()):
        if hasattr(module, "gate") and module.gate is not None:
            module.gate = PlainGate(module.gate)
    return model


def nine_frames(root: Path, row: dict[str, Any], size: int) -> Tensor:
    """(27, size, size): onset to onset + 3, apex, four frames before the offset; normalised."""
    numbers = [row["onset"] + i for i in range(FRAMES)] + [row["apex"]] + [row["offset"] - i for i in range(FRAMES)]
    found = []
    for number in numbers:
        image = cv2.cvtColor(cv2.imread(str(root / row["frame_path"].format(frame=number))), cv2.COLOR_BGR2RGB)
        image = cv2.resize(image, (size, size)).astype(np.float32) / 255
        found.append(torch.from_numpy((image - MEAN) / STD).permute(2, 0, 1))
    return torch.cat(found)


def augmented(stack: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror, turn by up to 3 degrees, crop after padding by 15, all frames of a clip together."""
    if rng.random() < 0.5:
        stack = stack.flip(2)
    angle = np.radians(rng.uniform(-3, 3))
    theta = torch.tensor([[[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]], dtype=torch.float32)
    grid = F.affine_grid(theta, [1, *stack.shape], align_corners=False)
    turned = F.grid_sample(stack[None], grid, mode="nearest", align_corners=False)[0]
    top, left = rng.integers(0, 31, 2)
    size = stack.shape[1]
    return F.pad(turned, (15,) * 4)[:, top : top + size, left : left + size]


def in_batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Rows, batch by batch."""
    for start in range(0, len(order), size):
        yield order[start : start + size]


def plain_epoch(
    model: nn.Module, steps: torch.optim.Optimizer, shown: Callable[[int, bool], tuple[Tensor, ...]],
    labels: np.ndarray, rows: tuple[np.ndarray, np.ndarray], size: int, device: str,
) -> None:  # fmt: skip
    """One epoch of the plain loop, and its look at the test clips."""
    rng, hits = np.random.default_rng(0), 0
    for training, side in zip((True, False), rows, strict=True):
        model.train(training)
        for part in in_batches(rng.permutation(side) if training else side, size):
            pictures = [
                torch.stack(parts).to(device) for parts in zip(*(shown(row, training) for row in part), strict=True)
            ]
            target = torch.from_numpy(labels[part]).to(device)
            with torch.set_grad_enabled(training):
                said = model(*pictures)
                loss = F.cross_entropy(said, target)
            if training:
                steps.zero_grad()
                loss.backward()
                steps.step()
            loss.item()
            hits += (said.argmax(1) == target).sum().item()


def mmnet(device: str, repeats: int) -> list[tuple[object, ...]]:
    """End to end at 224 pixels; a row for the ratio, and where the time goes."""
    task = "shaped-5"
    setting = resolve("mmnet", catalog.baseline("mmnet"), "paper-5class")
    inputs.load(task, setting.view)  # draws the corpus as well
    prepared, data = timed_load(task, setting)
    root = next((Path(catalog.home()) / "corpora").glob("shaped-*"))
    table = data.clips.to_dicts()
    labels = data.clips["label"].to_numpy().astype(np.int64)
    part = splits.loso(data.clips)[0]
    build = fold.builder(setting, 5)
    recipe = setting.recipe
    assert recipe is not None
    torch.manual_seed(0)
    model = plain_network(build).to(device)
    steps = torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    rng = np.random.default_rng(0)

    def shown(row: int, training: bool) -> tuple[Tensor, ...]:
        stack = nine_frames(root, table[row], 224)
        stack = augmented(stack, rng) if training else stack
        return stack[:3], stack[12:15]

    with measuring.worker() as there:
        precision = there(probed, setting, 5, data, device, trainer.FEWEST)
    training = fold.Training(
        task, setting, 0, part.name, False, bf16=precision.bf16, channels_last=precision.channels_last, device=device
    )
    taken = measuring.anew(
        lambda there: {
            "plain": lambda: plain_epoch(
                model, steps, shown, labels, (part.train, part.test), recipe.batch_size, device
            ),
            "one": lambda: there(fold.train_on, replace(training, stop_after=0), data, 5),
            "two": lambda: there(fold.train_on, replace(training, stop_after=1), data, 5),
            "decoding": lambda: [shown(row, True) for row in part.train],
        },
        repeats,
    )
    clips = len(part.train) + len(part.test)
    share = prepared / len(table) / (shaped.FOLDS * recipe.epochs)
    ours = [
        shared(one, two, 1, recipe.epochs) / clips + share for one, two in zip(taken["one"], taken["two"], strict=True)
    ]
    plain = [seconds / clips for seconds in taken["plain"]]
    faster = float(np.median([a / b for a, b in zip(plain, ours, strict=True)]))
    wanted = f"{measuring.verdict(faster, MMNET_WANTED)}, {measuring.verdict(faster, STRETCH)}"
    said = f"{'bf16' if precision.bf16 else 'fp32'}{', channels last' if precision.channels_last else ''}"
    decoding = 1000 * measuring.median(taken["decoding"]) / len(part.train)
    note = (
        f"{said}; {decoding:.0f} ms of plain decode and augment, preparing {1000 * prepared / len(table):.0f} ms once; "
        f"the format makes a lone convolution {convolution(precision, device):.2f} times as fast on this machine"
    )
    return [("mmnet:paper-5class, 224 px", faster, wanted, 1000 * np.median(plain), 1000 * np.median(ours), note)]


def convolution(precision: trainer.Precision, device: str, repeats: int = 9) -> float:
    """How much faster a convolution as in MMNet's blocks is in a format, forward and back; no loop can do much more."""

    def step(laid: trainer.Precision) -> None:
        layer = laid.place(nn.Conv2d(64, 64, 3, padding=1, bias=False).to(device))
        picture = laid.lay(torch.randn(4, 64, 56, 56, device=device)).requires_grad_()
        for _ in range(10):
            with laid.autocast(device):
                found = layer(picture)
            found.sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    formats = {"plain": trainer.Precision(), "ours": precision}
    ways = {name: functools.partial(step, laid) for name, laid in formats.items()}
    return measuring.ratio(measuring.paired(ways, repeats), "plain", "ours")


def probed(setting: Setting, classes: int, data: inputs.Inputs, device: str, steps: int) -> trainer.Precision:
    """The format in which training steps are fastest where this is called."""
    assert setting.recipe is not None
    return trainer.probe(fold.builder(setting, classes), setting.recipe, fold.data_of(data, setting, device), steps)


def shared(few: float, many: float, more: int, epochs: int) -> float:
    """Seconds of an epoch, from those of a fold of one epoch and of one with so many more.

    What a fold takes but once (building, hashing the weights) is shared by its epochs, as the preparation is by all.
    """
    epoch = (many - few) / more
    return epoch + max(0.0, few - epoch) / epochs


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
    labels = data.clips["label"].to_numpy().astype(np.int64)
    part = splits.loso(data.clips)[0]
    build = fold.builder(setting, 3)
    torch.manual_seed(0)
    model = plain_network(build).to(device)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    steps = kind(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)

    def shown(row: int, training: bool) -> tuple[Tensor, ...]:
        picture = cv2.imread(str(folder / f"{row}.png"))[..., ::-1].astype(np.float32)
        return (torch.from_numpy(picture).permute(2, 0, 1),)

    with measuring.worker() as there:
        precision = there(probed, setting, 3, data, device, 20)
    training = fold.Training(
        "drawn", setting, 0, part.name, False, bf16=precision.bf16, channels_last=precision.channels_last, device=device
    )

    def plain() -> None:
        for _ in range(epochs):
            plain_epoch(model, steps, shown, labels, (part.train, part.test), recipe.batch_size, device)

    taken = measuring.anew(
        lambda there: {
            "plain": plain,
            "few": lambda: there(fold.train_on, replace(training, stop_after=0), data, 3),
            "many": lambda: there(fold.train_on, replace(training, stop_after=epochs), data, 3),
        },
        repeats,
    )
    clips = len(part.train) + len(part.test)
    ours = [
        shared(few, many, epochs, recipe.epochs) / clips for few, many in zip(taken["few"], taken["many"], strict=True)
    ]
    plain_each = [seconds / epochs / clips for seconds in taken["plain"]]
    faster = float(np.median([a / b for a, b in zip(plain_each, ours, strict=True)]))
    each = [1000 * np.median(seconds) for seconds in (plain_each, ours)]
    said = (
        f"{'bf16' if precision.bf16 else 'fp32'}{', channels last' if precision.channels_last else ''}; {epochs} epochs"
    )
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
