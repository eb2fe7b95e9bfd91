"""CASME: 60 frames a second, two apexes for each clip (Yan et al., FG 2013).

    casme.xlsx                      OnsetF, ApexF1, ApexF2, OffsetF; the first apex is read
    sub01/EP01_5/...                frames, numbered as found; sections A and B may lie in folders of their own

Rule for names: `casme/<subject, two digits>/<Filename>`. What the sheet is called in the release, how its frames are
named and how many clips each class has is not verified, so nothing is pinned. MEB uses 189 clips and corrects the
frames of five rows by number, which nobody lists clip by clip: they are not mended here; `data check casme` names what
does not hold.

Task `casme-4`: tense, disgust, repression, surprise, the four classes with more than a few clips.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mer_bench import folders
from mer_bench.contracts import Dataset, Task

FOUR = ("tense", "disgust", "repression", "surprise")
SHEETS = ("casme.xls*", "casme1*.xls*", "casme[-_ ]*.xls*")
LAYOUTS = ("sub{subject}/{clip}", "s{subject}/{clip}")


def read_annotations(root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet."""
    return folders.table(root, "casme", SHEETS, LAYOUTS, "{{frame}}.jpg", prefix="sub", width=2, fps=60.0)


DATASET = Dataset(
    title="CASME",
    read_annotations=read_annotations,
    licence="signed agreement, research only, no passing on; ask at http://casme.psych.ac.cn/casme/e1",
    url="http://casme.psych.ac.cn/casme/e1",
    tasks={"casme-4": Task(("casme",), FOUR, {c: c for c in FOUR}, clips=0, subjects=0)},
)
