"""CASME II: 255 clips of 26 subjects at 200 frames a second (Yan et al., PLoS ONE 2014).

    CASME2-coding-20140508.xlsx                  the sheet read as `casme2`
    CASME2-coding-20190701.xlsx                  a later one, `casme2:2019`, which MMNet used
    Cropped/sub05/EP12_03f/reg_img36.jpg         280x340 faces, read where they are unpacked
    CASME2-RAW/sub05/EP12_03f/img36.jpg          else these

Rule for names: `casme2/<subject, two digits>/<Filename>`. `EP11_01` and `EP11_01f` are different clips; names repeat
across subjects. Under the name "CASME II" clip sets of 145 to 255 clips were published; the tasks below name theirs:

    casme2-5          246   disgust, happiness, repression, surprise, others (2014 sheet)
    casme2-5-mmnet    249   the same five on the 2019 sheet; its count for each class is not known to us and not pinned
    casme2-3          145   MEGC 2019: negative = disgust + repression, without two clips that the challenge left out
    casme2-3-strict   147   the same with the two clips
    casme2-3-mmnet    156   negative = disgust + repression + sadness + fear (2019 sheet)

Counts: the sheet in davidnvq/me_recognition, MMNet's scripts and the MEGC 2019 guideline. Objective classes 1 to 7 have
25, 15, 99, 26, 20, 1 and 69 clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from mer_bench import folders
from mer_bench.contracts import Dataset, Mend, Task

CLASSES_3 = ("negative", "positive", "surprise")
CLASSES_5 = ("disgust", "happiness", "repression", "surprise", "others")
NEGATIVE = {"disgust": "negative", "repression": "negative"}
OTHER_TWO = {"happiness": "positive", "surprise": "surprise"}
LEFT_OUT = {
    "casme2/04/EP12_01f": "left out by MEGC 2019; its apex is blank in the 2014 sheet",
    "casme2/05/EP09_05f": "left out by MEGC 2019",
}
LAYOUTS = ("Cropped/sub{subject}/{clip}", "CASME2-RAW/sub{subject}/{clip}", "sub{subject}/{clip}")


def read_annotations(sheet: str, root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet whose name is like `sheet`."""
    return folders.table(
        root, "casme2", [sheet], LAYOUTS, "reg_img{{frame}}.jpg", prefix="sub", width=2, fps=200.0
    )  # fmt: skip


def _three(negative: Mapping[str, str], clips: int, counts: tuple[int, ...], **more: object) -> Task:
    return Task(("casme2",), CLASSES_3, {**negative, **OTHER_TWO}, clips, counts=counts, **more)  # type: ignore[arg-type]


SHEET_2014 = Dataset(
    title="CASME II",
    read_annotations=partial(read_annotations, "CASME2-coding-20140508.xls*"),
    licence="signed agreement, research only, no passing on; ask at http://casme.psych.ac.cn/casme/e2",
    url="http://casme.psych.ac.cn/casme/e2",
    mends=(
        Mend(
            "casme2/04/EP12_01f",
            "apex",
            279,
            "the sheet has '/'; 279 by optical flow, as in tvaranka/meb (meb/datasets/datasets.py)",
        ),
    ),
    emotions={
        "others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2,
    },
    clips=255,
    subjects=26,
    tasks={
        "casme2-5": Task(
            ("casme2",), CLASSES_5, {c: c for c in CLASSES_5}, 246, subjects=26, counts=(63, 32, 27, 25, 99)
        ),
        "casme2-5-mmnet": Task(("casme2:2019",), CLASSES_5, {c: c for c in CLASSES_5}, 249, subjects=0),
        "casme2-3": _three(
            NEGATIVE,
            145,
            (88, 32, 25),
            subjects=24,
            drop=LEFT_OUT,
            sha256="d7bccb4baf439b5f1873f82e4aa8b69ca698d8046441db66155ab446a12931d2",
        ),
        "casme2-3-strict": _three(NEGATIVE, 147, (90, 32, 25), subjects=24),
        "casme2-3-mmnet": Task(
            ("casme2:2019",),
            CLASSES_3,
            {**NEGATIVE, **OTHER_TWO, "sadness": "negative", "fear": "negative"},
            156,
            subjects=0,
        ),
    },
)  # fmt: skip

DATASET = replace(
    SHEET_2014,
    editions={
        "2019": replace(
            SHEET_2014,
            title="CASME II, sheet of 2019",
            read_annotations=partial(read_annotations, "CASME2-coding-20190701.xls*"),
            mends=(),
            emotions=dict.fromkeys(SHEET_2014.emotions, 0),
            clips=0,
            subjects=0,
            tasks={},
        )
    },
)
