"""DFME: 7,526 clips of 656 subjects at 200, 300 or 500 frames a second, seven classes (Zhao et al., IEEE TAC 2024).

    coding.xlsx                       Subject, Filename, OnsetFrame, ApexFrame, OffsetFrame, Emotion
    <Filename>/00001.png

Rule for names: `dfme/<subject, three digits>/<Filename>`. The totals are the paper's. What the sheet and its columns
are called is taken from a public loader, not from the release, and is not verified: `data add` names what it misses.
The challenge of 2024 released 1,856 clips of 176 subjects for training; they are fewer than `dfme-7` pins, so that
`check` reports them as such. The paper itself evaluates with ten subject-independent folds.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mer_bench import folders
from mer_bench.contracts import Dataset, Task

SEVEN = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
SHEETS = ("coding*.xls*", "DFME*.xls*", "DFME*.csv", "*anno*.csv")
LAYOUTS = ("{clip}", "sub{subject}/{clip}", "{subject}/{clip}")
SYNONYMS = {"angry": "anger", "happy": "happiness", "sad": "sadness"}


def read_annotations(root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet; the frame rate is the clip's own where the sheet says it."""
    frames = "{{frame:05d}}.png"
    return folders.table(
        root, "dfme", SHEETS, LAYOUTS, frames, prefix="sub", width=3, fps=None, synonyms=SYNONYMS
    )  # fmt: skip


DATASET = Dataset(
    title="DFME",
    read_annotations=read_annotations,
    licence="signed agreement, research only, no passing on; ask at https://mea-lab-421.github.io",
    url="https://mea-lab-421.github.io",
    emotions=dict.fromkeys(SEVEN, 0),
    clips=7526,
    subjects=656,
    tasks={"dfme-7": Task(("dfme",), SEVEN, {c: c for c in SEVEN}, clips=7526, subjects=656)},
)
