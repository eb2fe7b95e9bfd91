"""The one door to videos: frames one after the other, as BGR uint8, from a file or from a folder of numbered pictures.

    clip.mp4        frames count from 0; the file says how many a second there are
    EP12_03f/       reg_img36.jpg reg_img37.jpg ...   frames are numbered as their files are; their rate must be told

A file is decoded in order and never wound forward: seeking lands on other frames than it says with most codecs.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mer_bench import folders
from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.pixels import frames

LONGEST = 20_000
"""Frames; a longer recording is for cutting first."""
FASTEST = 10_000.0
QUIET = "OPENCV_FFMPEG_LOGLEVEL", "-8"
"""A file that cannot be read is told in one line, here, and not by the decoder's own."""


@dataclass(frozen=True)
class Video:
    """Footage that can be read.

    Attributes:
        path: the file or folder.
        fps: frames a second.
        numbers: a folder's frame numbers in order; empty for a file.
        announced: how many frames the file says it has, not always the truth; 0 if it does not say.
        template: a folder's file names, `{frame}` standing for the number.
    """

    path: Path
    fps: float
    numbers: tuple[int, ...] = ()
    announced: int = 0
    template: str = ""


def find(path: Path, fps: float | None = None) -> Video:
    """Footage at a path, its first frame seen.

    Args:
        path: a video file, or a folder of numbered pictures.
        fps: frames a second, where the file does not say it or is wrong.

    Raises:
        UsageError: the rate of a folder is not told, or cannot be.
        MerBenchError: there is nothing, or it cannot be read.
    """
    place = path.expanduser()
    if fps is not None and not (math.isfinite(fps) and 0 < fps <= FASTEST):
        raise UsageError(f"--fps {fps:g} should lie between 0 and {FASTEST:g}")
    if place.is_dir():
        return _folder(place, fps)
    if not place.is_file():
        raise MerBenchError(f"{path}: no such video; give a file, or a folder of numbered pictures")
    if not place.stat().st_size:
        raise MerBenchError(f"{path} is empty; copy it again")
    capture = _opened(place)
    try:
        said, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not capture.grab():
            raise _unreadable(place)
    finally:
        capture.release()
    rate = fps or (said if math.isfinite(said) and 0 < said <= FASTEST else 0.0)
    if not rate:
        raise UsageError(f"{path} does not say how many frames a second it has; add --fps")
    return Video(place, rate, announced=int(count) if 0 < count < 1e9 else 0)


def read(video: Video) -> Iterator[tuple[int, np.ndarray]]:
    """Every frame with its number, (height, width, 3) uint8, in order.

    Raises:
        MerBenchError: a picture of a folder cannot be read, or the footage is too long.
    """
    for count, frame in enumerate(_pictures(video) if video.numbers else _decoded(video)):
        if count == LONGEST:
            length = f"{LONGEST / video.fps:.0f} s at {video.fps:g} frames a second"
            raise MerBenchError(f"{video.path} is longer than {length}; cut out the part that matters")
        yield frame


def chosen(video: Video, numbers: Collection[int]) -> dict[int, np.ndarray]:
    """These frames, by number; the footage is read up to the last of them.

    Raises:
        MerBenchError: one is not there.
    """
    wanted, found = set(numbers), {}
    for number, image in read(video):
        if number in wanted:
            found[number] = image
            if len(found) == len(wanted):
                break
    if missing := sorted(wanted - set(found)):
        raise MerBenchError(f"{video.path} has no frame {missing[0]}; see --onset, --apex and --offset")
    return found


def _pictures(video: Video) -> Iterator[tuple[int, np.ndarray]]:
    row = {"clip": str(video.path), "frame_path": video.template}
    return ((number, frames.read(video.path, row, number)) for number in video.numbers)


def _decoded(video: Video) -> Iterator[tuple[int, np.ndarray]]:
    capture, count = _opened(video.path), 0
    try:
        while True:
            there, image = capture.read()
            if not there:
                break
            yield count, np.asarray(image, np.uint8)
            count += 1
    finally:
        capture.release()
    # containers that only estimate their length are off by a few frames
    if count < 0.9 * video.announced - 2:
        said = f"only {count} of {video.announced} frames of {video.path} can be read; copy it again if that is too few"
        warnings.warn(Remark(said), stacklevel=2)


def _folder(place: Path, fps: float | None) -> Video:
    found = folders.numbering(place, ".")
    if found is None:
        raise MerBenchError(f"{place} holds no numbered pictures; give the folder that holds the clip's frames")
    if fps is None:
        raise UsageError(f"{place} is a folder of pictures: add --fps, how many of them make a second")
    return Video(place, fps, found.numbers, len(found.numbers), found.template.removeprefix("./"))


def _opened(place: Path) -> Any:
    os.environ.setdefault(*QUIET)
    before = cv2.utils.logging.setLogLevel(0)
    try:
        capture = cv2.VideoCapture(str(place), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(before)
    if not capture.isOpened():
        raise _unreadable(place)
    return capture


def _unreadable(place: Path) -> MerBenchError:
    cure = f"is it whole? If it plays elsewhere: ffmpeg -i {place.name} -c:v mpeg4 -q:v 1 again.mp4"
    return MerBenchError(f"{place} cannot be read as a video; {cure}")
