"""From bytes in memory to augmented float batches.

Data are decoded once and stay in (device) memory as bytes; augmentation is a handful of tensor operations on a batch,
decided by the numbers it is given (`draw`) and by nothing else. Nothing here waits for the device.

    bytes (N, F, S, S, 3) ─ pick frame ─► (B, 3, S, S) float ─ normalise ─ augment ─► batch

    key           batch                  values
    onset, apex   (B, 3, S, S)           ImageNet-normalised
    flow          (B, 3, S, S)           0..255
    uv            (B, 2, S, S)           pixels
    clip          (B, 1, T, S, S)        as a picture of three equal channels, ImageNet-normalised by their mean
    flow_clip     (B, 3, T, S, S)        0..255
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
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
AUGMENTED = 6
"""Random numbers that decide how a clip is augmented: mirror, angle, two shifts, gain, lift."""


@dataclass(frozen=True)
class Data:
    """A view on a device.

    Attributes:
        pictures: view key -> bytes as `inputs` stores them, (N, F, H, W, C), with F = 1 where there is nothing to pick
            (`uv` is float32; `clip` (N, 1, T, H, W), `flow_clip` (N, 1, T, H, W, C)). On a CPU it is the file itself,
            memory-mapped: all processes of a machine share it.
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
    """Put a view's bytes on a device once; a CPU reads them where they are.

    Args:
        arrays: view key -> array, as `inputs` lists them.
        labels: (N,) integers.
        reach: see `Data.reach`.
        device: torch device.
    """
    pictures = {key: _framed(key, array).to(device) for key, array in arrays.items()}
    targets = torch.from_numpy(labels.astype(np.int64)).to(device)
    return Data(pictures, targets, torch.from_numpy(reach).to(device), motion=bool(set(MOTION) & set(arrays)))


def _framed(key: str, array: np.ndarray) -> Tensor:
    """An array as stored, with an axis of frames to pick from behind that of clips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it cannot be written, and never is
        stored = torch.from_numpy(np.asarray(array))
    return stored if key not in ("clip", "flow_clip") and stored.ndim == 5 else stored[:, None]


def _picked(key: str, stored: Tensor, rows: Tensor, as_stored: bool) -> Tensor:
    """Pictures of rows of (clips x frames) as float (B, C, [T,] H, W), contiguous or with their channels last."""
    picked = stored.flatten(0, 1).index_select(0, rows)  # whole pictures; by (row, frame) it would copy single bytes
    axes = {"clip": (0, 4, 1, 2, 3), "flow_clip": (0, 4, 1, 2, 3)}.get(key, (0, 3, 1, 2))
    picked = picked[..., None] if key == "clip" else picked
    layout = torch.preserve_format if as_stored else torch.contiguous_format
    return picked.permute(axes).to(torch.float32, memory_format=layout)


def batch(
    data: Data, rows: Tensor, recipe: Recipe | None = None, chance: torch.Generator | Tensor | None = None,
    channels_last: bool = False,
) -> dict[str, Tensor]:  # fmt: skip
    """Float pictures of the rows, shaped as above; augmented by the recipe when there is chance.

    Colours are ImageNet-normalised before augmentation, as the published MMNet scripts do; flow stays as it is stored.

    Args:
        data: the view.
        rows: (B,) of the view.
        recipe: what may be augmented, and how far.
        chance: a generator, or what `draw` made of it; None augments nothing.
        channels_last: whether pictures are picked with their channels last, as they are stored.
    """
    draws = draw(data, recipe, [len(rows)], chance).to(rows.device) if isinstance(chance, torch.Generator) else chance
    moving = {} if draws is None else dict(zip(_jittered(data, recipe), draws, strict=False))
    pictures = {}
    for key, stored in data.pictures.items():
        middle = _middle(stored, key)
        index = _moved(data, key, rows, middle, moving[key]) if key in moving else middle
        picture = _picked(key, stored, rows * stored.shape[1] + index, channels_last)
        pictures[key] = picture if data.motion else _normalised(key, picture)
    if draws is not None and recipe is not None:
        pictures = _augment(pictures, recipe, draws[len(moving) :], data.motion)
    return pictures


def draw(data: Data, recipe: Recipe | None, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random numbers (numbers a clip, clips) for batches of these sizes, on the CPU, in the batches' order.

    Drawn ahead for an epoch and moved to the device at once, so that no batch waits for its own.
    """
    count = len(_jittered(data, recipe)) + AUGMENTED
    return torch.cat([torch.rand(count, size, generator=generator) for size in sizes], 1)


def _jittered(data: Data, recipe: Recipe | None) -> list[str]:
    """Keys of the pictures that may be of another frame."""
    return list(data.pictures) if recipe is not None and recipe.jitter > 0 and not data.motion else []


def _normalised(key: str, picture: Tensor) -> Tensor:
    """0..255 -> ImageNet-normalised, in place."""
    if key == "clip":
        return picture.sub_(255 * GREY_MEAN).mul_(1 / (255 * GREY_STD))
    mean, scale = _colours(picture.device)
    if picture.is_contiguous():
        return picture.sub_(mean).mul_(scale)
    # channels last: by rows of pixels, because three values at a time take three times as long
    rows = picture.permute(0, 2, 3, 1).view(*picture.shape[::2], -1)
    rows.sub_(mean.flatten().repeat(picture.shape[3])).mul_(scale.flatten().repeat(picture.shape[3]))
    return picture


@functools.cache
def _colours(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and 1 / SD of bytes, (3, 1, 1) each, moved to a device once."""
    mean, std = (255 * torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    return mean.float().to(device), (1 / std).float().to(device)


def _middle(stored: Tensor, key: str) -> int:
    """Index of the annotated frame: the first of the onset's, the middle one of the apex's."""
    return stored.shape[1] // 2 if key == "apex" else 0


def _moved(data: Data, key: str, rows: Tensor, index: int, drawn: Tensor) -> Tensor:
    onset, back, forward = data.reach[rows].unbind(1)
    if key == "onset":
        return index + (drawn * (onset + 1)).long()
    return index - back + (drawn * (back + forward + 1)).long()


def _warps(recipe: Recipe) -> bool:
    """Whether augmentation moves pixels."""
    return bool(recipe.flip or recipe.rotate or recipe.shift)


def _augment(pictures: dict[str, Tensor], recipe: Recipe, draws: Tensor, motion: bool) -> dict[str, Tensor]:
    """Mirror, rotate, shift and colour-shift every clip; all pictures of a clip move together."""
    mirrored = draws[0] < recipe.flip
    if recipe.colour and not motion:
        gain, lift = 1 + recipe.colour * (2 * draws[4] - 1), recipe.colour * (2 * draws[5] - 1)
        pictures = {k: x * _along(gain, x) + _along(lift, x) for k, x in pictures.items()}
    if motion and recipe.flip:
        pictures = {k: _turned_back(x, mirrored) if k in SCALED_FLOW else x for k, x in pictures.items()}
    if not _warps(recipe):
        return pictures
    angle = (2 * draws[1] - 1) * math.radians(recipe.rotate)
    flip, cos, sin = torch.where(mirrored, -1.0, 1.0), torch.cos(angle), torch.sin(angle)
    height, width = next(iter(pictures.values())).shape[-2:]
    # whole pixels, so that a shift alone does not blur
    right, down = (
        torch.round((2 * d - 1) * recipe.shift * side) * 2 / side for d, side in ((draws[2], width), (draws[3], height))
    )
    grid = _looked_up((width, height), (flip * cos, -sin, right), (flip * sin, cos, down))
    # uncovered pixels: the mean colour (0 after normalisation); flow has no such value, its border is repeated
    padding = "border" if motion else "zeros"

    def turned(picture: Tensor) -> Tensor:
        flat = picture.flatten(1, -3)  # a clip's frames side by side: one warp for all
        return nn.functional.grid_sample(flat, grid, padding_mode=padding, align_corners=False).reshape(picture.shape)

    found = {k: turned(x) for k, x in pictures.items()}
    return {k: _vectors_turned(x, flip, cos, sin) if k == "uv" else x for k, x in found.items()}


def _centres(side: int, device: torch.device) -> Tensor:
    """Pixel centres of a side, from -1 to 1 at its outer edges."""
    return (torch.arange(side, device=device) * 2 + 1) / side - 1


def _looked_up(size: tuple[int, int], across: tuple[Tensor, ...], down: tuple[Tensor, ...]) -> Tensor:
    """Where each pixel of each clip is looked up, (B, H, W, 2): `a x + b y + c` for both coordinates, as `affine_grid`.

    Its products of millions of 3-vectors take longer than the warp, and so would two planes laid side by side: as
    complex numbers both coordinates are one sum of a row and a column.
    """
    (a, b, c), (d, e, f) = ([value.view(-1, 1, 1) for value in values] for values in (across, down))
    x, y = _centres(size[0], a.device), _centres(size[1], a.device)[:, None]
    return torch.view_as_real(torch.complex(a * x, d * x) + torch.complex(b * y + c, e * y + f))


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
