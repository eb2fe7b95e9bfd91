"""A movement in footage and what a model says of it, drawn: one self-contained page, and a picture for a quick look.

    onset | apex | difference | flow | attention maps       the crops that the model was shown, and where it looked
    curve of the spotting, onset, apex and offset marked
    probabilities

No picture is fetched: everything lies inside the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from markupsafe import Markup

from mer_bench.pixels import cache, contact, flow
from mer_bench.pixels.spotting import Spotted
from mer_bench.reports import pages, prose, svg

TILE, CAPTION, MARGIN = 224, 22, 8
AMPLIFIED = 8
QUALITY = 92
INK, SOFT, PAPER, LEAD = (36, 31, 28), (106, 96, 91), (249, 252, 253), (168, 95, 31)
"""BGR of the page's colours by day."""
CAUTION = (
    "What one model makes of one movement of one face. It was trained on a few people in a laboratory, its "
    "probabilities are not calibrated, and nobody's feelings can be read off a face: no ground for any decision about "
    "a person."
)


class Picture(NamedTuple):
    """A picture of the page, (h, w, 3) uint8 BGR, and what is said below it."""

    name: str
    image: np.ndarray
    caption: str


@dataclass(frozen=True, eq=False)
class Sighting:
    """Everything that is drawn.

    Attributes:
        name: the footage's.
        fps: frames a second.
        spotted: the movement and its curve.
        keys: onset, apex and offset as used.
        given: which of them were given by hand.
        probabilities: class -> probability, in label order.
        crops: onset and apex as cut out, (S, S, 3) uint8 BGR.
        maps: attention maps (h, w) in 0..1, from the first block to the last.
        facts: what the weights say of themselves.
    """

    name: str
    fps: float
    spotted: Spotted
    keys: Mapping[str, int]
    given: tuple[str, ...]
    probabilities: Mapping[str, float]
    crops: tuple[np.ndarray, np.ndarray]
    maps: tuple[np.ndarray, ...]
    facts: Mapping[str, Any]

    @property
    def answer(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    def lines(self) -> list[str]:
        """What a person is told on the screen."""
        keys = ", ".join(f"{key} {self.keys[key]}{' (given)' if key in self.given else ''}" for key in KEYS)
        wide = max(map(len, self.probabilities))
        said = [f"{name:{wide}} {prose.number(p)}" for name, p in self.probabilities.items()]
        banner = [self.facts["banner"]] if self.facts.get("banner") else []
        return [f"{self.name}: {self.spotted.frames} frames at {self.fps:g} a second; {keys}", *said, *banner]

    def as_json(self) -> dict[str, Any]:
        """Plain types, without pictures."""
        found = self.spotted
        return {
            "video": self.name,
            "frames": found.frames,
            "fps": self.fps,
            **{key: self.keys[key] for key in KEYS},
            "given": list(self.given),
            "clear": found.clear,
            "height": found.curve[found.apex],
            "looks": found.looks[0],
            "faces_found": found.looks[1],
            "curve": [[number, round(value, 6)] for number, value in found.curve.items()],
            "prediction": self.answer,
            "probabilities": dict(self.probabilities),
            "model": self.facts["model"],
            "task": self.facts["task"],
            "recipe": self.facts["recipe"],
            "banner": self.facts.get("banner", ""),
        }


KEYS = ("onset", "apex", "offset")


def write(seen: Sighting, page: Path) -> tuple[Path, Path]:
    """Write the page and, beside it, the picture; returns both."""
    picture = page.with_suffix(".png")
    done, data = cv2.imencode(".png", drawn(seen))
    assert done
    cache.write_text(page, html(seen))
    picture.write_bytes(data.tobytes())
    return page, picture


def html(seen: Sighting) -> str:
    """The page."""
    shown = [(one.name, data_uri(one.image), one.caption) for one in pictures(seen)]
    charts = {"curve": curve(seen), "bars": bars(seen.probabilities)}
    return pages.render(
        "sighting.html.j2", seen=seen, shown=shown, charts=charts, caution=CAUTION, stamp=pages.Stamp.now()
    )


def pictures(seen: Sighting) -> list[Picture]:
    """Onset, apex, what differs, how it moved, and where the model looked."""
    onset, apex = seen.crops
    difference = 255 - cv2.convertScaleAbs(cv2.absdiff(onset, apex), alpha=AMPLIFIED)
    u, v = flow.field(onset, apex)
    found = [
        Picture("onset", onset, f"Onset, frame {_when(seen, 'onset')}."),
        Picture("apex", apex, f"Apex, frame {_when(seen, 'apex')}, cut out by the same transform."),
        Picture("difference", difference, f"What differs between them, times {AMPLIFIED}; white is nothing."),
        Picture("flow", contact.colours(u, v), "Optical flow from onset to apex: hue is direction, brightness length."),
    ]
    for number, one in enumerate(seen.maps, 1):
        said = f"Attention of block {number} of {len(seen.maps)}, {one.shape[1]} x {one.shape[0]}, from "
        caption = f"{said}{prose.number(float(one.min()))} (dark) to {prose.number(float(one.max()))} (bright)."
        found.append(Picture(f"attention {number}", overlaid(apex, one), caption))
    return found


def _when(seen: Sighting, key: str) -> str:
    how = "given" if key in seen.given else "spotted"
    return f"{seen.keys[key]} ({how})"


def overlaid(face: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """A face, grey, under a map stretched over its own range."""
    low, high = float(attention.min()), float(attention.max())
    scaled = np.zeros_like(attention) if high == low else (attention - low) / (high - low)
    large = cv2.resize(scaled.astype(np.float32), face.shape[1::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((large * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(grey, 0.45, colours, 0.55, 0), np.uint8)


def data_uri(image: np.ndarray) -> str:
    """A picture as text that a page can hold."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def bars(probabilities: Mapping[str, float]) -> Markup:
    """One bar a class."""
    scale, step, top = svg.Scale(0.0, 1.0), 36.0, 8.0
    bottom = top + step * len(probabilities)
    parts = [svg.axis(scale, top, bottom, most=6)]
    best = max(probabilities.values())
    for place, (name, p) in enumerate(probabilities.items()):
        y, kind = top + place * step, "shade" if p == best else "cell"
        parts += [
            svg.text(svg.PAD, y + 13, svg.cut(name, 34)),
            svg.text(svg.WIDTH - svg.PAD, y + 13, prose.number(p), "value"),
            svg.element("rect", x=scale(0), y=y + 19, width=max(scale(p) - scale(0), 1), height=9, rx=2, class_=kind),
        ]
    return svg.picture(bottom + 20, "probability of each class", *parts)


def curve(seen: Sighting) -> Markup:
    """How far the skin is from where it was before and will be after, with onset, apex and offset."""
    left, top, bottom = 44.0, 22.0, 174.0
    numbers, heights = list(seen.spotted.curve), [1000 * value for value in seen.spotted.curve.values()]
    across = svg.Scale(float(numbers[0]), float(max(numbers[-1], numbers[0] + 1)), left, svg.WIDTH - svg.PAD)
    up = svg.Scale(0.0, max(*heights, 1e-6) * 1.06, bottom, top)
    parts = [svg.axis(across, top, bottom, "frame"), svg.side(up, left, svg.WIDTH - svg.PAD)]
    for run in runs(numbers):
        points = [(across(float(numbers[i])), up(heights[i])) for i in run]
        parts.append(svg.path(points, "mean") if len(points) > 1 else svg.dots(points, "trial"))
    at = {key: across(float(seen.keys[key])) for key in KEYS}
    for key, x in at.items():
        parts.append(svg.line(x, top, x, bottom, "zero" if key == "apex" else "chance"))
        # names that would touch are written away from the apex
        anchor = "middle" if key == "apex" or abs(x - at["apex"]) > 36 else "end" if key == "onset" else "start"
        parts.append(svg.element("text", key, x=min(x, svg.WIDTH - 20), y=13, class_="soft", text_anchor=anchor))
    says = "movement of the face by frame, in thousandths of the distance between the eyes"
    return svg.picture(bottom + 36, says, *parts)


def runs(numbers: Sequence[int]) -> list[range]:
    """Places of numbers that follow each other: where the face was lost the curve is broken."""
    steps = np.diff(numbers)
    usual = int(np.median(steps)) if len(steps) else 1
    ends = [0, *(i + 1 for i, step in enumerate(steps) if step > usual), len(numbers)]
    return [range(first, end) for first, end in pairwise(ends)]


def drawn(seen: Sighting) -> np.ndarray:
    """The picture for a quick look: tiles with their names, the curve, and the probabilities."""
    tiles = [_tile(one) for one in pictures(seen)]
    wide = max(4, min(len(tiles), 4))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % wide)
    rows = [np.hstack(tiles[i : i + wide]) for i in range(0, len(tiles), wide)]
    width = rows[0].shape[1]
    title = _paper(CAPTION + 6, width)
    _write(title, f"{seen.name}: {seen.answer} {prose.number(seen.probabilities[seen.answer])}", 0, 0.55)
    parts = [title, *rows, _curve(seen, width), _bars(seen, width)]
    if seen.facts.get("banner"):
        banner = _paper(CAPTION, width)
        _write(banner, seen.facts["banner"], 0)
        parts.append(banner)
    return np.vstack(parts)


def _tile(one: Picture) -> np.ndarray:
    image = cv2.resize(one.image, (TILE, TILE), interpolation=cv2.INTER_AREA)
    framed = cv2.copyMakeBorder(image, MARGIN, 0, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=PAPER)
    strip = _paper(CAPTION, framed.shape[1])
    _write(strip, one.name, 0)
    return np.vstack([framed, strip])


def _paper(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), PAPER, np.uint8)


def _write(image: np.ndarray, words: str, y: int, size: float = 0.42, x: int = MARGIN) -> None:
    # OpenCV draws ASCII alone
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(image, plain, (x, y + 16), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)


def _curve(seen: Sighting, width: int, height: int = 130) -> np.ndarray:
    numbers, heights = list(seen.spotted.curve), list(seen.spotted.curve.values())
    image, most = _paper(height, width), max(*heights, 1e-9)
    span = max(numbers[-1] - numbers[0], 1)

    def at(number: int, value: float) -> tuple[int, int]:
        x = MARGIN + (width - 2 * MARGIN) * (number - numbers[0]) / span
        return round(float(np.clip(x, 0, width - 1))), round(height - 6 - (height - 34) * value / most)

    for key in KEYS:
        x, _ = at(seen.keys[key], 0)
        cv2.line(image, (x, 22), (x, height - 6), SOFT, 1, cv2.LINE_AA)
        _write(image, f"{key} {seen.keys[key]}", 0, x=min(max(x - 30, 0), width - 80))
    for run in runs(numbers):
        points = np.array([at(numbers[i], heights[i]) for i in run], np.int32)
        cv2.polylines(image, [points], False, LEAD, 2, cv2.LINE_AA)
    return image


def _bars(seen: Sighting, width: int) -> np.ndarray:
    image = _paper(CAPTION * len(seen.probabilities) + MARGIN, width)
    for place, (name, p) in enumerate(seen.probabilities.items()):
        y, start, end = place * CAPTION, 170, width - 60
        _write(image, name, y)
        cv2.rectangle(image, (start, y + 5), (start + round((end - start) * p), y + 17), LEAD, -1)
        _write(image, prose.number(p), y, x=end + MARGIN)
    return image
