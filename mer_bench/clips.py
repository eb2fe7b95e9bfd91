"""TABLE 1: one row per clip, as the annotators said it.

clip          str         corpus/subject/name, the clip's name everywhere
corpus        str
subject       str         corpus/id: ids collide between corpora
onset, apex, offset       int32, frame numbers as on disk (null where the corpus is released without frames)
apex_source   str         annotated, mended, middle, flow-peak; null where there is no apex
fps           float64
emotion       str         as annotated, in lower case
action_units  list[int32]
sides         list[str]   one of `facs.SIDES` for each action unit
intensities   list[str]   one of `facs.INTENSITIES` for each action unit
choices       list[int32] units with the same number are alternatives (`17A or 24A`)
facs          str         the action units as released
objective_class int32     1 to 7, by action units, where the sheet has it
frame_path    str         file of a frame below the corpus root, `{frame}` standing for its number, e.g.
                          `Cropped/sub05/EP12_03f/reg_img{frame}.jpg` or `006/006_1_2/006_{frame:05d}.jpg`
source        str         where the row stands: sheet and row, or folder
remarks       list[str]   what reading could not take as it stands in the sheet
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mer_bench import facs
from mer_bench.contracts import Mend, MerBenchError, Task

COLUMNS: dict[str, pl.DataType] = {
    "clip": pl.String(),
    "corpus": pl.String(),
    "subject": pl.String(),
    "onset": pl.Int32(),
    "apex": pl.Int32(),
    "offset": pl.Int32(),
    "apex_source": pl.String(),
    "fps": pl.Float64(),
    "emotion": pl.String(),
    "action_units": pl.List(pl.Int32()),
    "sides": pl.List(pl.String()),
    "intensities": pl.List(pl.String()),
    "choices": pl.List(pl.Int32()),
    "facs": pl.String(),
    "objective_class": pl.Int32(),
    "frame_path": pl.String(),
    "source": pl.String(),
    "remarks": pl.List(pl.String()),
}


def table(rows: Iterable[dict[str, object]]) -> pl.DataFrame:
    """Rows as TABLE 1, columns in order; columns that a row lacks are null.

    Raises:
        MerBenchError: a row has a key that is no column.
    """
    found = list(rows)
    for row in found:
        if unknown := sorted(set(row) - set(COLUMNS)):
            raise MerBenchError(f"{row.get('clip')}: no such column: {', '.join(unknown)}; see clips.COLUMNS")
    return pl.DataFrame(found, schema=COLUMNS).sort("clip")


def read_sheet(file: Path, columns: Sequence[str]) -> pl.DataFrame:
    """A CSV sheet as released, every cell as text.

    Raises:
        MerBenchError: it is missing, cannot be read, or lacks a column.
    """
    try:
        sheet = pl.read_csv(file, infer_schema=False)
    except FileNotFoundError:
        raise MerBenchError(f"{file} is missing; give the folder that holds it") from None
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise MerBenchError(f"{file} cannot be read ({str(error).splitlines()[0]}); fetch it again") from None
    lacking = [column for column in columns if column not in sheet.columns]
    if lacking:
        raise MerBenchError(f"{file} lacks the columns {', '.join(lacking)}; is it the released sheet?")
    return sheet


def parse_action_units(text: str) -> tuple[list[int], list[str]]:
    """Action units and sides of a FACS string such as `4+L10`, `12`, `R14`; `?` marks and blanks give none."""
    units = facs.parse(text).units
    return [unit.number for unit in units], [unit.side for unit in units]


def coded(text: str) -> dict[str, object]:
    """The columns of a FACS string, all of it: units, sides, intensities, alternatives, and the string itself."""
    units = facs.parse(text).units
    return {
        "facs": text,
        "action_units": [unit.number for unit in units],
        "sides": [unit.side for unit in units],
        "intensities": [unit.intensity for unit in units],
        "choices": [unit.choice for unit in units],
    }


def mend(clips: pl.DataFrame, mends: Iterable[Mend]) -> pl.DataFrame:
    """Apply corrections.

    Raises:
        MerBenchError: a mend names no clip or several, or a column that does not exist.
    """
    for m in mends:
        matches = int((clips["clip"] == m.clip).sum()) if m.column in clips.columns else 0
        if matches != 1:
            many = f"{matches} clips" if matches else "no clip"
            raise MerBenchError(
                f"mend of {m.clip}.{m.column} ({m.reason}) matches {many}; is the release complete? Ask for :no-mends, "
                "or fix the mend's name"
            )
        new = pl.when(pl.col("clip") == m.clip).then(pl.lit(m.value)).otherwise(pl.col(m.column))
        changed = [new.cast(COLUMNS[m.column]).alias(m.column)]
        if m.column == "apex":
            how = pl.when(pl.col("clip") == m.clip).then(pl.lit("mended")).otherwise(pl.col("apex_source"))
            changed.append(how.alias("apex_source"))
        clips = clips.with_columns(changed)
    return clips


def problems(clips: pl.DataFrame) -> list[str]:
    """What is wrong with a table: doubled clips, key frames out of order, emotions left blank. One line each."""
    found = [f"{clip}: appears twice; clip names must be unique" for clip in _doubled(clips)]
    with_frames = pl.col("onset").is_not_null() | pl.col("frame_path").is_not_null()
    for row in clips.filter(with_frames).iter_rows(named=True):
        onset, apex, offset = row["onset"], row["apex"], row["offset"]
        if None in (onset, apex, offset):
            found.append(f"{row['clip']}: onset, apex or offset is blank{_why(row)}; add a Mend")
        elif not onset <= apex <= offset:
            found.append(
                f"{row['clip']}: onset {onset} <= apex {apex} <= offset {offset} does not hold{_why(row)}; add a Mend"
            )
    blank = clips.filter(pl.col("emotion").is_null() | (pl.col("emotion") == ""))
    return found + [f"{row['clip']}: emotion is blank{_why(row)}; add a Mend" for row in blank.iter_rows(named=True)]


def _why(row: Mapping[str, Any]) -> str:
    """Where a row stands and what could not be read there, in brackets; empty for tables that do not know."""
    said = "; ".join(filter(None, [row.get("source"), *(row.get("remarks") or [])]))
    return f" ({said})" if said else ""


def _doubled(clips: pl.DataFrame) -> list[str]:
    return clips.group_by("clip").len().filter(pl.col("len") > 1)["clip"].sort().to_list()


def select(clips: pl.DataFrame, task: Task) -> pl.DataFrame:
    """The task's clips, sorted by name, with `label` (int8) after its class map; `corpus/emotion` comes first."""
    labels = {emotion: task.classes.index(name) for emotion, name in task.class_map.items()}
    own, any_corpus = pl.concat_str(["corpus", "emotion"], separator="/"), pl.col("emotion")
    label = pl.coalesce(
        key.replace_strict(labels, default=None, return_dtype=pl.Int8) for key in (own, any_corpus)
    ).alias("label")
    chosen = clips.with_columns(label).filter(pl.col("label").is_not_null(), ~pl.col("clip").is_in(list(task.drop)))
    return chosen.sort("clip")


def sha256(clips: pl.DataFrame) -> str:
    """The hash that pins a task: SHA-256 over the sorted clip names, one a line."""
    return hashlib.sha256("\n".join(sorted(clips["clip"])).encode()).hexdigest()


def check(clips: pl.DataFrame, name: str, task: Task) -> None:
    """Hold a task's selected clips against what it pins.

    Raises:
        MerBenchError: counts or hash differ, or a row is malformed; the first problem is named.
    """
    found = problems(clips)
    counts = tuple(int((clips["label"] == k).sum()) for k in range(len(task.classes)))
    wanted = task.clips or len(clips), task.subjects or clips["subject"].n_unique()
    if (len(clips), clips["subject"].n_unique()) != wanted:
        found.append(
            f"{name}: expected {wanted[0]} clips of {wanted[1]} subjects, found {len(clips)} of "
            f"{clips['subject'].n_unique()}; is the release complete?"
        )
    elif task.counts and counts != task.counts:
        found.append(f"{name}: expected clips per class {task.counts}, found {counts}")
    elif task.sha256 and sha256(clips) != task.sha256:
        found.append(f"{name}: the list of clips differs from the pinned one ({sha256(clips)[:12]}...)")
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise MerBenchError(found[0] + more)
