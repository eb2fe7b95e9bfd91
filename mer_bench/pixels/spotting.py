"""Where in footage a face moves: the apex of the clearest movement, and where it comes from and goes to.

    frames ─► dlib, a few times a second ─► stretches in which the face is there and stays in its place
    frame  ─► crop by the stretch's one transform, 112 px ─► flow from its first frame (DIS) ─► (28, 28, 2) cells
           ─► less the head's own motion ─► d(t), displacement of the skin in inter-ocular distances
    curve  |d(t) - d before and after|, root mean square over the cells        apex: its highest frame

*The head* is a rigid ellipsoid (Basu, Essa, Pentland, ICPR 1996), seen from afar: shifts, scale and three turns make
six patterns of flow. They are fitted robustly (as Black and Yacoob, ICCV 1995, fit a plane), so that the larger part of
the face, which moves as one, decides, and the muscles are left over.
*The contrast* with what was before and after, and not with the first frame alone, is that of Moilanen, Zhao and
Pietikainen (ICPR 2014, "feature difference"), taken on flow instead of LBP histograms and weighed by distance where
one side is short: slow drift cancels, and a clip that begins at its onset can be read. *Blinks* are larger than any
micro-expression: the lids and what surrounds them are left out, brows are not. `REACH` and what else is fixed here was
set on drawn clips; `reports/spotting.md` has how often it finds the apex in others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from mer_bench.contracts import MerBenchError
from mer_bench.pixels import faces, flow

SIZE, GRID = 112, 28
BEAT = 0.25
"""Seconds between two looks for the face."""
MOVED = 0.25
"""Inter-ocular distances by which the eyes may leave the place they had when a stretch began."""
SEEN = 640
"""Pixels of the longer side at which the face is looked for."""
REACH = 0.3
"""Seconds before and after a frame that it is compared with: a micro-expression rises and falls within that time."""
SMOOTH = 0.015
"""Seconds, the deviation of the smoothing over time."""
FOOT = 0.1
"""The movement begins and ends where the curve has this share of its height."""
CLEAR = 3.0
"""A movement is clear if its height is so many times what the curve is elsewhere."""
LIDS = 0.35, 0.20
"""Half axes of what is left out around each eye, inter-ocular distances; the brow lies above."""
FACE = 0.75, 1.0, 0.45
"""Half axes of what counts as face, and how far below the eyes its middle lies."""
HEAD = 1.25, 1.5, 0.45
"""Likewise of the ellipsoid that stands for the head; only its shape matters, not its depth."""
ROUNDS = 6


@dataclass(frozen=True)
class Stretch:
    """Frames in which the face stays in its place: their numbers, how they are cut out, and how the skin moved."""

    numbers: tuple[int, ...]
    alignment: faces.Alignment
    curve: np.ndarray


@dataclass(frozen=True)
class Spotted:
    """A movement in footage.

    Attributes:
        onset, apex, offset: frame numbers.
        curve: frame number -> height in inter-ocular distances, of frames in which the face was followed.
        alignment: how the face is cut out around the apex.
        clear: False if the face moves nearly as much elsewhere.
        frames: how many frames the footage has.
        looks: how often the face was looked for, and how often it was found.
    """

    onset: int
    apex: int
    offset: int
    curve: dict[int, float]
    alignment: faces.Alignment
    clear: bool
    frames: int
    looks: tuple[int, int]


@dataclass
class _Follower:
    """Cuts footage into stretches while it is read."""

    fps: float
    frames: int = 0
    looked: int = 0
    found: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _cells: list[np.ndarray] = field(default_factory=list)
    _alignment: faces.Alignment | None = None
    _first: np.ndarray | None = None
    _sure: int = 0

    def see(self, number: int, image: np.ndarray, beat: bool) -> None:
        """The next frame; on a beat the face is looked for."""
        self.frames += 1
        if beat:
            self._look(image)
        if self._alignment is None:
            return
        cut = faces.crop(image, self._alignment, SIZE)
        if self._first is None:
            self._first = cut
        self._numbers.append(number)
        self._cells.append(cells(self._first, cut))

    def _look(self, image: np.ndarray) -> None:
        self.looked += 1
        seen = looked_for(image)
        self.found += seen is not None
        if self._alignment is not None and (seen is None or moved(self._alignment, seen) > MOVED):
            self.end()
        if self._alignment is None:
            self._alignment, self._first = seen, None
        self._sure = len(self._numbers) + 1

    def end(self) -> None:
        """Close the stretch after the last frame in which the face was seen in its place."""
        count = self._sure
        if self._alignment is not None and count > 2:
            motion = skin(np.stack(self._cells[:count]))
            self.stretches.append(Stretch(tuple(self._numbers[:count]), self._alignment, contrast(motion, self.fps)))
        self._numbers, self._cells, self._alignment, self._first = [], [], None, None


def spot(footage: Iterable[tuple[int, np.ndarray]], fps: float) -> Spotted:
    """The clearest movement of a face in footage.

    Args:
        footage: frames with their numbers, BGR uint8, in order.
        fps: frames a second.

    Raises:
        MerBenchError: no face is found for longer than two frames, or nothing moves.
    """
    follower, every, last = _Follower(fps), max(1, round(BEAT * fps)), None
    for count, (number, image) in enumerate(footage):
        if last is not None:
            follower.see(*last, beat=(count - 1) % every == 0)
        last = number, image
    if last is not None:
        follower.see(*last, beat=True)
    follower.end()
    if not follower.stretches:
        raise MerBenchError(
            f"no face is found ({follower.found} of {follower.looked} looks, {follower.frames} frames); it should be "
            "seen from the front, for at least three frames, its eyes 8 pixels apart or more"
        )
    best = max(follower.stretches, key=lambda stretch: float(stretch.curve.max()))
    at = int(best.curve.argmax())
    if not best.curve[at] > 0:
        raise MerBenchError(f"nothing moves in {follower.frames} frames: do they show one picture?")
    first, end = feet(best.curve, at, reach(fps))
    curve = {n: float(v) for s in follower.stretches for n, v in zip(s.numbers, s.curve, strict=True)}
    onset, apex, offset = (best.numbers[i] for i in (first, at, end))
    elsewhere = [value for number, value in curve.items() if not onset <= number <= offset]
    clear = len(elsewhere) < BEAT * fps or curve[apex] >= CLEAR * float(np.median(elsewhere))
    looks = follower.looked, follower.found
    return Spotted(onset, apex, offset, curve, best.alignment, clear, follower.frames, looks)


def looked_for(image: np.ndarray) -> faces.Alignment | None:
    """How the largest face is cut out; a large picture is made smaller first, which is several times quicker."""
    shrink = min(1.0, SEEN / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else image
    found = faces.align(small)
    if not found.found or shrink == 1:
        return found if found.found else None
    # pixel centres are whole numbers in both pictures
    left, right = ((eye + 0.5) / shrink - 0.5 for eye in faces.eyes(found))
    return faces.from_eyes(left, right)


def moved(before: faces.Alignment, after: faces.Alignment) -> float:
    """How far the eye that went further has gone, in the inter-ocular distances of before."""
    one, other = faces.eyes(before), faces.eyes(after)
    return float(np.linalg.norm(other - one, axis=1).max() / np.linalg.norm(one[1] - one[0]))


def cells(first: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """(GRID, GRID, 2) float32: flow from one crop to another, inter-ocular distances, averaged over cells."""
    u, v = flow.between(first, cut)
    size = cv2.resize(np.dstack([u, v]), (GRID, GRID), interpolation=cv2.INTER_AREA)
    return np.asarray(size * ((faces.RIGHT - faces.LEFT) / SIZE), np.float32)


def skin(motion: np.ndarray) -> np.ndarray:
    """(frames, GRID, GRID, 2) -> (frames, cells used, 2): what is left when the head's own motion is taken off."""
    x, y = places()
    used = kept_cells()
    across, down = _rigid(x[used], y[used])
    seen = motion[:, used].astype(np.float64)
    weights = np.ones(seen.shape[:2])
    rest = seen
    for _ in range(ROUNDS):
        fitted = _fit(across, down, seen, weights)
        rest = seen - np.stack([fitted @ across.T, fitted @ down.T], 2)
        length = np.linalg.norm(rest, axis=2)
        usual = np.median(length, axis=1, keepdims=True) + 1e-9
        weights = 1 / (1 + (length / usual) ** 2)  # Geman and McClure's, as Black and Yacoob weigh
    return rest


def _rigid(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each of six motions of the head does to u and to v, (cells, 6) each.

    To the right, down, nearer, turned in the picture, turned sideways, nodded; the last two move what is near most.
    """
    one, none = np.ones_like(x), np.zeros_like(x)
    near = np.sqrt(np.maximum(1 - (x / HEAD[0]) ** 2 - ((y - HEAD[2]) / HEAD[1]) ** 2, 0))
    return np.stack([one, none, x, -y, near, none], 1), np.stack([none, one, y, x, none, near], 1)


def _fit(across: np.ndarray, down: np.ndarray, seen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(frames, 6): weighted least squares of every frame."""
    pairs = across[:, :, None] * across[:, None] + down[:, :, None] * down[:, None]
    left = np.tensordot(weights, pairs, axes=1)
    right = (weights * seen[..., 0]) @ across + (weights * seen[..., 1]) @ down
    return np.asarray(np.linalg.solve(left, right[..., None])[..., 0])


def contrast(motion: np.ndarray, fps: float) -> np.ndarray:
    """(frames, cells, 2) -> (frames,): how far the skin is from where it was before and will be after."""
    flat = smoothed(motion.reshape(len(motion), -1), SMOOTH * fps)
    at, far = np.arange(len(flat)), reach(fps)
    before, after = np.maximum(at - far, 0), np.minimum(at + far, len(flat) - 1)
    share = ((after - at) / np.maximum(after - before, 1))[:, None]
    away = flat - share * flat[before] - (1 - share) * flat[after]
    return np.asarray(np.sqrt((away**2).sum(1) / motion.shape[1]))


def smoothed(values: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian over the first axis; the ends are repeated."""
    half = int(np.ceil(3 * deviation))
    kernel = np.exp(-((np.arange(-half, half + 1) / max(deviation, 1e-9)) ** 2) / 2)
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    parts = (weight * padded[i : i + len(values)] for i, weight in enumerate(kernel / kernel.sum()))
    return np.asarray(sum(parts))


def feet(curve: Sequence[float] | np.ndarray, apex: int, far: int) -> tuple[int, int]:
    """Where the movement around an apex begins and ends, at most `far` frames from it."""
    values = np.asarray(curve)

    def foot(side: np.ndarray) -> int:
        """Steps from the apex to the first frame that is low, for its side."""
        low = side.min() + FOOT * (side[0] - side.min())
        return int(np.flatnonzero(side <= low)[0])

    before, after = values[max(apex - far, 0) : apex + 1][::-1], values[apex : apex + far + 1]
    return apex - foot(before), apex + foot(after)


def reach(fps: float) -> int:
    """`REACH` in frames, at least two."""
    return max(2, round(REACH * fps))


def places() -> tuple[np.ndarray, np.ndarray]:
    """(GRID, GRID) each: where the cells lie, inter-ocular distances right of and below the middle of the eyes."""
    steps = (np.arange(GRID) + 0.5) / GRID
    x, y = faces.LEFT + steps * (faces.RIGHT - faces.LEFT), faces.TOP + steps * (faces.BOTTOM - faces.TOP)
    return np.broadcast_to(x, (GRID, GRID)), np.broadcast_to(y[:, None], (GRID, GRID))


def kept_cells() -> np.ndarray:
    """(GRID, GRID) bool: cells on the face and not around an eye."""
    x, y = places()
    face = (x / FACE[0]) ** 2 + ((y - FACE[2]) / FACE[1]) ** 2 < 1
    eye = ((np.abs(x) - 0.5) / LIDS[0]) ** 2 + (y / LIDS[1]) ** 2 < 1
    return np.asarray(face & ~eye)
