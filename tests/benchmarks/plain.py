"""A plain loop with the published scripts' habits: what our training is measured against.

Written from facts about the scripts. `mmnet` and `net` each make a loop, in a process of its own (`measuring.by_hand`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Setting
from mer_bench.splits import Fold
from mer_bench.training import batches, fold

MEAN, STD = (np.array(values, np.float32) for values in (batches.MEAN, batches.STD))
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


def network(build: Callable[[], nn.Module]) -> nn.Module:
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


def epoch(
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


def mmnet(
    root: Path, table: Sequence[dict[str, Any]], labels: np.ndarray, part: Fold, setting: Setting, device: str
) -> Callable[[str], None]:
    """MMNet's loop at 224 pixels: an "epoch", or just the "decoding" of its training clips."""
    rng, trained = np.random.default_rng(0), _training(setting, 5, device)

    def shown(row: int, training: bool) -> tuple[Tensor, ...]:
        stack = nine_frames(root, table[row], 224)
        stack = augmented(stack, rng) if training else stack
        return stack[:3], stack[12:15]

    def work(what: str) -> None:
        if what == "decoding":
            for row in part.train:
                shown(row, True)
        else:
            epoch(*trained, shown, labels, (part.train, part.test), setting.recipe.batch_size, device)

    return work


def net(folder: Path, labels: np.ndarray, part: Fold, setting: Setting, device: str) -> Callable[[int], None]:
    """A small net's loop over pictures `ROW.png` of a folder: so many epochs."""
    trained = _training(setting, 3, device)

    def shown(row: int, training: bool) -> tuple[Tensor, ...]:
        picture = cv2.imread(str(folder / f"{row}.png"))[..., ::-1].astype(np.float32)
        return (torch.from_numpy(picture).permute(2, 0, 1),)

    def work(epochs: int) -> None:
        for _ in range(epochs):
            epoch(*trained, shown, labels, (part.train, part.test), setting.recipe.batch_size, device)

    return work


def _training(setting: Setting, classes: int, device: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network and its optimizer, as scripts make them."""
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    model, recipe = network(fold.builder(setting, classes)).to(device), setting.recipe
    assert recipe is not None
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return model, kind(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
