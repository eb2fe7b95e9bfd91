"""`synth_large`: 1,080 drawn clips of 90 subjects, at the settings that come nearest to real recordings.

Large enough to compare training recipes, and half the frame rate of `synth` to spare disk and time. Peak movements
(median .0105 of the distance between the eyes) and the share of clips whose muscles contradict their emotion (15 %)
follow what is known of real corpora.
"""

from __future__ import annotations

from functools import partial

from mer_bench.contracts import Dataset, Scale, Task
from mer_bench.datasets._synth import cohorts, corpus

COHORT = cohorts.Cohort(name="synth_large", seed=3, clips=(12,) * 90, fps=100.0)

DATASET = Dataset(
    title="Synthetic avatar faces with known muscles, large",
    read_annotations=partial(corpus.read_annotations, COHORT),
    licence=corpus.LICENCE,
    tasks={
        "synth-large-3": Task(
            corpora=("synth_large",),
            classes=cohorts.CLASSES,
            class_map=cohorts.CLASS_MAP,
            clips=1080,
            subjects=90,
            counts=(616, 274, 190),
            sha256="2f9117702c17f24b2fb8aa6b932f0d4c4053b1e919b9ade1ba9eebc9314ad467",
            scale=Scale(image_size=48, width=0.25, epochs=12),
            banner=corpus.BANNER,
        )
    },
    make=partial(corpus.make, COHORT),
    signature=COHORT.signature,
)
