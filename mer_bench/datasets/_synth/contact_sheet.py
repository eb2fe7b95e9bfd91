"""A picture of the corpus for the README: `python -m mer_bench.datasets._synth.contact_sheet OUT.png`.

One row per clip: onset, apex, their absolute difference times 8, and the optical flow between them (hue is direction,
brightness is length). Of each emotion the clip whose movement is nearest to the cohort's median, each of another
subject: what is hard to see here is hard to see in the corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from mer_bench import catalog
from mer_bench.contracts import MerBenchError
from mer_bench.datasets._synth import cohorts, corpus

EMOTIONS = ("happiness", "surprise", "disgust", "anger", "repression", "contempt")
TILE = (120, 150)
CAPTION = 15
AMPLIFIED = 8
BRIGHT = 1.5
"""Pixels of flow that are drawn at full brightness."""
COARSENESS = 8
"""Grey levels are rounded to multiples of this, which halves the file; sensor noise hides the steps."""


def sheet(cohort: cohorts.Cohort) -> np.ndarray:
    """The contact sheet, (height, width, 3) uint8 BGR."""
    return np.vstack([_row(cohort, clip) for clip in choose(cohort)])


def choose(cohort: cohorts.Cohort) -> list[cohorts.Clip]:
    """One clip of each emotion that moves the muscles of its own emotion, subjects not repeated."""
    planned = [clip for subject in cohorts.subjects(cohort) for clip in cohorts.plan(cohort, subject)]
    planned.sort(key=lambda clip: abs(np.log(clip.expression.peak / cohort.median_peak)))
    chosen: list[cohorts.Clip] = []
    for emotion in EMOTIONS:
        seen = {clip.subject for clip in chosen}
        fitting = (clip for clip in planned if clip.emotion == clip.shown == emotion and clip.subject not in seen)
        chosen += [clip for clip, _ in zip(fitting, range(1), strict=False)]
    return chosen


def _row(cohort: cohorts.Cohort, clip: cohorts.Clip) -> np.ndarray:
    frames = list(corpus.draw(cohort, corpus.subject_head(cohort, clip.subject), clip))
    onset, apex = frames[clip.onset - clip.first], frames[clip.apex - clip.first]
    difference = cv2.convertScaleAbs(cv2.absdiff(onset, apex), alpha=AMPLIFIED)
    tiles = [cv2.resize(image, TILE, interpolation=cv2.INTER_AREA) for image in (onset, apex, difference)]
    tiles.append(cv2.resize(_flow_colours(onset, apex), TILE, interpolation=cv2.INTER_AREA))
    pictures = np.hstack(tiles) // COARSENESS * COARSENESS
    caption = np.zeros((CAPTION, pictures.shape[1], 3), np.uint8)
    name = f"sub{clip.subject}/{clip.name}: {clip.emotion}, AU {clip.expression.facs()}"
    text = f"{name}, {clip.expression.peak * cohort.iod:.1f} px"
    cv2.putText(caption, text, (3, CAPTION - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([pictures, caption])


def _flow_colours(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (onset, apex)]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
    length, angle = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    brightness = np.clip(length / BRIGHT, 0, 1) * 255
    colours = np.stack([angle / 2, np.full_like(angle, 255), brightness], axis=2).astype(np.uint8)
    return cv2.cvtColor(colours, cv2.COLOR_HSV2BGR)


def main(out: Path) -> None:
    """Write the contact sheet of `synth`.

    Raises:
        MerBenchError: the file cannot be written.
    """
    cv2.setNumThreads(1)
    cohort = catalog.load("dataset", catalog.folder("dataset") / "synth.py").COHORT
    if not cv2.imwrite(str(out), sheet(cohort), [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise MerBenchError(f"{out} cannot be written; does its folder exist, and does its name end in .png?")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
