"""From a sheet's line to a row of TABLE 1: subjects in one spelling, frames as numbers, words kept that are neither.

Nothing is guessed: what cannot be read is null, and a remark says what stood there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mer_bench import clips, facs
from mer_bench.contracts import MerBenchError
from mer_bench.sheets import Row

BLANKS = ("", "/", "-", "?", "n/a", "nan", "none", "null")


def is_blank(text: str) -> bool:
    """Whether a cell says nothing: empty, or one of the signs for it."""
    return text.casefold() in BLANKS


def frame(text: str, column: str, remarks: list[str]) -> int | None:
    """A frame number; None if the cell is blank or, with a remark, if it is no number."""
    if is_blank(text):
        if text:
            remarks.append(f"{column} is {text!r}")
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.0*)?", text, re.ASCII):
        return int(text.split(".")[0])
    remarks.append(f"{column} {text!r} is no frame number")
    return None


def subject(row: Row, prefix: str, width: int) -> str:
    """The subject's number in one spelling: `sub01`, `01`, `1` and `1.0` are `01` at width 2.

    Raises:
        MerBenchError: it is no number; two spellings of one subject would be two subjects.
    """
    text = row.cells["subject"]
    match = re.fullmatch(rf"(?:{re.escape(prefix)})?\s*0*([0-9]+)(\.0*)?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise MerBenchError(f"{row.source}: subject {text!r} should read like {prefix}{1:0{width}d}; correct it")
    return match[1].zfill(width)


def clip(
    corpus: str,
    who: str,
    name: str,
    row: Row,
    *,
    fps: float | None,
    synonyms: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """One row of TABLE 1 but for its frames.

    Args:
        corpus: its name.
        who: the subject's number, in one spelling.
        name: the clip's name within the subject.
        row: the sheet's line.
        fps: frames a second, unless the sheet says it.
        synonyms: spellings of an emotion that releases of this corpus mix -> the one kept.
    """
    remarks: list[str] = []
    cells = row.cells
    if "/" in name:
        raise MerBenchError(f"{row.source}: the clip's name {name!r} holds a stroke; rename it")
    onset, apex, offset = (frame(cells.get(column, ""), column, remarks) for column in ("onset", "apex", "offset"))
    emotion = " ".join(cells["emotion"].casefold().split())
    text = cells.get("action_units", "")
    remarks += [f"action units {text!r}: {word!r} is no code" for word in facs.parse(text).unread]
    return {
        "clip": f"{corpus}/{who}/{name}",
        "corpus": corpus,
        "subject": f"{corpus}/{who}",
        "onset": onset,
        "apex": apex,
        "offset": offset,
        "apex_source": None if apex is None else "annotated",
        "fps": _rate(cells.get("fps", ""), remarks) or fps,
        "emotion": (synonyms or {}).get(emotion, emotion),
        "objective_class": frame(cells.get("objective_class", ""), "objective class", remarks),
        "source": row.source,
        "remarks": remarks,
        **clips.coded(text),
    }


def _rate(text: str, remarks: list[str]) -> float | None:
    try:
        return None if is_blank(text) else float(text)
    except ValueError:
        remarks.append(f"frame rate {text!r} is no number")
        return None
