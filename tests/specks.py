"""A corpus of invented flow pictures, eight subjects, that worker processes know too: `$MER_BENCH_HOME/datasets`.

Not a test itself; `crowd.py` installs it. Task `specks-3`: 41 clips of 28 x 28 pixels, nothing to download or to draw.
"""

import json
import os
from pathlib import Path

import numpy as np

from mer_bench import clips
from mer_bench.contracts import Dataset, Scale, Task

CLASSES = ("negative", "positive", "surprise")
SIZES = (7, 3, 6, 5, 6, 4, 7, 3)


def make(folder, tick):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(sum(SIZES)) % 3)
    pictures = rng.normal(120, 30, (len(labels), 28, 28, 3))
    for picture, label in zip(pictures, labels, strict=True):
        top, left = divmod(int(label), 2)
        picture[top * 14 : top * 14 + 14, left * 14 : left * 14 + 14] += 25
    np.save(folder / "pictures.npy", pictures.clip(0, 255).astype(np.uint8))
    subjects = [f"specks/{i:02d}" for i, size in enumerate(SIZES) for _ in range(size)]
    names = [f"{subject}/{i:03d}" for i, subject in enumerate(subjects)]
    sheet = {name: (subject, CLASSES[label]) for name, subject, label in zip(names, subjects, labels, strict=True)}
    (folder / "sheet.json").write_text(json.dumps(sheet))
    if "CROWD_LOG" in os.environ:
        with (Path(os.environ["CROWD_LOG"]) / "made").open("a") as log:
            log.write(os.environ["MER_BENCH_HOME"] + "\n")
    tick(1, 1)


def read_annotations(root):
    sheet = json.loads((root / "sheet.json").read_text())
    keys = ("clip", "corpus", "subject", "emotion", "action_units", "sides")
    rows = ((name, "specks", subject, label, [], []) for name, (subject, label) in sheet.items())
    return clips.table(dict(zip(keys, row, strict=True)) for row in rows)


def read_flow(root, row):
    return np.load(root / "pictures.npy")[int(row["clip"].rsplit("/", 1)[1])]


DATASET = Dataset(
    title="Specks",
    read_annotations=read_annotations,
    licence="invented",
    tasks={
        "specks-3": Task(
            corpora=("specks",),
            classes=CLASSES,
            class_map={name: name for name in CLASSES},
            clips=sum(SIZES),
            subjects=len(SIZES),
            scale=Scale(image_size=28),
            banner="INVENTED specks",
        )
    },
    make=make,
    signature="1",
    read_flow=read_flow,
    url="about:blank",
)
