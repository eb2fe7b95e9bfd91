"""`synth`: 130 drawn clips of 16 subjects, so that the first command works before any licence is signed.

Sized to teach: a quarter-width network can learn it in minutes, a linear model on optical flow learns it better, and
folds are as uneven as in real corpora. Movements are larger and labels cleaner than real ones (`synth_large` is
nearer). Nothing measured on it says anything about micro-expressions of people.
"""

from __future__ import annotations

from functools import partial

from mer_bench.contracts import Dataset, Scale, Task
from mer_bench.datasets._synth import cohorts, corpus

COHORT = cohorts.Cohort(
    name="synth",
    seed=1,
    clips=(24, 18, 14, 13, 11, 9, 8, 7, 6, 5, 4, 3, 3, 2, 2, 1),
    median_peak=0.020,
    label_noise=0.08,
)

DATASET = Dataset(
    title="Synthetic avatar faces with known muscles",
    read_annotations=partial(corpus.read_annotations, COHORT),
    licence=corpus.LICENCE,
    tasks={
        "synth-3": Task(
            corpora=("synth",),
            classes=cohorts.CLASSES,
            class_map=cohorts.CLASS_MAP,
            clips=130,
            subjects=16,
            counts=(70, 39, 21),
            sha256="e36b2fc3f20321de5575abfd6cb363172fc769848d713e3461a84f8660505904",
            scale=Scale(image_size=48, width=0.25, epochs=12),
            banner=corpus.BANNER,
        )
    },
    make=partial(corpus.make, COHORT),
    signature=COHORT.signature,
)
