"""SMIC's three cameras: clips are folders, and there is no sheet.

    HS/s6/micro/surprise/s6_sur_02/image1019.bmp        raw; cropped releases name files reg_image...
       subject     class     clip

A clip runs from its first frame on disk (onset) to its last (offset); the release has no apex. Subject and clip are
spelt `s6` and `s06` in different releases; both are read as `06` and `s06_sur_02`.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import polars as pl

from mer_bench import clips, folders
from mer_bench.contracts import Dataset, MerBenchError, Task

CLASSES = {"negative": "ne", "positive": "po", "surprise": "sur"}
LICENCE = "signed agreement, research only, no passing on; ask the University of Oulu (CMVS)"


def corpus(
    name: str, camera: str, title: str, fps: float, clips: int, subjects: int, counts: tuple[int, ...], sha256: str = ""
) -> Dataset:
    """The corpus of one camera, with its 3-class task."""
    task = Task(
        corpora=(name,),
        classes=tuple(CLASSES),
        class_map={emotion: emotion for emotion in CLASSES},
        clips=clips,
        subjects=subjects,
        counts=counts,
        sha256=sha256,
    )
    return Dataset(
        title=title,
        read_annotations=partial(read_annotations, name, camera, fps),
        licence=LICENCE,
        url="https://www.oulu.fi/en/university/faculties-and-units/faculty-information-technology-and-electrical-engineering",
        emotions=dict(zip(CLASSES, counts, strict=True)),
        clips=clips,
        subjects=subjects,
        tasks={f"{name.replace('_', '-')}-3": task},
        # three cameras before the same faces at the same time
        people=("smic",),
    )


def read_annotations(name: str, camera: str, fps: float, root: Path) -> pl.DataFrame:
    """TABLE 1 of the folders below the camera's.

    Raises:
        MerBenchError: the camera's folder is missing, or a folder in it has another name than a clip's.
    """
    home = _camera(root, name, camera)
    found = []
    for folder in sorted((root / home).glob("*/*/*/*")):
        subject, kind, emotion, clip = folder.relative_to(root / home).parts
        if kind.casefold() == "micro" and emotion.casefold() in CLASSES and folder.is_dir():
            found.append(_clip(name, fps, root, folder, subject, emotion.casefold(), clip))
    if not found:
        raise MerBenchError(
            f"{name}: {root / home} holds no clips like s1/micro/negative/s1_ne_01; give the folder above {camera}"
        )
    return clips.table(found)


def _camera(root: Path, name: str, camera: str) -> str:
    """The camera's folder below the root, a cropped one first; the root itself if it holds the subjects."""
    homes = folders.find_folders(root, [camera])
    homes = [home for home in homes if next((root / home).glob("*/micro"), None) is not None]
    if not homes and next(root.glob("*/micro"), None) is not None:
        if root.name.casefold() != camera.casefold():
            raise MerBenchError(
                f"{name}: subjects lie in {root}, not in a folder {camera}; give the folder above {camera}"
            )
        return "."
    if not homes:
        raise MerBenchError(f"{name}: no folder {camera}/s1/micro in {root}; give the folder that holds {camera}")
    return min(homes, key=lambda home: ("crop" not in home.casefold(), home.count("/"), home))


def _clip(name: str, fps: float, root: Path, folder: Path, subject: str, emotion: str, clip: str) -> dict[str, object]:
    place = str(folder.relative_to(root))
    match = re.fullmatch(r"s0*(\d+)_(ne|po|sur)_0*(\d+)", clip, re.ASCII | re.IGNORECASE)
    number = re.fullmatch(r"s0*(\d+)", subject, re.ASCII | re.IGNORECASE)
    if match is None or number is None:
        raise MerBenchError(f"{name}: {place} should read like s1/micro/negative/s1_ne_01; rename or remove it")
    remarks = []
    if match[1] != number[1]:
        remarks.append(f"the folder says subject {number[1]}, the clip {match[1]}")
    if match[2].lower() != CLASSES[emotion]:
        remarks.append(f"the folder says {emotion}, the clip's name {match[2]}")
    numbered = folders.numbering(root, place)
    if numbered is None:
        remarks.append("the folder holds no frames")
    elif numbered.remark:
        remarks.append(numbered.remark)
    of = f"{name}/{number[1].zfill(2)}"
    return {
        "clip": f"{of}/s{match[1].zfill(2)}_{match[2].lower()}_{match[3].zfill(2)}",
        "corpus": name,
        "subject": of,
        "onset": numbered.numbers[0] if numbered else None,
        "offset": numbered.numbers[-1] if numbered else None,
        "fps": fps,
        "emotion": emotion,
        "action_units": [],
        "sides": [],
        "frame_path": numbered.template if numbered else f"{folders.escaped(place)}/image{{frame}}.bmp",
        "source": place,
        "remarks": remarks,
    }
