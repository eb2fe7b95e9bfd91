"""SAMM: 159 clips of 29 subjects at 200 frames a second, grey (Davison et al., IEEE TAC 2018).

    SAMM_Micro_FACS_Codes_v2.xlsx     a title and notes above, the header on about row 13
    006/006_1_2/006_05588.jpg         four digits in some clips, five in others

Rule for names: `samm/<subject, three digits>/<Filename>`. The resolution (2040x1088) is from memory and nothing rests
on it. Classes after MEGC 2019 for three, after the field's habit for five.

The mends repeat what tvaranka/meb corrects by row number; each row was found again by its frame numbers, which
davidnvq/me_recognition lists clip by clip. Objective classes 1 to 7 have 24, 13, 20, 8, 3, 7 and 84 clips.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mer_bench import folders
from mer_bench.contracts import Dataset, Mend, Task

MEB = "corrected so in tvaranka/meb (meb/datasets/datasets.py)"
SHEETS = ("SAMM_Micro_FACS_Codes*.xls*", "SAMM_*Micro_FACS_Codes*.xls*")
LAYOUTS = ("SAMM_CROP/{subject}/{clip}", "{subject}/{clip}")
CLASSES_5 = ("anger", "contempt", "happiness", "other", "surprise")


def read_annotations(root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet; `others` is read as `other`."""
    return folders.table(
        root, "samm", SHEETS, LAYOUTS, "{subject}_{{frame:05d}}.jpg",
        prefix="", width=3, fps=200.0, synonyms={"others": "other"}, named="{subject}_",
    )  # fmt: skip


DATASET = Dataset(
    title="SAMM",
    read_annotations=read_annotations,
    licence="signed agreement, research only, no passing on; ask Manchester Metropolitan University (M. H. Yap)",
    url="http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php",
    mends=(
        Mend("samm/013/013_1_9", "offset", 5739, f"the released offset is a slip; {MEB}"),
        Mend("samm/028/028_4_1", "apex", 1105, f"the released apex lies outside onset and offset; {MEB}"),
        Mend("samm/032/032_3_1", "apex", 4945, f"the released apex lies outside onset and offset; {MEB}"),
        Mend("samm/032/032_3_2", "apex", 5130, f"the released apex is blank or at the onset; {MEB}"),
    ),
    emotions={
        "anger": 57, "other": 26, "happiness": 26, "surprise": 15,
        "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6,
    },
    clips=159,
    subjects=29,
    tasks={
        "samm-5": Task(
            ("samm",), CLASSES_5, {c: c for c in CLASSES_5}, clips=136, subjects=27, counts=(57, 12, 26, 26, 15)
        ),
        "samm-3": Task(
            ("samm",),
            ("negative", "positive", "surprise"),
            {
                **dict.fromkeys(("anger", "contempt", "disgust", "fear", "sadness"), "negative"),
                "happiness": "positive",
                "surprise": "surprise",
            },
            clips=133,
            subjects=28,
            counts=(92, 26, 15),
            sha256="9f88b46ab11e93b1f8d3dfaa280ac8f576482322af5035b81e207ff06848f98f",
        ),
    },
)  # fmt: skip
