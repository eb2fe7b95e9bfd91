"""Invented footage; not a test itself: a drawn face that moves, as frames, a video or a folder of pictures."""

import functools

import cv2
import numpy as np

from mer_bench.datasets._synth import cohorts, corpus

COHORT = cohorts.Cohort(name="footage", seed=12, clips=(1,), median_peak=0.03, sigma=0.1, fps=100.0)


@functools.cache
def drawn():
    """A clip's frames, BGR, and its true onset, apex and offset counted from 0."""
    (clip,) = cohorts.plan(COHORT, "01")
    images = list(corpus.draw(COHORT, corpus.subject_head(COHORT, "01"), clip))
    return images, tuple(number - clip.first for number in (clip.onset, clip.apex, clip.offset))


def write(file, images, fps=COHORT.fps):
    """Frames as a video file."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), fps, images[0].shape[1::-1])
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()
    return file


def pictures(folder, images, first=36):
    """Frames as numbered pictures, as a release has them."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images, first):
        cv2.imwrite(str(folder / f"reg_img{number}.png"), image)
    return folder


def wall(count, size=(220, 176)):
    """Frames without a face."""
    rng = np.random.default_rng(3)
    return [cv2.resize(rng.integers(0, 255, (11, 9, 3), np.uint8), size[::-1]) for _ in range(count)]
