"""A corpus of one's own, from one CSV (or Excel) sheet; `mer-bench data add NAME --sheet FILE` writes its plug-in.

    subject, clip, onset, apex, offset, label, folder[, action_units][, fps]

`folder` is where the clip's frames lie, seen from the sheet's own folder; frames are numbered by the last digits of
their file names, as `onset` and `offset` count them. Labels are the classes, in alphabetical order. A blank apex is
filled in by the corpus's rule. What was read when the corpus was added is pinned: a sheet that changes later is another
corpus.

Corrections of one's own to a corpus of the project are kept apart from the project's: `mer-bench data add casme2 PATH
--mends FILE` reads

    clip, column, value, reason

and `casme2:own-mends`, or a task as `casme2-5:own-mends`, is the corpus with them: another question, another name.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import polars as pl

from mer_bench import clips, coding, folders, sheets
from mer_bench.contracts import Dataset, Mend, MerBenchError, Task, UsageError

COLUMNS = ("subject", "clip", "onset", "apex", "offset", "emotion", "folder", "action_units", "fps")
REQUIRED = ("subject", "clip", "onset", "offset", "emotion", "folder")
LICENCE = "your own"
MENDS = ("clip", "column", "value", "reason")
MENDABLE = ("onset", "apex", "offset", "emotion")


def corpus(
    name: str, sheet: str, classes: tuple[str, ...], clips: int, subjects: int, counts: tuple[int, ...], sha256: str
) -> Dataset:
    """The corpus of a sheet, with one task, `NAME-<number of classes>`, pinned as it was added."""
    task = Task(
        corpora=(name,),
        classes=classes,
        class_map={label: label for label in classes},
        clips=clips,
        subjects=subjects,
        counts=counts,
        sha256=sha256,
    )
    return Dataset(
        title=f"{name}, a corpus of one's own",
        read_annotations=partial(read_annotations, name, sheet),
        licence=LICENCE,
        emotions=dict(zip(classes, counts, strict=True)),
        clips=clips,
        subjects=subjects,
        tasks={f"{name.replace('_', '-')}-{len(classes)}": task},
    )


def read_annotations(name: str, sheet: str, root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet `root / sheet`."""
    rows = sheets.rows(root / sheet, COLUMNS, REQUIRED)
    found, fields = [], []
    for row in rows:
        folder = Path(row.cells["folder"].replace("\\", "/")).as_posix().removeprefix("./")
        if folder.startswith("/") or ".." in folder.split("/"):
            raise MerBenchError(f"{row.source}: folder {folder!r} is not below {root}; put the sheet above the frames")
        found.append(coding.clip(name, row.cells["subject"], row.cells["clip"], row, fps=None))
        fields.append({"folder": folder})
    return folders.placed(root, found, ("{folder}",), fields, "{{frame}}.jpg")


def plugin(name: str, sheet: Path) -> str:
    """The text of a plug-in for a sheet, with everything pinned that was read.

    Raises:
        UsageError: the name cannot be a corpus's.
        MerBenchError: the sheet cannot be read, has fewer than two labels, or something is wrong with its rows.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot name a corpus; use small letters, digits and _")
    table = read_annotations(name, sheet.name, sheet.parent)
    # a blank apex is filled in later, by rule
    if found := clips.problems(table.with_columns(pl.coalesce("apex", "onset").alias("apex"))):
        raise MerBenchError(found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))
    labels = sorted(set(table["emotion"]))
    if len(labels) < 2 or table["subject"].n_unique() < 2:
        raise MerBenchError(f"{sheet}: {len(labels)} labels and {table['subject'].n_unique()} subjects; two are needed")
    facts = {
        "sheet": sheet.name,
        "classes": tuple(labels),
        "clips": len(table),
        "subjects": table["subject"].n_unique(),
        "counts": tuple(int((table["emotion"] == label).sum()) for label in labels),
        "sha256": clips.sha256(table),
    }
    lines = "".join(f"    {key}={value!r},\n" for key, value in facts.items())
    return (
        f'"""{name}: made by `mer-bench data add {name} --sheet`; add it again when the sheet has changed."""\n\n'
        f"from mer_bench import own\n\nDATASET = own.corpus(\n    {name!r},\n{lines})\n"
    )


def mends(file: Path) -> tuple[Mend, ...]:
    """Corrections from a CSV of clip, column, value and reason.

    Raises:
        MerBenchError: it cannot be read, or a line names no clip, no reason, another column, or no frame number.
    """
    found = []
    for number, line in enumerate(clips.read_sheet(file, MENDS).select(MENDS).rows(), 2):
        clip, column, value, reason = ((cell or "").strip() for cell in line)
        where = f"{file} row {number}"
        if not clip or not reason:
            raise MerBenchError(f"{where}: {'reason' if clip else 'clip'} is blank; fill it in")
        if column not in MENDABLE:
            raise MerBenchError(f"{where}: {clip} has no column {column!r} to mend; one of {', '.join(MENDABLE)}")
        if column == "emotion":
            found.append(Mend(clip, column, value.casefold(), reason))
        elif value.isascii() and value.isdecimal() and len(value) < 10:
            found.append(Mend(clip, column, int(value), reason))
        else:
            raise MerBenchError(f"{where}: {clip}'s {column} {value!r} is no frame number; correct it")
    return tuple(found)
