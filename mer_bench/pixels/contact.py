"""A contact sheet of a corpus: what the machine will be shown, for a person to look at before believing any number.

    onset, with the crop, the landmarks     crop of the onset     crop of the apex     optical flow between them
    casme2/05/EP12_03f: disgust, AU 4+7, frames 11 36 (annotated) 61

Hue is the direction of movement, brightness its length; where no face was found the outline of the crop is red.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from mer_bench import catalog
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import cache, faces, flow, frames, inputs
from mer_bench.pixels.cache import Tick

TILE = 168
CAPTION = 18
BRIGHT = 3.0
"""Pixels of flow, at the working size, that are drawn at full brightness."""
GREEN, RED, WHITE = (80, 220, 80), (60, 60, 240), (255, 255, 255)


def draw(name: str, file: Path, most: int = 12, only: str = "", tick: Tick | None = None) -> int:
    """Write the contact sheet of a corpus as a PNG; returns how many clips it shows.

    Raises:
        UsageError: fewer than one clip is asked for, or the file is no .png.
        MerBenchError: nothing can be shown, a frame cannot be read, or the file cannot be written.
    """
    if most < 1 or file.suffix.lower() != ".png":
        raise UsageError(f"--clips {most} --out {file}: at least one clip, and a name that ends in .png")
    table = inputs.table(name, tick)
    if catalog.dataset(name).read_flow is None:
        ordered = (pl.col("onset") <= pl.col("apex")) & (pl.col("apex") <= pl.col("offset"))
        table = table.filter(ordered.fill_null(False))
    rows = choose(table.filter(pl.col("clip").str.contains(only, literal=True)), most)
    if not rows:
        raise MerBenchError(f"{name}: no clip{f' whose name holds {only!r}' if only else ''} has key frames to show")
    drawn = []
    for row in rows:
        drawn.append(_row(name, cache.root(name), row))
        if tick:
            tick(len(drawn), len(rows), f"drawing clips of {name}")
    done, data = cv2.imencode(".png", np.vstack(drawn))
    assert done
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.tobytes())
    return len(rows)


def choose(table: pl.DataFrame, most: int) -> list[dict[str, Any]]:
    """Clips of as many subjects as possible, spread evenly over them, in order of names."""
    turn = pl.int_range(pl.len()).over("subject").alias("turn")
    ordered = table.sort("clip").with_columns(turn).sort("turn", "clip")
    first = ordered.filter(pl.col("turn") == 0)
    if len(first) > most:
        at = np.linspace(0, len(first) - 1, most).round().astype(int)
        ordered = first[at]
    return ordered.head(most).sort("clip").rows(named=True)


def _row(name: str, root: Path, row: dict[str, Any]) -> np.ndarray:
    """One clip's pictures and caption, (height, width, 3) uint8 BGR."""
    dataset = catalog.dataset(name)
    if dataset.read_flow is not None:
        picture = cv2.resize(dataset.read_flow(root, row)[..., ::-1], (TILE, TILE), interpolation=cv2.INTER_NEAREST)
        empty = np.zeros((TILE, 3 * TILE, 3), np.uint8)
        return np.vstack([np.hstack([empty, picture]), _caption(row, 4 * TILE)])
    onset, apex = (frames.read(root, row, row[key]) for key in ("onset", "apex"))
    alignment = faces.align(onset)
    cut = [faces.crop(image, alignment, flow.WORKING) for image in (onset, apex)]
    tiles = [
        _marked(onset, alignment),
        *(cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA) for image in cut),
    ]
    tiles.append(cv2.resize(colours(*flow.field(*cut)), (TILE, TILE), interpolation=cv2.INTER_AREA))
    return np.vstack([np.hstack(tiles), _caption(row, 4 * TILE)])


def _marked(image: np.ndarray, alignment: faces.Alignment) -> np.ndarray:
    """The frame as released in a tile, with the crop's outline and the landmarks."""
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small[:TILE, :TILE]
    matrix = np.array(alignment.matrix)
    corners = (np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    outline = np.rint(corners * scale).astype(np.int32)
    cv2.polylines(tile, [outline], True, GREEN if alignment.found else RED, 1, cv2.LINE_AA)
    points = faces.landmarks(image) if alignment.found else None
    for x, y in () if points is None else points:
        cv2.circle(tile, (round(x * scale), round(y * scale)), 2, GREEN, -1, cv2.LINE_AA)
    return tile


def colours(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A flow field in pixels as (h, w, 3) uint8 BGR: hue is direction (right is red, down yellow-green), brightness
    length."""
    length, angle = cv2.cartToPolar(u.astype(np.float32), v.astype(np.float32), angleInDegrees=True)
    bright = np.clip(length / BRIGHT, 0, 1) * 255
    picture = np.stack([angle / 2, np.full_like(angle, 255), bright], axis=2).astype(np.uint8)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_HSV2BGR), np.uint8)


def _caption(row: dict[str, Any], width: int) -> np.ndarray:
    units = f", AU {row['facs']}" if row["facs"] else ""
    numbers = f", frames {row['onset']} {row['apex']} ({row['apex_source']}) {row['offset']}" if row["onset"] else ""
    strip = np.zeros((CAPTION, width, 3), np.uint8)
    # OpenCV draws ASCII alone
    text = f"{row['clip']}: {row['emotion']}{units}{numbers}".encode("ascii", "replace").decode()
    cv2.putText(strip, text, (4, CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.38, WHITE, 1, cv2.LINE_AA)
    return strip
