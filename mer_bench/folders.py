"""Where a release keeps its frames: which of the known layouts, at which level, and how files are numbered.

    layouts  ("Cropped/sub{subject}/{clip}", "sub{subject}/{clip}")
    folder   CASME II/Cropped/sub05/EP12_03f/   reg_img36.jpg reg_img101.jpg
    template CASME II/Cropped/sub05/EP12_03f/reg_img{frame}.jpg

Numbering is read from the files of each clip, because it changes inside one release (SAMM pads to four digits here and
to five there). Names are compared without case.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mer_bench import clips, coding, sheets
from mer_bench.contracts import MerBenchError

PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
DEEP = 2
PROBES = 200


@dataclass(frozen=True)
class Numbering:
    """A folder's frames: template below the corpus root, the numbers found, and what is strange about the names."""

    template: str
    numbers: tuple[int, ...]
    remark: str = ""


def table(
    root: Path,
    corpus: str,
    sheet: Sequence[str],
    layouts: Sequence[str],
    default: str,
    *,
    prefix: str,
    width: int,
    fps: float | None,
    synonyms: Mapping[str, str] | None = None,
    named: str = "",
) -> pl.DataFrame:
    """TABLE 1 of a release with one sheet, whose clips lie in folders named by `subject`, `clip` and `emotion`.

    Args:
        root: the corpus's folder.
        corpus: its name.
        sheet: patterns of the sheet's file name, see `sheets.find`.
        layouts, default: see `templates`.
        prefix, width: of subjects, see `coding.subject`.
        fps, synonyms: see `coding.clip`.
        named: how a clip's name begins (`S{subject}-`); one that does not is remarked upon.
    """
    found, fields = [], []
    for row in sheets.rows(sheets.find(root, corpus, *sheet)):
        subject, name = coding.subject(row, prefix, width), row.cells["clip"]
        one = coding.clip(corpus, subject, name, row, fps=fps, synonyms=synonyms)
        begins = named.format(subject=subject)
        if not name.upper().startswith(begins.upper()):
            who = begins.strip("_-")
            one["remarks"] = [*one["remarks"], f"the name {name} is not one of subject {who}"]  # type: ignore[misc]
        found.append(one)
        fields.append({"subject": subject, "clip": name, "emotion": str(one["emotion"])})
    return placed(root, found, layouts, fields, default)


def templates(
    root: Path, layouts: Sequence[str], fields: Sequence[Mapping[str, str]], default: str
) -> list[tuple[str, str]]:
    """For each clip's fields: the template of its frames below `root`, and a remark or nothing.

    Args:
        root: the corpus's folder.
        layouts: folders of a clip, best first; the first that holds a clip, at this level or below, is taken for all.
        fields: what fills a layout in, clip by clip.
        default: file name of clips whose folder is missing or empty; fields, and `{{frame}}` for the number.
    """
    tree = _Tree(root)
    starts, layout = _layout(tree, layouts, fields)
    known: dict[str, tuple[str, str]] = {}
    found = []
    for one in fields:
        wanted = layout.format(**one)
        if wanted not in known:
            there = (tree.find(_join(start, wanted)) for start in starts)
            folder = next((at for at in there if at is not None), None)
            numbered = numbering(root, folder) if folder is not None else None
            name = default.format(**{field: escaped(text) for field, text in one.items()})
            missing = f"{escaped(_join(starts[0], wanted))}/{name}", ""
            known[wanted] = (numbered.template, numbered.remark) if numbered else missing
        found.append(known[wanted])
    return found


def placed(
    root: Path,
    rows: Sequence[dict[str, object]],
    layouts: Sequence[str],
    fields: Sequence[Mapping[str, str]],
    default: str,
) -> pl.DataFrame:
    """TABLE 1 of rows that `sheets.annotation` made, with their frames; arguments as of `templates`."""
    for row, (template, remark) in zip(rows, templates(root, layouts, fields, default), strict=True):
        said = row["remarks"]
        assert isinstance(said, list)
        row["frame_path"], row["remarks"] = template, [*said, *filter(None, [remark])]
    return clips.table(rows)


def _layout(tree: _Tree, layouts: Sequence[str], fields: Sequence[Mapping[str, str]]) -> tuple[list[str], str]:
    """Where below the root the first fitting layout starts (a release may come in parts), and which it is."""
    probes = fields[:: max(1, len(fields) // PROBES)]
    for layout in layouts:
        wanted = [layout.format(**one) for one in probes]
        starts = [at for at in tree.folders(DEEP) if any(tree.find(_join(at, path)) is not None for path in wanted)]
        if starts:
            return starts, layout
    return [""], layouts[0]


def _join(start: str, path: str) -> str:
    return f"{start}/{path}" if start else path


def numbering(root: Path, folder: str) -> Numbering | None:
    """How the pictures of a folder are numbered; None if it holds none."""
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for file in (root / folder).iterdir():
        match = re.fullmatch(r"(.*?)([0-9]+)", file.stem, re.ASCII | re.DOTALL)
        if match and file.suffix.lower() in PICTURES:
            groups.setdefault((match[1], file.suffix), {})[match[2]] = int(match[2])
    if not groups:
        return None
    sizes = Counter({key: len(names) for key, names in groups.items()})
    (prefix, suffix), most = max(sorted(groups.items()), key=lambda item: len(item[1]))
    padded = [len(digits) for digits in most if digits[0] == "0" and len(digits) > 1]
    width = min(padded, default=0)
    place = f"{{frame:0{width}d}}" if width else "{frame}"
    odd = [digits for digits, number in most.items() if f"{number:0{width}d}" != digits]
    others = sum(sizes.values()) - len(most)
    remark = ""
    if odd or others:
        remark = f"frames in {folder} are named in two ways ({len(odd) + others} differ from {prefix}{place}{suffix})"
    template = f"{escaped(folder)}/{escaped(prefix)}{place}{escaped(suffix)}"
    return Numbering(template, tuple(sorted(most.values())), remark)


def escaped(text: str) -> str:
    """A piece of a path as part of a template: braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def find_folders(root: Path, names: Sequence[str], deep: int = DEEP + 1) -> list[str]:
    """Folders of these names (without case) at most `deep` levels below `root`, highest first.

    Raises:
        MerBenchError: the folder cannot be listed.
    """
    wanted = [name.casefold() for name in names]
    found = [start for start in _Tree(root).folders(deep) if start.split("/")[-1].casefold() in wanted]
    return sorted(found, key=lambda start: (start.count("/"), wanted.index(start.split("/")[-1].casefold()), start))


class _Tree:
    """A folder tree, listed once, whose names are compared without case."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, dict[str, str]] = {}

    def find(self, relative: str) -> str | None:
        """The folder as spelled on disk, or None."""
        at = ""
        for part in relative.split("/"):
            inner = self._list(at)
            name = part if part in inner.values() else inner.get(part.casefold())
            if name is None:
                return None
            at = f"{at}/{name}" if at else name
        return at

    def folders(self, deep: int) -> list[str]:
        """The root (empty) and folders at most so many levels below, level by level."""
        levels = [[""]]
        for _ in range(deep):
            levels.append([f"{at}/{n}" if at else n for at in levels[-1] for n in sorted(self._list(at).values())])
        return [at for level in levels for at in level]

    def _list(self, at: str) -> dict[str, str]:
        if at not in self._listed:
            try:
                with os.scandir(self._root / at) as entries:
                    inside = [entry.name for entry in entries if entry.is_dir()]
            except OSError as error:
                raise MerBenchError(f"{self._root / at}: {error.strerror}; make it readable") from None
            self._listed[at] = {name.casefold(): name for name in sorted(inside)}
        return self._listed[at]
