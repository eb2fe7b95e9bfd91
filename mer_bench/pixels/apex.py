"""Apexes that a release does not give: a named rule, and on record as `apex_source`.

    middle      onset + (offset - onset) // 2, as MEB (tvaranka/meb, Smic)
    flow-peak   the frame whose optical flow from the onset is longest

The face is cut out by one transform of the onset frame; the median of the flow, which is the head's own movement, is
taken off before its length is averaged over the crop. Found apexes are kept: finding them reads every frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from mer_bench import processes
from mer_bench.contracts import FLOW_PEAK, MIDDLE, MerBenchError, UsageError
from mer_bench.pixels import cache, faces, flow, frames
from mer_bench.pixels.cache import Tick

VERSION = 1
SIZE = 112
FEW = 8


def fill(table: pl.DataFrame, rule: str, root: Path, name: str, tick: Tick | None = None) -> pl.DataFrame:
    """TABLE 1 with blank apexes of clips that have onset and offset in order filled in, `apex_source` saying how.

    Raises:
        UsageError: an unknown rule.
        MerBenchError: a clip whose flow is to be measured has fewer than two frames.
    """
    if rule not in (MIDDLE, FLOW_PEAK):
        raise UsageError(f"{name}: unknown rule {rule!r} for blank apexes; known: {MIDDLE}, {FLOW_PEAK}")
    blank = pl.col("apex").is_null() & (pl.col("onset") <= pl.col("offset"))
    open_rows = table.filter(blank.fill_null(False))
    if open_rows.is_empty():
        return table
    apexes = _middles(open_rows) if rule == MIDDLE else _peaks(open_rows, root, name, tick)
    found = pl.col("clip").replace_strict(apexes, default=None, return_dtype=pl.Int32)
    filled = pl.col("apex").is_null() & found.is_not_null()
    source = pl.when(filled).then(pl.lit(rule)).otherwise(pl.col("apex_source"))
    return table.with_columns(source.alias("apex_source"), pl.coalesce("apex", found).alias("apex"))


def _middles(rows: pl.DataFrame) -> dict[str, int]:
    return {row["clip"]: row["onset"] + (row["offset"] - row["onset"]) // 2 for row in rows.iter_rows(named=True)}


def _peaks(rows: pl.DataFrame, root: Path, name: str, tick: Tick | None) -> dict[str, int]:
    used = rows.select("clip", "onset", "offset", "frame_path").rows(named=True)
    there = [row for row in used if frames.path(root, row, row["onset"]).is_file()]
    settings = {"rows": there, "root": str(root), "versions": [VERSION, SIZE, faces.version(), flow.version()]}
    stem = name.split(":")[0]
    place = cache.home() / "apexes" / f"{stem}-{cache.key(settings)[:16]}.json"
    if not place.is_file():
        count = 1 if len(there) <= FEW else processes.cores()
        spread = processes.spread(partial(peak, root), there, count, "looking for apexes", ordered=True)
        found: dict[str, int] = {}
        for row, number in zip(there, spread, strict=True):
            found[row["clip"]] = number
            if tick:
                tick(len(found), len(there), f"looking for apexes of {stem}")
        cache.write_text(place, json.dumps({"settings": settings, "apexes": found}))
    known: dict[str, int] = json.loads(place.read_text())["apexes"]
    return known


def peak(root: Path, row: Mapping[str, Any]) -> int:
    """The frame of a clip, after its onset, whose flow from the onset is longest; the first of equals."""
    numbers = [n for n in range(row["onset"] + 1, row["offset"] + 1) if frames.path(root, row, n).is_file()]
    if not numbers:
        raise MerBenchError(
            f"{row['clip']}: no frame after the onset is on disk, so that {FLOW_PEAK} has nothing to measure; ask for "
            f":{MIDDLE}"
        )
    first = frames.read(root, row, row["onset"])
    alignment = faces.align(first)
    onset = faces.crop(first, alignment, SIZE)
    return max(numbers, key=lambda n: _length(onset, faces.crop(frames.read(root, row, n), alignment, SIZE)))


def _length(onset: np.ndarray, frame: np.ndarray) -> float:
    """Mean length of the flow in pixels, less the head's own movement."""
    u, v = (cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for part in flow.field(onset, frame))
    return round(float(np.hypot(u - np.median(u), v - np.median(v)).mean()), 6)
