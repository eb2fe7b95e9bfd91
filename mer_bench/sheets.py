"""The one door to released sheets: every cell as text, columns by name, rows that remember where they stand.

    CASME2-coding-20140508.xlsx ─► find ─► rows ─► [Row(source, cells: column -> text), ...]

Excel (through fastexcel) and CSV are read alike. The header may stand below a title; columns are matched by name, never
by position; blank lines are skipped and nothing else is. Compatibility forms are folded (full-width commas and digits).
"""

from __future__ import annotations

import fnmatch
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

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
