"""Views and frames: what a view names, which frames of a clip it shows, and one frame from disk as BGR uint8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mer_bench.contracts import MerBenchError, UsageError

AFTER_ONSET = 4
AROUND_APEX = 4
"""How many frames `+near` adds: MMNet's scripts move a frame by up to a fifth of a quarter of onset to apex."""


@dataclass(frozen=True)
class View:
    """A parsed view: `kind` is onset_apex or flow, `size` in pixels, `near` adds neighbouring frames."""

    kind: str
    size: int
    near: bool = False

    def __str__(self) -> str:
        return f"{self.kind}@{self.size}{'+near' if self.near else ''}"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Array name -> shape of one clip's array, uint8."""
        picture = (self.size, self.size, 3)
        onset, apex = (AFTER_ONSET + 1, 2 * AROUND_APEX + 1) if self.near else (1, 1)
        shapes: dict[str, dict[str, tuple[int, ...]]] = {
            "onset_apex": {"onset": (onset, *picture), "apex": (apex, *picture)},
            "flow": {"flow": picture},
        }
        return shapes[self.kind]


def parse_view(text: str) -> View:
    """`onset_apex@S`, `onset_apex@S+near` or `flow@S`.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(r"(onset_apex|flow)@([1-9]\d{0,3})(\+near)?", text)
    if match is None or (match[1] == "flow" and match[3]):
        raise UsageError(f"unknown view {text!r}; one of onset_apex@S, onset_apex@S+near, flow@S with S pixels")
    return View(match[1], int(match[2]), bool(match[3]))


def path(root: Path, row: Mapping[str, Any], number: int) -> Path:
    """The file of frame `number` of a clip (a row of TABLE 1).

    Raises:
        MerBenchError: the corpus is released without frames, or the row's template cannot be filled in.
    """
    template: str | None = row["frame_path"]
    if not template:
        raise MerBenchError(f"{row['clip']} has no frames in its release; use a view that the corpus holds (flow)")
    try:
        return root / template.format(frame=number)
    except (KeyError, IndexError, ValueError) as error:
        raise MerBenchError(
            f"{row['clip']}: frame_path {template!r} cannot be filled in ({error!r}); it may hold {{frame}} alone"
        ) from None


def read(root: Path, row: Mapping[str, Any], number: int) -> np.ndarray:
    """Frame `number` of a clip, (height, width, 3) uint8 BGR; grey and 16-bit files are converted.

    Raises:
        MerBenchError: the file is missing or is no picture.
    """
    file = path(root, row, number)
    if not file.is_file():
        raise MerBenchError(
            f"{row['clip']}: frame {number} is missing ({file}); complete the release, or add a Mend if the sheet's "
            "frame numbers are wrong"
        )
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise MerBenchError(f"{row['clip']}: {file} is no readable picture; copy it again from the release")
    return np.asarray(image, np.uint8)


def numbers(row: Mapping[str, Any], near: bool) -> dict[str, list[int]]:
    """The frames of a view: with `near` onset..onset+4, not beyond the apex, and apex-4..apex+4, within the clip."""
    onset, apex, offset = row["onset"], row["apex"], row["offset"]
    if not near:
        return {"onset": [onset], "apex": [apex]}
    return {
        "onset": [min(onset + step, apex) for step in range(AFTER_ONSET + 1)],
        "apex": [min(max(apex + step, onset), offset) for step in range(-AROUND_APEX, AROUND_APEX + 1)],
    }
