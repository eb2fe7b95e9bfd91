"""From bytes in memory to augmented float batches.

Data are decoded once and stay in (device) memory as bytes; augmentation is a handful of tensor operations on a batch,
drawn from the generator it is given and from nothing else.

    bytes (N, F, S, S, 3) ─ pick frame ─► (B, 3, S, S) float ─ normalise ─ augment ─► batch

    key           batch                  values
    onset, apex   (B, 3, S, S)           ImageNet-normalised
    flow          (B, 3, S, S)           0..255
    uv            (B, 2, S, S)           pixels
    clip          (B, 1, T, S, S)        as a picture of three equal channels, ImageNet-normalised by their mean
    flow_clip     (B, 3, T, S, S)        0..255
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
GREY_MEAN, GREY_STD = 0.449, 0.226
SCALED_FLOW = ("flow", "flow_clip")
MOTION = (*SCALED_FLOW, "uv")


@dataclass(frozen=True)
class Data:
    """A view on a device.

    Attributes:
        pictures: view key -> bytes, (N, F, C, H, W), or (N, F, C, T, H, W) for clips, with F = 1 where there is nothing
            to pick (`uv` is float32).
        labels: (N,) int64.
        reach: (N, 3) int64: how far onset, apex (backwards) and apex (forwards) may move, in frames; zeros without
            jitter.
        motion: whether channels are flow (u, v and perhaps strain) rather than colours.
    """

    pictures: Mapping[str, Tensor]
    labels: Tensor
    reach: Tensor
    motion: bool


def load(arrays: Mapping[str, np.ndarray], labels: np.ndarray, reach: np.ndarray, device: str) -> Data:
    """Move a view's bytes to a device once.

    Args:
        arrays: view key -> array, as `inputs` lists them.
        labels: (N,) integers.
        reach: see `Data.reach`.
        device: torch device.
    """
    pictures = {key: _laid(key, torch.from_numpy(np.array(array))).to(device) for key, array in arrays.items()}
    targets = torch.from_numpy(labels.astype(np.int64)).to(device)
    return Data(pictures, targets, torch.from_numpy(reach).to(device), motion=bool(set(MOTION) & set(arrays)))


def _laid(key: str, stored: Tensor) -> Tensor:
    """An array as stored, channels last if it has any -> (N, F, C, [T,] H, W)."""
    if key == "clip":
        return stored[:, None, None]
    if key == "flow_clip":
        return stored.permute(0, 4, 1, 2, 3).contiguous()[:, None]
    frames = stored if stored.ndim == 5 else stored[:, None]
    return frames.permute(0, 1, 4, 2, 3).contiguous()


def batch(
    data: Data, rows: Tensor, recipe: Recipe | None = None, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Float pictures of the rows, shaped as above; augmented by the recipe when a generator is given.

    Colours are ImageNet-normalised before augmentation, as the published MMNet scripts do; flow stays as it is stored.
    """
    frames = {key: _middle(data, key, rows) for key in data.pictures}
    if generator is not None and recipe is not None and recipe.jitter > 0 and not data.motion:
        frames = {key: _jitter(data, key, rows, index, generator) for key, index in frames.items()}
    pictures = {key: data.pictures[key][rows, index].float() for key, index in frames.items()}
    if not data.motion:
        pictures = {key: _normalised(key, x) for key, x in pictures.items()}
    if generator is not None and recipe is not None:
        pictures = _augment(pictures, recipe, generator, data.motion)
    return pictures


def _normalised(key: str, picture: Tensor) -> Tensor:
    if key == "clip":
        return (picture / 255 - GREY_MEAN) / GREY_STD
    mean, std = (torch.tensor(values, device=picture.device).view(3, 1, 1) for values in (MEAN, STD))
    return (picture / 255 - mean) / std


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
    count, (height, width) = len(first), first.shape[-2:]
    draws = torch.rand(6, count, generator=generator).to(first.device)
    mirrored = draws[0] < recipe.flip
    if recipe.colour and not motion:
        gain, lift = 1 + recipe.colour * (2 * draws[4] - 1), recipe.colour * (2 * draws[5] - 1)
        pictures = {k: x * _along(gain, x) + _along(lift, x) for k, x in pictures.items()}
    if motion and recipe.flip:
        pictures = {k: _turned_back(x, mirrored) if k in SCALED_FLOW else x for k, x in pictures.items()}
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
    # channels and frames of a clip side by side: one warp for all
    flat = {k: x.flatten(1, -3) for k, x in pictures.items()}
    # uncovered pixels: the mean colour (0 after normalisation); flow has no such value, its border is repeated
    padding = "border" if motion else "zeros"
    turned = nn.functional.grid_sample(
        torch.cat(list(flat.values()), 1), grid, padding_mode=padding, align_corners=False
    )
    parts = torch.split(turned, [x.shape[1] for x in flat.values()], 1)
    found = {k: part.reshape(pictures[k].shape) for k, part in zip(pictures, parts, strict=True)}
    return {k: _vectors_turned(x, flip, cos, sin) if k == "uv" else x for k, x in found.items()}


def _along(value: Tensor, picture: Tensor) -> Tensor:
    """One value a clip, shaped to multiply its picture."""
    return value.view(-1, *[1] * (picture.ndim - 1))


def _turned_back(flow: Tensor, mirrored: Tensor) -> Tensor:
    """A mirrored face moves the other way: min-max scaled, -u is 255 - u."""
    u = flow[:, :1]
    return torch.cat([torch.where(_along(mirrored, u), 255 - u, u), flow[:, 1:]], 1)


def _vectors_turned(uv: Tensor, flip: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Vectors (B, 2, H, W) turned with the picture, by the inverse of the matrix that looks pixels up.

    Scaled flow cannot be turned so: its channels have lost their zero and their common scale.
    """
    u, v = uv.unbind(1)
    flip, cos, sin = (_along(x, u) for x in (flip, cos, sin))
    return torch.stack([flip * (cos * u + sin * v), cos * v - sin * u], 1)
