"""Does `predict` find the apex? Drawn clips of people that no model has seen, as videos, and what is spotted in them.

    python tests/benchmarks/spotting.py [--clips 50] [--seeds 3001 3002] [--model ridge_flow] [--keep FOLDER]

`fit` trains the model on `synth-3`; the clips are drawn with the same settings from other seeds, so that faces,
subjects and movements are others, and written as .mp4 (MPEG-4 part 2, as OpenCV writes it). An apex counts as found if
it lies within a tenth of the clip's length, onset to offset, from the true one. SYNTHETIC avatar faces: what is found
here says how well the method follows its own world, not how well it does on people.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mer_bench import catalog
from mer_bench.answering import fitting, predicting
from mer_bench.datasets._synth import cohorts, corpus

SUBJECTS = 10
NEAR = 0.1


def videos(folder, count, seed):
    """Drawn clips as .mp4, with (file, true onset, apex, offset counted from 0, class) of each."""
    known = catalog.load("dataset", catalog.folder("dataset") / "synth.py").COHORT
    cohort = replace(known, name="unseen", seed=seed, clips=(-(-count // SUBJECTS),) * SUBJECTS)
    found = []
    for subject in cohorts.subjects(cohort):
        face = corpus.subject_head(cohort, subject)
        for clip in cohorts.plan(cohort, subject)[: count - len(found)]:
            file = folder / f"{subject}_{clip.name}.mp4"
            written(file, corpus.draw(cohort, face, clip), cohort.fps)
            keys = (number - clip.first for number in (clip.onset, clip.apex, clip.offset))
            found.append((file, *keys, cohorts.CLASS_MAP[clip.emotion]))
    return found


def written(file, images, fps):
    """Frames as a video file."""
    writer = None
    for image in images:
        if writer is None:
            writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), fps, image.shape[1::-1])
        writer.write(image)
    writer.release()


def asked(weights, folder, count, seed):
    """Errors (clips, 3) of onset, apex and offset in clip lengths, and whether the class is right."""
    errors, right = [], []
    for file, onset, apex, offset, said in videos(folder, count, seed):
        found = predicting.predict(file, weights, out=file.with_suffix(".html"))
        keys, length = found.seen.keys, offset - onset + 1
        errors.append([(keys[k] - true) / length for k, true in zip(KEYS, (onset, apex, offset), strict=True)])
        right.append(found.seen.answer == said)
    return np.array(errors), np.array(right)


def told(name, errors, right):
    """One line."""
    away = np.abs(errors)
    found, count = int((away[:, 1] <= NEAR).sum()), len(away)
    medians = ", ".join(f"{key} {value:.1%}" for key, value in zip(KEYS, np.median(away, 0), strict=True))
    classes = f"classes right {right.sum()} of {count}"
    print(
        f"{name}: apex found in {found} of {count} ({found / count:.1%}); median error {medians}; {classes}", flush=True
    )


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3001])
    parser.add_argument("--model", default="ridge_flow")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "weights.safetensors"
        print(fitting.fit(options.model, "synth-3", weights).words())
        parts = []
        for seed in options.seeds:
            place = folder / str(seed)
            place.mkdir(exist_ok=True)
            parts.append(asked(weights, place, options.clips, seed))
            told(f"seed {seed}", *parts[-1])
        told("all", *(np.concatenate(side) for side in zip(*parts, strict=True)))


KEYS = ("onset", "apex", "offset")

if __name__ == "__main__":
    main()
