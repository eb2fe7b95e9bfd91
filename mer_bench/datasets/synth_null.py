"""`synth_null`: the size of `synth`, and nothing to learn: muscles move without regard to the emotion in the sheet.

Whatever a method scores here above chance came from its selection, not from faces.
"""

from __future__ import annotations

from functools import partial

from mer_bench.contracts import Dataset, Scale, Task
from mer_bench.datasets._synth import cohorts, corpus

COHORT = cohorts.Cohort(
    name="synth_null",
    seed=2,
    clips=(24, 18, 14, 13, 11, 9, 8, 7, 6, 5, 4, 3, 3, 2, 2, 1),
    median_peak=0.020,
    label_noise=0.08,
    signal=False,
)

DATASET = Dataset(
    title="Synthetic avatar faces without signal",
    read_annotations=partial(corpus.read_annotations, COHORT),
    licence=corpus.LICENCE,
    tasks={
        "synth-null-3": Task(
            corpora=("synth_null",),
            classes=cohorts.CLASSES,
            class_map=cohorts.CLASS_MAP,
            clips=130,
            subjects=16,
            counts=(61, 51, 18),
            sha256="1a153b81b4a544ec89e5b98ab23a44acc9d9cece171f5b2ea816b6cee97c52f3",
            scale=Scale(image_size=48, width=0.25, epochs=12),
            banner=corpus.BANNER,
        )
    },
    make=partial(corpus.make, COHORT),
    signature=COHORT.signature,
)
