"""The one door to released sheets: every cell as text, columns by name, rows that remember where they stand.

    CASME2-coding-20140508.xlsx ─► find ─► rows ─► Row(source, cells: column -> text) ─► annotation ─► a row of TABLE 1

Excel (through fastexcel) and CSV are read alike. The header may stand below a title; columns are matched by name, never
by position; blank lines are skipped and nothing else is. Compatibility forms are folded (full-width commas and digits).
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mer_bench import clips, facs
from mer_bench.contracts import MerBenchError

ALIASES: dict[str, tuple[str, ...]] = {
    "subject": ("Subject", "Sub", "SubjectID"),
    "clip": ("Filename", "File", "Clip"),
    "onset": ("OnsetFrame", "OnsetF", "Onset"),
    "apex": ("ApexFrame", "ApexF1", "ApexF", "Apex"),
    "offset": ("OffsetFrame", "OffsetF", "Offset"),
    "emotion": ("EstimatedEmotion", "Emotion", "Label"),
    "action_units": ("ActionUnits", "AUs", "AU"),
    "objective_class": ("ObjectiveClasses", "ObjectiveClass"),
    "fps": ("FPS", "FrameRate"),
}
"""Column -> the names it goes by in releases, the surest first; case, spaces and signs do not count."""
REQUIRED = ("subject", "clip", "onset", "offset", "emotion")
BLANKS = ("", "/", "-", "?", "n/a", "nan", "none", "null")
DEEP = 2
HEADER_WITHIN = 40
EXCEL = (".xlsx", ".xls", ".xlsm")
PASSWORD = bytes.fromhex("d0cf11e0a1b11ae1")
"""An encrypted .xlsx is an OLE container, as an old .xls is."""


@dataclass(frozen=True)
class Row:
    """One line of a sheet: its cells as text, blank if there is none, and where it stands."""

    sheet: str
    number: int
    cells: Mapping[str, str]

    @property
    def source(self) -> str:
        """For people: sheet and row."""
        return f"{self.sheet} row {self.number}"


def find(root: Path, corpus: str, *patterns: str) -> Path:
    """The sheet of a release: the highest file below `root` whose name is like one of the patterns, in their order.

    Raises:
        MerBenchError: there is none (the folder above or below may be meant), or two at one level.
    """
    for pattern in patterns:
        for found in _levels(root, pattern):
            if len(found) > 1:
                said = " and ".join(str(file.relative_to(root)) for file in found[:2])
                raise MerBenchError(f"{corpus}: {said} in {root} are both its sheet; remove or rename one")
            if found:
                return found[0]
    said = " or ".join(patterns)
    above = next((p for p in (root.parent, root.parent.parent) if any(_like(p, pattern) for pattern in patterns)), None)
    cure = f"it lies in {above}: give that folder" if above else "give the folder that the release was unpacked into"
    raise MerBenchError(f"{corpus}: no sheet {said} in {root}; {cure}")


def _levels(root: Path, pattern: str) -> list[list[Path]]:
    """Files like `pattern` in the folder, one level below, and so on."""
    folders, found = [root], []
    for _ in range(DEEP + 1):
        found.append([file for folder in folders for file in _like(folder, pattern)])
        folders = [inner for folder in folders for inner in _inside(folder) if inner.is_dir()]
    return found


def _like(folder: Path, pattern: str) -> list[Path]:
    shape = pattern.casefold()
    names = [p for p in _inside(folder) if not p.name.startswith(("~$", "."))]
    return [p for p in names if fnmatch.fnmatchcase(p.name.casefold(), shape) and p.is_file()]


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def rows(file: Path, columns: Sequence[str] = tuple(ALIASES), required: Sequence[str] = REQUIRED) -> list[Row]:
    """The sheet's lines below its header, with those of `columns` that it has, as released.

    Raises:
        MerBenchError: the file cannot be read, no worksheet has the required columns, or a line has no subject or clip.
    """
    best: tuple[list[str], list[str]] | None = None
    for lines in _worksheets(file):
        for at, line in enumerate(lines[:HEADER_WITHIN]):
            places = _places(file, line, columns)
            lacking = [column for column in required if column not in places]
            if not lacking:
                return _below(file, lines, at, places, required)
            if best is None or len(lacking) < len(best[0]):
                best = lacking, [cell for cell in line if cell]
    lacking, seen = best or (list(required), [])
    said = ", ".join(ALIASES[column][0] if column in ALIASES else column for column in lacking)
    raise MerBenchError(
        f"{file} lacks the columns {said}; found {', '.join(seen[:12]) or 'nothing'}: is it the released sheet?"
    )


def _places(file: Path, line: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
    names = [_bare(cell) for cell in line]
    places: dict[str, int] = {}
    for column in columns:
        known = [_bare(alias) for alias in ALIASES.get(column, (column,))]
        alias = next((alias for alias in known if alias in names), None)
        if alias is None:
            continue
        if names.count(alias) > 1:
            raise MerBenchError(f"{file}: the column {line[names.index(alias)]} stands there twice; remove one")
        places[column] = names.index(alias)
    return places


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _below(
    file: Path, lines: Sequence[Sequence[str]], header: int, places: Mapping[str, int], required: Sequence[str]
) -> list[Row]:
    found = []
    for number, line in enumerate(lines[header + 1 :], header + 2):
        cells = {column: line[at] for column, at in places.items()}
        if not any(cells.values()):
            continue
        blank = [column for column in ("subject", "clip") if column in required and not cells[column]]
        if blank:
            raise MerBenchError(
                f"{file} row {number}: {blank[0]} is blank ({', '.join(filter(None, line))}); fill it in"
            )
        found.append(Row(file.name, number, cells))
    if not found:
        raise MerBenchError(f"{file} has no rows below its header; is it the released sheet?")
    return found


def _worksheets(file: Path) -> list[list[list[str]]]:
    """Lines of cells of every worksheet, folded and stripped."""
    if not file.is_file():
        raise MerBenchError(f"{file} is missing; give the folder that holds it")
    raw = _excel(file) if file.suffix.lower() in EXCEL else [_csv(file)]
    return [[[_folded(cell) for cell in line] for line in sheet] for sheet in raw]


def _excel(file: Path) -> list[list[tuple[str | None, ...]]]:
    import fastexcel

    content = file.read_bytes()
    if file.suffix.lower() != ".xls" and content.startswith(PASSWORD):
        raise MerBenchError(f"{file} is protected by a password (or is an old .xls); save it as .xlsx without one")
    try:
        book = fastexcel.read_excel(content)
        sheets = [book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string") for name in book.sheet_names]
        return [sheet.to_polars().rows() for sheet in sheets]
    except fastexcel.FastExcelError as error:
        said = str(error).splitlines()[0].removeprefix("calamine error: ")
        raise MerBenchError(f"{file} is no readable Excel file ({said}); copy it again from the release") from None


def _csv(file: Path) -> list[tuple[str | None, ...]]:
    try:
        return pl.read_csv(file, has_header=False, infer_schema=False, truncate_ragged_lines=False).rows()
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise MerBenchError(f"{file} cannot be read ({str(error).splitlines()[0]}); save it as UTF-8 CSV") from None


def _folded(cell: str | None) -> str:
    return unicodedata.normalize("NFKC", cell or "").replace("\ufeff", "").strip()


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


def numbered(row: Row, prefix: str, width: int) -> str:
    """The subject's number in one spelling: `sub01`, `01`, `1` and `1.0` are `01` at width 2.

    Raises:
        MerBenchError: it is no number; two spellings of one subject would be two subjects.
    """
    text = row.cells["subject"]
    match = re.fullmatch(rf"(?:{re.escape(prefix)})?\s*0*([0-9]+)(\.0*)?", text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise MerBenchError(f"{row.source}: subject {text!r} should read like {prefix}{1:0{width}d}; correct it")
    return match[1].zfill(width)


def annotation(
    corpus: str,
    subject: str,
    name: str,
    row: Row,
    *,
    fps: float | None,
    synonyms: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """One row of TABLE 1 but for its frames.

    Args:
        corpus: its name.
        subject: its number, in one spelling.
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
        "clip": f"{corpus}/{subject}/{name}",
        "corpus": corpus,
        "subject": f"{corpus}/{subject}",
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
