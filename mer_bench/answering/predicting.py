"""What a kept model says about new footage: the face, the movement, the probabilities, and a page to look at.

    VIDEO ─► spotting: onset, apex, offset ─► crops by the onset's one transform ─► the model's view ─► probabilities
                                          └─► page (sighting): frames, flow as colour, attention maps, curve

The clip is cut out and shown to the model exactly as the corpus's clips were when it was trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.answering.ready import Tick
from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.pixels import faces, flow, frames, inputs, spotting, video
from mer_bench.reports import sighting
from mer_bench.training import weights

GIVEN, SPOTTED = "given", "spotted"


@dataclass(frozen=True)
class Prediction:
    """A model's answer about footage, and where it is drawn."""

    seen: sighting.Sighting
    files: tuple[Path, ...]

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        return {**self.seen.as_json(), "files": [str(file) for file in self.files]}

    def words(self) -> str:
        """What a person is told."""
        return "\n".join([*self.seen.lines(), f"drawn in {' and '.join(map(str, self.files))}"])


def predict(
    footage: str | Path,
    kept: str | Path,
    *,
    out: str | Path | None = None,
    fps: float | None = None,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    tick: Tick | None = None,
) -> Prediction:
    """Spot the movement in footage of a face, ask a kept model about it, and draw the answer.

    Args:
        footage: a video file, or a folder of numbered pictures.
        kept: a file that `fit` made.
        out: the page, `.html`; a `.png` of the same name is written beside it. By default the footage's name, here.
        fps: frames a second, where the footage does not say it.
        onset, apex, offset: frame numbers, where they are known; the others are spotted.
        tick: called with (done, total, text).

    Raises:
        UsageError: numbers out of order, or an unknown method.
        MerBenchError: no video, one that cannot be read, no face in it, or weights that do not fit.
    """
    page = Path(out).expanduser() if out else Path(f"{Path(footage).resolve().stem}.html")
    if page.suffix != ".html":
        raise UsageError(f"--out {out} should end in .html")
    wanted = weights.read(Path(kept).expanduser())
    model = weights.rebuilt(wanted)
    weights.check(wanted, model)
    _told(wanted)
    clip = video.find(Path(footage), fps)
    found = _spotted(clip, tick)
    keys = _keys(found, {"onset": onset, "apex": apex, "offset": offset})
    view = replace(frames.parse_view(wanted.setting.view), near=False)
    numbers = {number for shown in frames.numbers(keys, view).values() for number in shown}
    images = video.chosen(clip, numbers | {keys["onset"], keys["apex"]})
    alignment = faces.align(images[keys["onset"]])
    if not alignment.found:
        said = f"no face is found in the onset frame {keys['onset']}; it is cut out as in the frames around it"
        warnings.warn(Remark(said), stacklevel=2)
        alignment = found.alignment
    arrays = {name: one[None] for name, one in inputs.of_clip(view, keys, alignment, images.__getitem__).items()}
    (said_of_it,) = weights.said(wanted.setting, model, arrays, len(wanted.classes))
    if not np.isfinite(said_of_it).all():
        raise MerBenchError(f"{kept} gives probabilities that are not finite about {footage}; fit again")

    def shown(key: str) -> np.ndarray:
        return faces.crop(images[keys[key]], alignment, flow.WORKING)

    seen = sighting.Sighting(
        name=clip.path.name,
        fps=clip.fps,
        spotted=found,
        keys=keys,
        given=tuple(key for key, value in (("onset", onset), ("apex", apex), ("offset", offset)) if value is not None),
        probabilities=dict(zip(wanted.classes, map(float, said_of_it), strict=True)),
        crops=(shown("onset"), shown("apex")),
        maps=tuple(weights.attention(wanted.setting, model, arrays)),
        facts=wanted.facts,
    )
    return Prediction(seen, sighting.write(seen, page))


def _told(wanted: weights.Weights) -> None:
    """Remarks on weights that can be used but differ in something."""
    lines = []
    if wanted.facts.get("pixels") != [faces.version(), flow.version()]:
        made, here = "; ".join(wanted.facts.get("pixels", ())), "; ".join((faces.version(), flow.version()))
        lines.append(f"faces and flow were made otherwise when these weights were trained ({made}; here {here})")
    if wanted.facts.get("ready_made_flow"):
        lines.append("these weights were trained on flow pictures as released; the footage's flow is computed here")
    for line in lines:
        warnings.warn(Remark(line), stacklevel=3)


def _spotted(clip: video.Video, tick: Tick | None) -> spotting.Spotted:
    def footage() -> Iterator[tuple[int, np.ndarray]]:
        for count, frame in enumerate(video.read(clip), 1):
            yield frame
            if tick and clip.announced:
                tick(min(count, clip.announced), clip.announced, "looking for a movement")

    try:
        found = spotting.spot(footage(), clip.fps)
    except MerBenchError as error:
        raise MerBenchError(f"{clip.path}: {error}".removeprefix(f"{clip.path}: {clip.path}: ")) from None
    if not found.clear:
        said = "no movement stands out: the face moves nearly as much elsewhere; see the curve, or give --onset, --apex"
        warnings.warn(Remark(said), stacklevel=3)
    return found


def _keys(found: spotting.Spotted, given: Mapping[str, int | None]) -> dict[str, Any]:
    """Onset, apex and offset: as given, else as spotted.

    Raises:
        UsageError: they are not in order.
    """
    spotted = {"onset": found.onset, "apex": found.apex, "offset": found.offset}
    keys = {key: spotted[key] if value is None else value for key, value in given.items()}
    if given["apex"] is not None and given["offset"] is None:
        keys["offset"] = max(keys["offset"], keys["apex"])
    if given["apex"] is not None and given["onset"] is None:
        keys["onset"] = min(keys["onset"], keys["apex"])
    if not keys["onset"] <= keys["apex"] <= keys["offset"]:
        said = ", ".join(f"{key} {keys[key]} ({SPOTTED if given[key] is None else GIVEN})" for key in keys)
        raise UsageError(f"{said}: they should be in order; give all that you know")
    return {"clip": "footage", **keys}
