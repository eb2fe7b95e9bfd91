"""A drawn corpus: its release folder, laid out as real ones are, and how its sheet is read.

    Cropped/sub01/EP01_02/reg_img46.jpg ...   the whole clip, a few frames before the onset and after the offset
    synth-coding.csv                          subject, clip, onset, apex, offset, emotion, action units (FACS, L and R)
    release.json                              every setting

Every draw is seeded by the names of what it decides, so a clip drawn alone is the clip in the corpus, byte for byte,
in whatever order and on however many processors the rest is drawn.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from mer_bench import clips, processes
from mer_bench.contracts import MerBenchError
from mer_bench.datasets._synth import head, motion
from mer_bench.datasets._synth.camera import Sensor, jpeg
from mer_bench.datasets._synth.cohorts import Clip, Cohort, plan, subjects

BANNER = "SYNTHETIC avatar faces: not evidence of MER performance"
LICENCE = "drawn by mer-bench from public-domain (CC0) MakeHuman parts; free for any use"
SHEET, MANIFEST = "synth-coding.csv", "release.json"
HEADER = ("Subject", "Clip", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "ActionUnits")


def subject_head(cohort: Cohort, subject: str) -> head.Head:
    """The subject's face, rendered once for all clips."""
    camera = head.Camera(cohort.width, cohort.height, cohort.iod)
    return head.render(camera, cohort.rng(subject, "face"))


def draw(cohort: Cohort, face: head.Head, clip: Clip) -> Iterator[np.ndarray]:
    """The clip's frames in order, (H, W, 3) uint8 BGR before compression."""
    rng = cohort.rng(clip.subject, clip.name, "motion")
    names, amounts = motion.amounts(clip.expression, clip.times, cohort.fps, rng)
    # The face at rest was drawn for the onset frame; what drifts is counted from there.
    amounts = amounts - amounts[clip.times.before]
    sensor = Sensor(len(amounts), cohort.fps, cohort.rng(clip.subject, clip.name, "sensor"))
    for light in face.frames(face.motions(names), amounts):
        yield sensor.expose(light)


def make(cohort: Cohort, root: Path, tick: Callable[[int, int], None]) -> None:
    """Write the release into an empty folder; subjects are drawn side by side.

    Raises:
        MerBenchError: a worker process died.
    """
    done, total = 0, sum(cohort.clips)
    # The longest first, so that no processor is left with one at the end.
    order = sorted(subjects(cohort), key=lambda subject: -cohort.clips[int(subject) - 1])
    draw_one = partial(write_subject, cohort, root)
    for clips_drawn in processes.spread(draw_one, order, processes.cores(), f"drawing {cohort.name}"):
        done += clips_drawn
        tick(done, total)
    _write_sheet(cohort, root)
    (root / MANIFEST).write_text(json.dumps({"banner": BANNER, **json.loads(cohort.signature)}, indent=1) + "\n")


def write_subject(cohort: Cohort, root: Path, subject: str) -> int:
    """Draw a subject's clips to disk; returns how many."""
    cv2.setNumThreads(1)
    face, planned = subject_head(cohort, subject), plan(cohort, subject)
    for clip in planned:
        (root / clip.folder()).mkdir(parents=True)
        for number, image in enumerate(draw(cohort, face, clip), start=clip.first):
            (root / clip.folder() / f"reg_img{number}.jpg").write_bytes(jpeg(image))
    return len(planned)


def _write_sheet(cohort: Cohort, root: Path) -> None:
    with (root / SHEET).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for clip in (clip for subject in subjects(cohort) for clip in plan(cohort, subject)):
            keys = (clip.subject, clip.name, clip.onset, clip.apex, clip.offset)
            writer.writerow((*keys, clip.emotion, clip.expression.facs()))


def read_annotations(cohort: Cohort, root: Path) -> pl.DataFrame:
    """TABLE 1 of a release.

    Raises:
        MerBenchError: the sheet is missing.
    """
    file = root / SHEET
    if not file.is_file():
        raise MerBenchError(f"{cohort.name}: {file} is missing; delete {root} and it is drawn again")
    sheet = clips.read_sheet(file, HEADER)
    return clips.table(_row(cohort, *row) for row in sheet.select(HEADER).iter_rows())


def _row(
    cohort: Cohort, subject: str, clip: str, onset: str, apex: str, offset: str, emotion: str, action_units: str
) -> dict[str, object]:
    units, sides = clips.parse_action_units(action_units)
    return {
        "clip": f"{cohort.name}/{subject}/{clip}",
        "corpus": cohort.name,
        "subject": f"{cohort.name}/{subject}",
        "onset": int(onset),
        "apex": int(apex),
        "offset": int(offset),
        "apex_source": "annotated",
        "fps": cohort.fps,
        "emotion": emotion,
        "action_units": units,
        "sides": sides,
        "frame_path": f"Cropped/sub{subject}/{clip}/reg_img{{frame}}.jpg",
    }
