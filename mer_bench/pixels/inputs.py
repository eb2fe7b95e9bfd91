"""From a task and a view to arrays: clips selected and checked, faces aligned, crops or flow on disk, opened lazily.

    view                 arrays, row-aligned with `clips`, uint8 unless said otherwise
    onset_apex@S         onset (N, 1, S, S, 3), apex (N, 1, S, S, 3)      RGB
    onset_apex@S+near    onset (N, 5, S, S, 3), apex (N, 9, S, S, 3)      the frames around them, for jitter
    apex@S, apex@S+near  apex  (N, 1 or 9, S, S, 3)                       RGB
    flow@S               flow  (N, S, S, 3)                               u, v, strain from onset to apex, scaled
    uv@S                 uv    (N, S, S, 2) float32                       the same vectors in pixels, unscaled
    clip@S               clip  (N, 10, S, S)                              grey, onset to offset, interpolated (TIM)
    flow_clip@S          flow_clip (N, 8, S, S, 3)                        u, v, strain from onset to 8 later frames

Arrays are prepared once per corpus and view, for every well-formed clip of the corpus and not only a task's, so that
tasks share them; the folder's name hashes every setting that made them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from mer_bench import catalog, clips, processes
from mer_bench.contracts import Dataset, MerBenchError, Task
from mer_bench.pixels import apex, cache, faces, flow, frames, stores, tim
from mer_bench.pixels.cache import Tick
from mer_bench.pixels.frames import View

Clip = tuple[dict[str, np.ndarray], bool]
ReadFlow = Callable[[Path, Mapping[str, Any]], np.ndarray]

VERSION = 1
USED = ("clip", "onset", "apex", "offset", "frame_path")
FEW = 40
"""Up to so many clips starting worker processes costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model is shown.

    Args:
        clips: TABLE 1 and `label`, sorted by clip.
        arrays: name -> array, row-aligned with `clips`; memory-mapped, and read-only, where its rows lie together.
        key: hash of every setting that made the arrays, and of the clips chosen.
        unfound: clips without a detected face, which show the middle of the frame.
    """

    clips: pl.DataFrame
    arrays: dict[str, np.ndarray]
    key: str
    unfound: tuple[str, ...] = ()


def clips_of(name: str, tick: Tick | None = None) -> pl.DataFrame:
    """A task's clips with their labels, mended and held against what the task pins.

    Raises:
        MerBenchError: a corpus is missing, or the clips differ from the pinned ones.
    """
    task = catalog.task(name)
    return _chosen(name, task, {corpus: table(corpus, tick) for corpus in task.corpora})


def load(task: str, view: str, *, tick: Tick | None = None) -> Inputs:
    """The inputs of a task; `tick(done, total, text)` is called while frames are drawn or arrays prepared.

    Raises:
        UsageError: unknown task or view.
        MerBenchError: a corpus or a frame is missing, the clips differ from the pinned ones, or a corpus of flow
            pictures is asked for frames.
    """
    wanted, asked = frames.parse_view(view), catalog.task(task)
    tables = {name: table(name, tick) for name in asked.corpora}
    chosen = _chosen(task, asked, tables)
    usable = {name: _usable(cache.root(name), part, asked, wanted, chosen) for name, part in tables.items()}
    settings = {name: _settings(name, table, wanted) for name, table in usable.items()}
    folders = [prepare(name, usable[name], wanted, tick) for name in asked.corpora]
    stored = [json.loads((folder / "clips.json").read_text()) for folder in folders]
    row_of = {clip: row for row, clip in enumerate(clip for part in stored for clip in part["clips"])}
    lost = [clip for clip in chosen["clip"] if clip not in row_of]
    if lost:
        raise MerBenchError(f"{lost[0]}: onset, apex or offset is blank; add a Mend")
    rows = np.array([row_of[clip] for clip in chosen["clip"]])
    unfound = {clip for part in stored for clip in part["unfound"]} & set(chosen["clip"])
    key = cache.key({"clips": chosen.select("clip", "label").rows(), "corpora": settings})
    # by folder too: two releases of one corpus have the same key
    place = cache.key({"clips": key, "folders": [folder.name for folder in folders]})
    arrays = _arrays(folders, rows, cache.home() / "gathered" / f"{wanted}-{place[:16]}")
    return Inputs(chosen, arrays, key, tuple(sorted(unfound)))


def prepare(name: str, table: pl.DataFrame, view: View, tick: Tick | None = None) -> Path:
    """The folder of a corpus's arrays in a view, one row per clip of `table`: an .npy file each, and clips.json.

    Raises:
        MerBenchError: a frame is missing, or the corpus holds flow alone and the view asks for frames.
    """
    dataset = catalog.dataset(name)
    if dataset.read_flow is not None and view.kind != "flow":
        raise MerBenchError(f"{name} is released as flow pictures, without frames: it has flow@S and no {view}")
    root = cache.root(name, tick)
    # The place of a release is no setting of the arrays, but two releases of one corpus must not share a folder.
    place = "" if dataset.make else str(root)
    settings = _settings(name, table, view)
    folder = cache.home() / "inputs" / f"{name.split(':')[0]}-{view}-{cache.key({**settings, 'root': place})[:16]}"
    return cache.publish(folder, lambda staged: _build(staged, dataset, settings, root, table, view, tick), resume=True)


def table(name: str, tick: Tick | None = None) -> pl.DataFrame:
    """TABLE 1 of a corpus: as released, mended, blank apexes filled in by the corpus's rule."""
    dataset, root = catalog.dataset(name), cache.root(name, tick)
    mended = clips.mend(dataset.read_annotations(root), dataset.mends)
    return apex.fill(mended, dataset.apex, root, name, tick)


def _chosen(name: str, task: Task, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    chosen = clips.select(pl.concat(list(tables.values())), task)
    clips.check(chosen, name, task)
    return chosen


def _usable(root: Path, table: pl.DataFrame, task: Task, view: View, chosen: pl.DataFrame) -> pl.DataFrame:
    """Clips with key frames in order, and those frames on disk; others cannot be shown, nor can those a task drops.

    A chosen clip stays whatever its frames, so that what is missing is told; a broken clip outside the task is not
    in the way.
    """
    ordered = (pl.col("onset") <= pl.col("apex")) & (pl.col("apex") <= pl.col("offset"))
    without_frames = pl.col("onset").is_null() & pl.col("frame_path").is_null()
    kept = table.filter(ordered.fill_null(False) | without_frames, ~pl.col("clip").is_in(list(task.drop)))
    kept = kept.unique("clip", keep="none").sort("clip")
    asked = set(chosen["clip"])
    there = [row["clip"] in asked or frames.present(root, row, view) for row in kept.iter_rows(named=True)]
    return kept.filter(pl.Series(there, dtype=pl.Boolean))


def _settings(name: str, table: pl.DataFrame, view: View) -> dict[str, Any]:
    """Every setting that makes a corpus's arrays, in plain types."""
    more = {"clip": [tim.version()]}.get(view.kind, [])
    return {
        "dataset": name.split(":")[0],
        "signature": catalog.dataset(name).signature,
        "clips": cache.key({"rows": table.select(USED).rows()}),
        "view": str(view),
        "versions": [VERSION, faces.version(), flow.version(), *more],
    }


def _build(
    folder: Path,
    dataset: Dataset,
    settings: Mapping[str, Any],
    root: Path,
    table: pl.DataFrame,
    view: View,
    tick: Tick | None,
) -> None:
    rows, names = table.select(USED).rows(named=True), table["clip"].to_list()

    def make(first: int) -> Iterator[Clip]:
        if dataset.read_flow is not None:
            return map(partial(_picture, dataset.read_flow, root, view), rows[first:])
        return _parallel(partial(_clip, root, view), rows[first:])

    def told(done: int) -> None:
        if tick:
            tick(done, len(rows), f"preparing {settings['dataset']} as {view}")

    unfound = stores.write(folder, settings, names, make, told)
    record = {"settings": settings, "clips": names, "unfound": unfound}
    (folder / "clips.json").write_text(json.dumps(record, indent=1))


def _parallel(work: Callable[[Mapping[str, Any]], Clip], rows: list[dict[str, Any]]) -> Iterator[Clip]:
    """`work` over rows, in their order; by one-threaded processes where there are many rows and processors."""
    count = 1 if len(rows) <= FEW else processes.cores()
    one_thread = partial(cv2.setNumThreads, 1)
    return processes.spread(work, rows, count, "preparing frames", ordered=True, prepare=one_thread)


def _picture(read_flow: ReadFlow, root: Path, view: View, row: Mapping[str, Any]) -> Clip:
    """One clip of a corpus released as flow pictures."""
    return {"flow": flow.resize(read_flow(root, row), view.size)}, True


def _clip(root: Path, view: View, row: Mapping[str, Any]) -> Clip:
    """One clip's arrays, and whether its face was found."""
    first = frames.read(root, row, row["onset"])
    alignment = faces.align(first)

    def read(number: int) -> np.ndarray:
        return first if number == row["onset"] else frames.read(root, row, number)

    return of_clip(view, row, alignment, read), alignment.found


def of_clip(
    view: View, row: Mapping[str, Any], alignment: faces.Alignment, read: Callable[[int], np.ndarray]
) -> dict[str, np.ndarray]:
    """One clip's arrays in a view, from `onset`, `apex` and `offset` and however its frames are read."""

    def crop(number: int, size: int) -> np.ndarray:
        return faces.crop(read(number), alignment, size)

    return _drawn(view, frames.numbers(row, view), row["onset"], crop)


def _drawn(
    view: View, numbers: Mapping[str, list[int]], onset: int, crop: Callable[[int, int], np.ndarray]
) -> dict[str, np.ndarray]:
    """One clip's arrays; `crop(number, size)` is a frame's aligned BGR crop."""
    if view.kind in frames.WITH_NEAR:
        wanted = {number for ns in numbers.values() for number in ns}
        rgb = {number: crop(number, view.size)[..., ::-1] for number in wanted}
        return {name: np.stack([rgb[number] for number in ns]) for name, ns in numbers.items()}
    if view.kind == "clip":
        grey = [cv2.cvtColor(crop(number, view.size), cv2.COLOR_BGR2GRAY) for number in numbers["clip"]]
        return {"clip": tim.interpolate(np.stack(grey), frames.CLIP_FRAMES)}
    start, others = crop(onset, flow.WORKING), [crop(number, flow.WORKING) for number in numbers[view.kind]]
    if view.kind == "flow_clip":
        return {"flow_clip": flow.encode_clip(start, others, view.size)}
    return {view.kind: (flow.vectors if view.kind == "uv" else flow.encode)(start, others[0], view.size)}


def _arrays(folders: list[Path], rows: np.ndarray, gathered: Path) -> dict[str, np.ndarray]:
    """Rows of the folders' arrays laid end to end, memory-mapped, so that all processes of a machine share one copy.

    Where they lie together in one file they are a part of it; else they are written side by side, once.
    """
    names = sorted(file.stem for file in folders[0].glob("*.npy"))
    parts = {name: [np.load(folder / f"{name}.npy", mmap_mode="r") for folder in folders] for name in names}
    if len(folders) == 1 and len(rows) and (np.diff(rows) == 1).all():
        return {name: part[rows[0] : rows[-1] + 1] for name, (part,) in parts.items()}

    def build(staged: Path) -> None:
        for name, pieces in parts.items():
            _gather(pieces, rows, staged / f"{name}.npy")

    folder = cache.publish(gathered, build)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


def _gather(parts: list[np.ndarray], rows: np.ndarray, file: Path) -> None:
    """Write rows of the parts laid end to end."""
    ends = np.cumsum([len(part) for part in parts])
    shape = (len(rows), *parts[0].shape[1:])
    out = np.lib.format.open_memmap(file, mode="w+", dtype=parts[0].dtype, shape=shape)
    for part, end in zip(parts, ends, strict=True):
        inside = (rows < end) & (rows >= end - len(part))
        out[inside] = part[rows[inside] - (end - len(part))]
    out.flush()
