"""CAS(ME)^3, part A: 860 micro-expressions of 94 subjects, RGB-D, 30 frames a second (Li et al., TPAMI 2023).

    cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx      read as `casme3`
    cas(me)3_part_A_ME_label_JpgIndex_v1.xls       943 rows, `casme3:v1`; v2 corrects 21 mislabelled clips of it
    ME_A/spNO.149/d/color/112.jpg                  whole recordings
    Part_A_ME_clip/frame/spNO.149_d_112/112.jpg    or clips cut out

Rule for names: `casme3/<subject's number>/<Filename>_<Onset>`, all as released: subject and file name alone name 191
clips twice. `others` and `Others` are one emotion. Only colour frames are read.

    casme3-7   860   as annotated
    casme3-4   860   negative = anger, disgust, fear, sad; positive = happy; surprise; others
    casme3-3   699   the same without others

The mends repeat what tvaranka/meb corrects by row number; each row was found again by what is wrong with it (order,
offset 0, frame 0), which several public repositories list clip by clip. Frames of spNO.3 J from 498 on and of spNO.4 j
from 568 on cannot be opened in the release.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from mer_bench import coding, folders, sheets
from mer_bench.contracts import Dataset, Mend, Task

LAYOUTS = (
    "{folder}/{letter}/color",
    "part_A/data/part_A_split/part_A/{folder}/{letter}/color",
    "Part_A_ME_clip/frame/{folder}_{letter}_{onset}",
    "frame/{folder}_{letter}_{onset}",
)
NEGATIVE = dict.fromkeys(("anger", "disgust", "fear", "sad"), "negative")
THREE = {**NEGATIVE, "happy": "positive", "surprise": "surprise"}
SEVEN = ("anger", "disgust", "fear", "happy", "others", "sad", "surprise")
MEB = "corrected so in tvaranka/meb (meb/datasets/datasets.py)"


def read_annotations(sheet: str, root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet whose name is like `sheet`."""
    found, fields = [], []
    for row in sheets.rows(sheets.find(root, "casme3", sheet)):
        subject, letter = coding.subject(row, "spNO.", 1), row.cells["clip"]
        onset = row.cells["onset"].split(".")[0] or f"row{row.number}"
        found.append(coding.clip("casme3", subject, f"{letter}_{onset}", row, fps=30.0))
        fields.append({"folder": f"spNO.{subject}", "letter": letter, "onset": onset})
    return folders.placed(root, found, LAYOUTS, fields, "{{frame}}.jpg")


PART_A = Dataset(
    title="CAS(ME)^3 part A",
    read_annotations=partial(read_annotations, "cas(me)3_part_A_ME_label_JpgIndex_v2.xls*"),
    licence="signed agreement, research only, no passing on; ask at http://casme.psych.ac.cn/casme/e4",
    url="https://github.com/jingtingEmmaLi/CAS-ME-3",
    mends=(
        Mend("casme3/149/d_112", "apex", 160, f"the released apex 83 lies before the onset; {MEB}"),
        Mend("casme3/214/c_5", "offset", 34, f"the released offset is a slip; {MEB}"),
        Mend("casme3/216/d_3647", "onset", 2647, f"the released onset 3647 lies after the apex 2668; {MEB}"),
        Mend("casme3/216/e_0", "onset", 1, f"there is no frame 0; {MEB}"),
        Mend("casme3/216/e_0", "apex", 1, f"there is no frame 0; {MEB}"),
        Mend("casme3/40/e_1812", "offset", 1845, f"the released offset is 0 or before the apex; {MEB}"),
        Mend("casme3/40/e_2327", "offset", 2403, f"the released offset is 0 or before the apex; {MEB}"),
    ),
    emotions={"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57, "happy": 55},
    clips=860,
    subjects=94,
    tasks={
        "casme3-7": Task(
            ("casme3",), SEVEN, {c: c for c in SEVEN}, clips=860, subjects=94, counts=(64, 250, 86, 55, 161, 57, 187)
        ),
        "casme3-4": Task(
            ("casme3",),
            ("negative", "positive", "surprise", "others"),
            {**THREE, "others": "others"},
            clips=860,
            subjects=94,
            counts=(457, 55, 187, 161),
        ),
        "casme3-3": Task(
            ("casme3",), ("negative", "positive", "surprise"), THREE, clips=699, subjects=0, counts=(457, 55, 187)
        ),
    },
)

DATASET = replace(
    PART_A,
    editions={
        "v1": replace(
            PART_A,
            title="CAS(ME)^3 part A, first sheet",
            read_annotations=partial(read_annotations, "cas(me)3_part_A_ME_label_JpgIndex_v1.xls*"),
            mends=(),
            emotions=dict.fromkeys(PART_A.emotions, 0),
            clips=943,
            subjects=0,
            tasks={},
        )
    },
)
