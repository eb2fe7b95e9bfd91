"""What a study costs against trials, folds, clips, epochs and processors: measured small, fitted, extrapolated.

    python tests/benchmarks/scale.py

Folds of MMNet at a search's middle size (48 pixels, width .25, batch 32, fp32) are trained on drawn clips, so many
subjects, clips and epochs each. Seconds of a fold are fitted by least squares as

    a + b (epochs x training clips) + c (epochs x scored clips) + d (clips of the corpus)

with everything a search does for a fold counted: splitting, training, scoring, tables, writing, the loss that racing
reads. A study is trials x folds of these, divided by its processes; nothing is shared between folds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import measuring
import numpy as np
import polars as pl

from mer_bench import catalog, selection
from mer_bench.contracts import resolve
from mer_bench.pixels import inputs
from mer_bench.training import fold, loso

GRID = ((60, 12, 1), (60, 12, 4), (120, 24, 1), (120, 24, 3), (240, 24, 1), (240, 24, 2), (400, 100, 1), (900, 150, 1))
"""Clips, subjects, epochs."""
TASKS = (
    ("synth-3", 130, 16, 12), ("casme2-5", 246, 26, 30), ("megc2019-3", 442, 68, 30), ("casme3-4", 860, 94, 30),
    ("dfme-7", 7526, 656, 30),
)  # fmt: skip
"""Task, clips, folds, epochs."""
TRIALS, PROCESSES = 200, (2, 16, 256)
RACED = 0.223
"""Share of fold-epochs that racing left to train where it was measured, by drawn proposals (reports/raced.md)."""


def corpus(clips: int, subjects: int) -> inputs.Inputs:
    """Drawn clips, dealt to subjects in turn."""
    rng = np.random.default_rng(0)
    names = [f"drawn/{i % subjects:04d}" for i in range(clips)]
    table = pl.DataFrame(
        {
            "clip": [f"{name}/{i:05d}" for i, name in enumerate(names)],
            "corpus": "drawn",
            "subject": names,
            "label": pl.Series(np.arange(clips) % 3, dtype=pl.Int8),
        }
    ).sort("clip")
    pictures = {key: rng.integers(0, 256, (clips, 1, 48, 48, 3), np.uint8) for key in ("onset", "apex")}
    return inputs.Inputs(table, pictures, key=f"{clips} {subjects}")


def seconds(clips: int, subjects: int, epochs: int, folder: Path) -> tuple[float, tuple[float, ...]]:
    """Seconds of one fold, and what they are explained by."""
    data = corpus(clips, subjects)
    pinned = {"image_size": 48, "width": 0.25, "batch_size": 32, "jitter": 0.0, "epochs": epochs}
    setting = resolve("mmnet", catalog.baseline("mmnet"), "", None, pinned=pinned)
    training = fold.Training("drawn", setting, 0, "drawn/0000", validation=True)
    taken = []
    for turn in range(3):
        began = time.perf_counter()
        done = fold.train_on(replace(training, fold=f"drawn/{turn:04d}"), data, 3)
        place = folder / f"{clips}-{epochs}-{turn}"
        loso.write(place, [done], {})
        selection.inner(place)
        taken.append(time.perf_counter() - began)
    scored = sum(len(done.tables[name]) for name in ("validation", "test") if name in done.tables) / epochs
    test = clips / subjects
    kept = scored if scored else 0.25 * clips + test
    return measuring.median(taken[1:]), (1.0, epochs * (clips - kept), epochs * kept, float(clips))


def fitted(found: list[tuple[float, tuple[float, ...]]]) -> tuple[np.ndarray, float]:
    """Coefficients, none below 0, and the largest relative miss."""
    from scipy.optimize import nnls

    times, terms = np.array([t for t, _ in found]), np.array([x for _, x in found])
    answer, _ = nnls(terms / times[:, None], np.ones(len(times)))
    return answer, float(np.abs(terms @ answer / times - 1).max())


def main() -> None:
    """Measure, fit, print."""
    with tempfile.TemporaryDirectory() as folder, fold.one_thread():
        found = [seconds(*case, Path(folder)) for case in GRID]
    (a, b, c, d), miss = fitted(found)
    rows = []
    for name, clips, folds, epochs in TASKS:
        scored = 0.25 * clips + clips / folds
        one = a + b * epochs * (clips - scored) + c * epochs * scored + d * clips
        trial = one * folds
        validation = 0.25 * clips * epochs * folds
        hours = [TRIALS * trial / 3600 / count for count in PROCESSES]
        rows.append((name, one, trial / 60, *hours, RACED * hours[-1], f"{validation:,.0f}"))
    head = ("task", "a fold, s", "a trial, minutes", *(f"{TRIALS} trials, {n} processes, hours" for n in PROCESSES))
    head += (f"the same, raced ({RACED:.0%} of folds)", "validation rows a trial")
    words = "\n\n".join(__doc__.split("\n\n")[2:]) + (
        f"\n\nFitted: a {1000 * a:.0f} ms, b {1000 * b:.2f} ms, c {1000 * c:.2f} ms, d {1e6 * d:.0f} us; the worst of "
        f"{len(found)} points is {miss:.0%} off. **Everything below is extrapolated**, refits and the driver left out."
    )
    print(measuring.section("Scale, on paper", words, head, rows))
    print(BENDS)


BENDS = """Where it bends:

- **Folds x clips.** A trial trains every fold on nearly all clips, so its cost grows with their product: 6,396 for
  CASME II, 4.9 million for DFME, 770 times as much. Trials are independent, so processes divide it until there are as
  many as trials under way; beyond that a trial's folds would have to be spread as well. Racing takes a constant share.
- **Rows.** Validation rows a trial grow with folds x clips x epochs too; above a million the per-epoch rows are better
  left out and the counts and losses of `folds.parquet` kept.
- **Bytes.** A view with neighbouring frames takes 14 pictures a clip: 2.1 MB at 224 pixels, 16 GB for DFME. Processes
  of one machine share them (memory-mapped), so a machine needs them once; each further machine needs its own copy.
- **Gram matrices.** N clips take 8 N^2 bytes: 1.6 MB for 442 clips, 453 MB for DFME. Above 4,096 clips the methods
  without gradients go back to features, and each fold costs a full fit.
"""


if __name__ == "__main__":
    main()
