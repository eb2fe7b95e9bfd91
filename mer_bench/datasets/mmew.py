"""MMEW: 300 micro-expressions of 30 subjects at 90 frames a second (Ben et al., TPAMI 2022).

    MMEW_Micro_Exp.xlsx                                        Subject, Filename, frames, action units, emotion, remarks
    Micro_Expression/disgust/S01-04-001/1.jpg                  the release's tree
    Micro_Expression/S01/disgust/S01-04-001/1.jpg              another that its README shows

Rule for names: `mmew/<subject, two digits>/<Filename>`. Counts: MiE-X's public label file for six classes; `others`
(66) is 300 less those. That released crops are 400x400 is from memory and nothing rests on it.

tvaranka/meb corrects apex and offset of 16 rows by number, which nobody lists clip by clip: they are not mended here.
`data check mmew` names every such row, with its clip.

    mmew-4   263   happiness, surprise, disgust, others
    mmew-6   234   happiness, surprise, anger, disgust, fear, sadness
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mer_bench import folders
from mer_bench.contracts import Dataset, Task

SHEETS = ("MMEW_Micro_Exp*.xls*", "MMEW_Micro_Exp*.csv")
LAYOUTS = (
    "Micro_Expression/{emotion}/{clip}",
    "Micro_Expression/S{subject}/{emotion}/{clip}",
    "{emotion}/{clip}",
    "S{subject}/{emotion}/{clip}",
)
FOUR = ("happiness", "surprise", "disgust", "others")
SIX = ("happiness", "surprise", "anger", "disgust", "fear", "sadness")


def read_annotations(root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet."""
    return folders.table(
        root, "mmew", SHEETS, LAYOUTS, "{{frame}}.jpg",
        prefix="S", width=2, fps=90.0, synonyms={"other": "others"}, named="S{subject}-",
    )  # fmt: skip


DATASET = Dataset(
    title="MMEW",
    read_annotations=read_annotations,
    licence="signed agreement, research only, no passing on; ask at https://www.dpailab.com/database.html",
    url="https://github.com/benxianyeteam/MMEW-Dataset",
    emotions={"happiness": 36, "surprise": 89, "anger": 8, "disgust": 72, "fear": 16, "sadness": 13, "others": 66},
    clips=300,
    subjects=30,
    tasks={
        "mmew-4": Task(("mmew",), FOUR, {c: c for c in FOUR}, clips=263, subjects=0, counts=(36, 89, 72, 66)),
        "mmew-6": Task(("mmew",), SIX, {c: c for c in SIX}, clips=234, subjects=0, counts=(36, 89, 8, 72, 16, 13)),
    },
)
