"""The MEGC 2019 composite as public optical-flow pictures: 442 real clips, 68 subjects, 28 x 28 pixels.

The repository wangzhifengharrison/HTNet (commit 91cf4bda0a2db50d638d46c04c5d7cf3b602d446) holds, for the 3-class
composite of CASME II, SMIC-HS and SAMM, one picture per clip: onset-to-apex flow, red = u, green = v, blue = strain,
each min-max scaled to 0..255. Its root is the folder with

    combined_3_class2_for_optical_flow.csv           dataset, sub, filename_o, label, apex (empty), imagename, ...
    STSNet_whole_norm_u_v_os/sub01_EP02_01f .png     with a space before the dot

Rule for names: `corpus/subject/filename_o`, where subject is `sub` without its leading letters (`sub05` -> `casme2/05`,
`s06` -> `smic/06`, SAMM's `006` as it is). The picture is `<sub>_<filename_o> .png`; the sheet's `imagename` differs
from it for SMIC (`s06_s6_sur_02.jpg`) and is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import ascii_letters
from typing import Any

import cv2
import numpy as np
import polars as pl

from mer_bench import clips
from mer_bench.contracts import Dataset, MerBenchError, Public, Scale, Task

SHEET = "combined_3_class2_for_optical_flow.csv"
PICTURES = "STSNet_whole_norm_u_v_os"
LETTERS = {"casme2": "sub", "smic": "s", "samm": ""}
CLASSES = ("negative", "positive", "surprise")


def read_annotations(root: Path) -> pl.DataFrame:
    """TABLE 1 of the sheet; frames and their numbers are null, `emotion` is the composite's class.

    Raises:
        MerBenchError: the sheet is missing or holds an unknown corpus or label.
    """
    file = root / SHEET
    sheet = clips.read_sheet(file, ("dataset", "sub", "filename_o", "label"))
    return clips.table(_row(file, **row) for row in sheet.iter_rows(named=True))


def _row(file: Path, dataset: str, sub: str, filename_o: str, label: str, **_: Any) -> dict[str, object]:
    subject = f"{dataset}/{sub.lstrip(ascii_letters)}"
    name = f"{subject}/{filename_o}"
    if dataset not in LETTERS or label not in ("0", "1", "2"):
        raise MerBenchError(f"{name}: unknown corpus, or label {label!r} ({file.name}); fetch the sheet again")
    return {
        "clip": name,
        "corpus": dataset,
        "subject": subject,
        "emotion": CLASSES[int(label)],
        "action_units": [],
        "sides": [],
    }


def released(subject: str) -> str:
    """A subject's name in the sheet's `sub` column."""
    corpus, _, number = subject.partition("/")
    return LETTERS[corpus] + number


def picture(clip: str) -> str:
    """The picture's file name below `PICTURES`, from a clip's name."""
    subject, _, name = clip.rpartition("/")
    return f"{released(subject)}_{name} .png"


def read_flow(root: Path, row: Mapping[str, Any]) -> np.ndarray:
    """(28, 28, 3) uint8 u, v, strain of one clip.

    Raises:
        MerBenchError: the picture is missing or unreadable.
    """
    file = root / PICTURES / picture(row["clip"])
    image = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
    if image is None:
        raise MerBenchError(f"{row['clip']}: {file} is missing or unreadable; fetch the pictures again")
    return np.ascontiguousarray(image[..., ::-1])


DATASET = Dataset(
    title="MEGC 2019 composite, optical flow",
    read_annotations=read_annotations,
    licence=(
        "the pictures carry no licence and derive from CASME II, SMIC and SAMM, each under a signed agreement: do not "
        "pass them on; published at https://github.com/wangzhifengharrison/HTNet"
    ),
    tasks={
        "megc2019-flow-3": Task(
            corpora=("megc2019_flow",),
            classes=CLASSES,
            class_map={name: name for name in CLASSES},
            clips=442,
            subjects=68,
            counts=(250, 109, 83),
            sha256="f16c851f00cae6801355fca23f6d13b77543332c02da378f33e9a2ef18e4679f",
            scale=Scale(image_size=28, width=0.25, epochs=15),
        )
    },
    read_flow=read_flow,
    released=released,
    people=tuple(LETTERS),
    url="https://github.com/wangzhifengharrison/HTNet",
    public=Public(
        url="https://github.com/wangzhifengharrison/HTNet",
        commit="91cf4bda0a2db50d638d46c04c5d7cf3b602d446",
        paths=(SHEET, PICTURES),
        sums=Path(__file__).with_name("_megc2019_flow.sums"),
        state=(
            "these pictures derive from CASME II, SMIC and SAMM, which are given out under signed agreements; the "
            "repository states no licence for them. Do not pass them on, and ask for the corpora themselves before you "
            "publish anything that shows them"
        ),
    ),
)
