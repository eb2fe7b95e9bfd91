"""A drawn corpus in CASME II's shape, for timing: 280x340 frames at 200 a second, five classes, no meaning at all."""

from __future__ import annotations

import os
from pathlib import Path

SIZES = (9, 13, 7, 5, 19, 5, 9, 3, 14, 14, 10, 12, 8, 4, 3, 4, 36, 3, 16, 11, 2, 2, 12, 7, 7, 17)
"""Clips of CASME II's 26 subjects, roughly: 252."""
FOLDS, CLIPS, EPOCHS = 26, 246, 74
"""The five-class task, and the published recipe's epochs."""

PLUGIN = '''"""Drawn in CASME II's shape, for timing."""

from functools import partial

from mer_bench.contracts import Dataset, Task
from mer_bench.datasets._synth import cohorts, corpus, muscles

COHORT = cohorts.Cohort(name="shaped", seed=5, clips={clips!r}, width=280, height=340, iod=115.0)
EMOTIONS = sorted(emotion for emotions in muscles.EMOTIONS.values() for emotion in emotions)
CLASSES = ("one", "two", "three", "four", "five")

DATASET = Dataset(
    title="Drawn for timing",
    read_annotations=partial(corpus.read_annotations, COHORT),
    licence=corpus.LICENCE,
    tasks={{
        "shaped-5": Task(
            corpora=("shaped",), classes=CLASSES, clips=0, subjects=0, banner=corpus.BANNER,
            class_map={{emotion: CLASSES[k % 5] for k, emotion in enumerate(EMOTIONS)}},
        )
    }},
    make=partial(corpus.make, COHORT),
    signature=COHORT.signature,
)
'''


def install(home: Path, sizes: tuple[int, ...]) -> str:
    """Make the corpus known in a cache folder of its own, with so many clips a subject; its task's name."""
    os.environ["MER_BENCH_HOME"] = str(home)
    (home / "datasets").mkdir(parents=True, exist_ok=True)
    (home / "datasets" / "shaped.py").write_text(PLUGIN.format(clips=tuple(sizes)))
    return "shaped-5"
