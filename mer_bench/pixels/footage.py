"""What is on disk of a clip: frames missing, empty, cut off or unreadable, each with its cure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench.contracts import Dataset, MerBenchError
from mer_bench.pixels import frames

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


@dataclass(frozen=True)
class Footage:
    """One clip's frames from onset to offset: how many there should be, how many there are, what is wrong."""

    wanted: int = 0
    there: int = 0
    findings: tuple[Finding, ...] = ()


def as_picture(dataset: Dataset, root: Path, row: Mapping[str, Any]) -> Footage:
    """A clip that is released as a flow picture."""
    assert dataset.read_flow is not None
    try:
        dataset.read_flow(root, row)
    except MerBenchError as error:
        return Footage(1, 0, (Finding(*split(str(error))),))
    return Footage(1, 1)


def on_disk(root: Path, every_frame: bool, row: Mapping[str, Any]) -> Footage:
    """A clip's frames on disk: key frames opened (or every one), the others counted."""
    onset, middle, offset = row["onset"], row["apex"], row["offset"]
    if None in (onset, middle, offset) or not onset <= middle <= offset or not row["frame_path"]:
        return Footage()  # told already, and its numbers name other frames
    at = row["clip"], row["source"] or ""
    keys = tuple(dict.fromkeys((onset, middle)))
    between = range(onset, offset + 1) if offset - onset <= LONGEST else keys
    sizes = {number: _size(frames.path(root, row, number)) for number in dict.fromkeys((*keys, *between))}
    missing = [number for number, size in sizes.items() if size is None]
    if len(missing) == len(sizes):
        folder = frames.path(root, row, onset).parent
        return Footage(len(sizes), 0, (Finding(*at, f"none of its frames is in {folder}", "complete the release"),))
    found = [
        Finding(
            *at,
            f"frame {number} is missing ({frames.path(root, row, number).name})",
            "complete the release, or add a Mend if the sheet is wrong",
        )
        for number in keys
        if number in missing
    ]
    if rest := [number for number in missing if number not in keys]:
        said = f"{len(rest)} of {len(sizes)} frames are missing, {rest[0]} first; onset and apex are what is shown"
        found.append(Finding(*at, said, error=False))
    for number, size in sizes.items():
        if size == 0 or (size and (every_frame or number in keys)):
            found += _opened(root, row, number)
    return Footage(len(sizes), len(sizes) - len(missing), tuple(found))


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
