"""What is on disk of a clip: frames missing, empty, cut off or unreadable, each with its cure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import frames
from mer_bench.contracts import Dataset, MerBenchError

LONGEST = 20_000
"""Frames between onset and offset; a longer clip is a slip of the pen, and only its key frames are looked at."""


@dataclass(frozen=True)
class Finding:
    """Something about one clip: where it stands, what is wrong or was done, and the cure; an error or a note."""

    clip: str
    where: str
    what: str
    cure: str = ""
    error: bool = True

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.clip}{where}: {self.what}" + (f"; {self.cure}" if self.cure else "")


def as_picture(dataset: Dataset, root: Path, row: Mapping[str, Any]) -> list[Finding]:
    """What is wrong with a clip that is released as a flow picture."""
    assert dataset.read_flow is not None
    try:
        dataset.read_flow(root, row)
    except MerBenchError as error:
        return [Finding(*split(str(error)))]
    return []


def on_disk(root: Path, every_frame: bool, row: Mapping[str, Any]) -> list[Finding]:
    """What is wrong with a clip's frames on disk."""
    onset, middle, offset = row["onset"], row["apex"], row["offset"]
    if None in (onset, middle, offset) or not onset <= middle <= offset or not row["frame_path"]:
        return []  # told already, and its numbers name other frames
    at = row["clip"], row["source"] or ""
    keys = tuple(dict.fromkeys((onset, middle)))
    between = range(onset, offset + 1) if offset - onset <= LONGEST else keys
    sizes = {number: _size(frames.path(root, row, number)) for number in dict.fromkeys((*keys, *between))}
    missing = [number for number, size in sizes.items() if size is None]
    if len(missing) == len(sizes):
        folder = frames.path(root, row, onset).parent
        return [Finding(*at, f"none of its frames is in {folder}", "complete the release")]
    found = []
    for number in keys:
        if number in missing:
            cure = "complete the release, or add a Mend if the sheet is wrong"
            found.append(Finding(*at, f"frame {number} is missing ({frames.path(root, row, number).name})", cure))
    if rest := [number for number in missing if number not in keys]:
        said = f"{len(rest)} of {len(sizes)} frames are missing, {rest[0]} first; onset and apex are there"
        found.append(Finding(*at, said, error=False))
    for number, size in sizes.items():
        if size == 0 or (size and (every_frame or number in keys)):
            found += _opened(root, row, number)
    return found


def _opened(root: Path, row: Mapping[str, Any], number: int) -> list[Finding]:
    try:
        frames.read(root, row, number)
    except MerBenchError as error:
        clip, what, cure = split(str(error))
        return [Finding(clip, row["source"] or "", f"frame {number}: {what}", cure)]
    return []


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def split(line: str) -> tuple[str, str, str]:
    """`clip: what; cure` in its parts."""
    clip, _, rest = line.partition(": ")
    what, _, cure = rest.rpartition("; ")
    return (clip, what, cure) if what else (clip, rest, "")
