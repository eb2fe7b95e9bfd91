"""From bytes in memory to augmented float batches.

Data are decoded once and stay in (device) memory as bytes; augmentation is a handful of tensor operations on a batch,
drawn from the generator it is given and from nothing else.

    bytes (N, F, S, S, 3) ─ pick frame ─► (B, 3, S, S) float ─ normalise ─ augment ─► batch
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mer_bench.contracts import Recipe

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Data:
    """A view on a device.

    Attributes:
        pictures: view key -> bytes, (N, F, C, H, W) with F = 1 where there is nothing to pick.
        labels: (N,) int64.
        reach: (N, 3) int64: how far onset, apex (backwards) and apex (forwards) may move, in frames; zeros without
            jitter.
        motion: whether channels are flow (u, v, strain) rather than colours.
    """

    pictures: Mapping[str, Tensor]
    labels: Tensor
    reach: Tensor
    motion: bool


def load(arrays: Mapping[str, np.ndarray], labels: np.ndarray, reach: np.ndarray, device: str) -> Data:
    """Move a view's bytes to a device once.

    Args:
        arrays: view key -> (N, F, S, S, 3) or (N, S, S, 3) uint8.
        labels: (N,) integers.
        reach: see `Data.reach`.
        device: torch device.
    """
    pictures = {}
    for key, array in arrays.items():
        frames = torch.from_numpy(np.array(array))
        frames = frames if frames.ndim == 5 else frames[:, None]
        pictures[key] = frames.permute(0, 1, 4, 2, 3).contiguous().to(device)
    targets = torch.from_numpy(labels.astype(np.int64)).to(device)
    return Data(pictures, targets, torch.from_numpy(reach).to(device), motion="flow" in arrays)


def batch(
    data: Data, rows: Tensor, recipe: Recipe | None = None, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Float pictures (B, 3, H, W) of the rows; augmented by the recipe when a generator is given.

    Colours are ImageNet-normalised before augmentation, as the published MMNet scripts do; flow stays in 0..255.
    """
    device = data.labels.device
    frames = {key: _middle(data, key, rows) for key in data.pictures}
    if generator is not None and recipe is not None and recipe.jitter > 0 and not data.motion:
        frames = {key: _jitter(data, key, rows, index, generator) for key, index in frames.items()}
    pictures = {key: data.pictures[key][rows, index].float() for key, index in frames.items()}
    if not data.motion:
        mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
        std = torch.tensor(STD, device=device).view(3, 1, 1)
        pictures = {key: (x / 255 - mean) / std for key, x in pictures.items()}
    if generator is not None and recipe is not None:
        pictures = _augment(pictures, recipe, generator, data.motion)
    return pictures


def _middle(data: Data, key: str, rows: Tensor) -> Tensor:
    """Index of the annotated frame: the first of the onset's, the middle one of the apex's."""
    count = data.pictures[key].shape[1]
    return torch.full_like(rows, count // 2 if key == "apex" else 0)


def _jitter(data: Data, key: str, rows: Tensor, index: Tensor, generator: torch.Generator) -> Tensor:
    draw = torch.rand(len(rows), generator=generator).to(rows.device)
    onset, back, forward = data.reach[rows].unbind(1)
    if key == "onset":
        return index + (draw * (onset + 1)).long()
    return index - back + (draw * (back + forward + 1)).long()


def _augment(
    pictures: dict[str, Tensor], recipe: Recipe, generator: torch.Generator, motion: bool
) -> dict[str, Tensor]:
    """Mirror, rotate, shift and colour-shift every clip; all pictures of a clip move together."""
    first = next(iter(pictures.values()))
    count, _, height, width = first.shape
    draws = torch.rand(6, count, generator=generator).to(first.device)
    mirrored = draws[0] < recipe.flip
    if recipe.colour and not motion:
        gain, lift = 1 + recipe.colour * (2 * draws[4] - 1), recipe.colour * (2 * draws[5] - 1)
        pictures = {k: x * gain.view(-1, 1, 1, 1) + lift.view(-1, 1, 1, 1) for k, x in pictures.items()}
    if motion and recipe.flip:
        sign = mirrored.view(-1, 1, 1)
        # a mirrored face moves the other way: min-max scaled, -u is 255 - u
        pictures = {
            k: torch.cat([torch.where(sign, 255 - x[:, 0], x[:, 0])[:, None], x[:, 1:]], 1) for k, x in pictures.items()
        }
    if not (recipe.flip or recipe.rotate or recipe.shift):
        return pictures
    angle = (2 * draws[1] - 1) * math.radians(recipe.rotate)
    # whole pixels, so that a shift alone does not blur
    moved = [
        torch.round((2 * d - 1) * recipe.shift * side) * 2 / side for d, side in ((draws[2], width), (draws[3], height))
    ]
    flip = torch.where(mirrored, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack([torch.stack([flip * cos, -sin, moved[0]], 1), torch.stack([flip * sin, cos, moved[1]], 1)], 1)
    grid = nn.functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
    stacked = torch.cat(list(pictures.values()), 1)
    # uncovered pixels: the mean colour (0 after normalisation); flow has no such value, its border is repeated
    padding = "border" if motion else "zeros"
    turned = nn.functional.grid_sample(stacked, grid, padding_mode=padding, align_corners=False)
    return dict(zip(pictures, torch.split(turned, first.shape[1], 1), strict=True))
