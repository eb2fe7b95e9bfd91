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
CLIP_FRAMES = 10
"""Length of `clip`, as the MEGC 2019 guideline interpolates."""
FLOW_FRAMES = 8
"""Length of `flow_clip`."""
KINDS = ("onset_apex", "apex", "flow", "uv", "clip", "flow_clip")
WITH_NEAR = ("onset_apex", "apex")


@dataclass(frozen=True)
class View:
    """A parsed view: `kind` is one of KINDS, `size` in pixels, `near` adds neighbouring frames."""

    kind: str
    size: int
    near: bool = False

    def __str__(self) -> str:
        return f"{self.kind}@{self.size}{'+near' if self.near else ''}"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Array name -> shape of one clip's array; float32 for `uv`, uint8 for all others."""
        side, picture = (self.size, self.size), (self.size, self.size, 3)
        onset, apex = (AFTER_ONSET + 1, 2 * AROUND_APEX + 1) if self.near else (1, 1)
        shapes: dict[str, dict[str, tuple[int, ...]]] = {
            "onset_apex": {"onset": (onset, *picture), "apex": (apex, *picture)},
            "apex": {"apex": (apex, *picture)},
            "flow": {"flow": picture},
            "uv": {"uv": (*side, 2)},
            "clip": {"clip": (CLIP_FRAMES, *side)},
            "flow_clip": {"flow_clip": (FLOW_FRAMES, *picture)},
        }
        return shapes[self.kind]


def parse_view(text: str) -> View:
    """`KIND@S`, or `KIND@S+near` for the kinds that have it.

    Raises:
        UsageError: anything else.
    """
    match = re.fullmatch(rf"({'|'.join(KINDS)})@([1-9]\d{{0,3}})(\+near)?", text)
    if match is None or (match[3] and match[1] not in WITH_NEAR):
        known = ", ".join([f"{kind}@S" for kind in KINDS] + [f"{kind}@S+near" for kind in WITH_NEAR])
        raise UsageError(f"unknown view {text!r}; one of {known} with S pixels")
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
    content = file.read_bytes()
    if damage := damaged(content):
        raise MerBenchError(f"{row['clip']}: {file} {damage}; copy it again from the release")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise MerBenchError(f"{row['clip']}: {file} is no readable picture; copy it again from the release")
    return np.asarray(image, np.uint8)


def damaged(content: bytes) -> str:
    """What is wrong with a picture file, in words, or nothing; decoders fill the missing half with grey and go on."""
    if not content:
        return "is empty"
    cut = {
        # a scan holds no end marker, so the last one belongs behind the last scan's beginning
        b"\xff\xd8": content.rfind(b"\xff\xd9") <= content.rfind(b"\xff\xda"),
        b"\x89P": b"IEND" not in content[-64:],
        b"BM": len(content) < int.from_bytes(content[2:6], "little"),
    }
    return "is cut off" if cut.get(content[:2]) else ""


def numbers(row: Mapping[str, Any], view: View) -> dict[str, list[int]]:
    """The frames that each array of a view is made from (flow: beside the onset, from which it is measured).

    With `near` onset..onset+4, not beyond the apex, and apex-4..apex+4, within the clip. `clip` sees every frame from
    onset to offset; `flow_clip` as many as it is long, evenly spaced, the onset left out and the offset included
    (halves to even), so that a short clip shows a frame more than once.
    """
    onset, apex, offset = row["onset"], row["apex"], row["offset"]
    after, around = (AFTER_ONSET, AROUND_APEX) if view.near else (0, 0)
    shown = {
        "onset": [min(onset + step, apex) for step in range(after + 1)],
        "apex": [min(max(apex + step, onset), offset) for step in range(-around, around + 1)],
        "flow": [apex],
        "uv": [apex],
        "clip": list(range(onset, offset + 1)),
        "flow_clip": [int(n) for n in np.rint(np.linspace(onset, offset, FLOW_FRAMES + 1))[1:]],
    }
    return {name: shown[name] for name in view.shapes}


def present(root: Path, row: Mapping[str, Any], view: View) -> bool:
    """Whether the frames that a view shows of a clip are on disk; True for corpora released without frames."""
    if not row["frame_path"]:
        return True
    wanted = {number for shown in numbers(row, view).values() for number in shown}
    return all(path(root, row, number).is_file() for number in wanted)
