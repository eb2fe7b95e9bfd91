"""Does `predict` find the apex? Drawn clips of people that no model has seen, as videos, and what is spotted in them.

    python tests/benchmarks/spotting.py [--clips 50] [--seed 2027] [--model ridge_flow] [--keep FOLDER]

`fit` trains the model on `synth-3`; the clips are drawn with the same settings from another seed, so that faces,
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

from mer_bench import catalog, fitting, predicting
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


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--model", default="ridge_flow")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "weights.safetensors"
        fitting.fit(asked.model, "synth-3", weights)
        errors, right = [], []
        for file, onset, apex, offset, said in videos(folder, asked.clips, asked.seed):
            found = predicting.predict(file, weights, out=file.with_suffix(".html"))
            keys, length = found.seen.keys, offset - onset + 1
            errors.append([(keys[k] - true) / length for k, true in zip(KEYS, (onset, apex, offset), strict=True)])
            right.append(found.seen.answer == said)
            print(f"{file.name}: true {onset} {apex} {offset}, spotted {[keys[k] for k in KEYS]}", flush=True)
    away = np.abs(np.array(errors))
    found = int((away[:, 1] <= NEAR).sum())
    print(f"apex within {NEAR:.0%} of the clip's length: {found} of {len(away)} ({found / len(away):.0%})")
    medians = ", ".join(f"{key} {value:.1%}" for key, value in zip(KEYS, np.median(away, 0), strict=True))
    print(f"median error in clip lengths: {medians}")
    print(f"{asked.model}, trained on synth-3: {sum(right)} of {len(right)} classes right")


KEYS = ("onset", "apex", "offset")

if __name__ == "__main__":
    main()
