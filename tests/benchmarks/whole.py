"""A whole leave-one-subject-out evaluation on a GPU, every fold and epoch of the published recipe.

    python tests/benchmarks/whole.py --device cuda [--folds 26] [--epochs 74]

Random pictures in memory (decoding is `preparation`'s and `reference`'s matter), CASME II's 246 clips of 26 subjects
for MMNet at 224 pixels and 442 clips of 68 for STSTNet; folds one after the other, as `mer-bench run` trains them.
With fewer folds or epochs the seconds of the whole are estimated, and the row says so.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import measuring
import numpy as np
import polars as pl

from mer_bench import catalog
from mer_bench.contracts import resolve
from mer_bench.pixels import frames, inputs
from mer_bench.training import fold, probes

CASES = (("mmnet:paper-5class", 246, 26, 5, 120.0), ("ststnet", 442, 68, 3, None))
"""Question, clips, subjects, classes, seconds wanted."""


def drawn(view: str, clips: int, subjects: int) -> inputs.Inputs:
    """Random clips, dealt to subjects in turn."""
    rng = np.random.default_rng(0)
    names = sorted(f"drawn/{i % subjects:02d}" for i in range(clips))
    table = {"clip": [f"{name}/{i:03d}" for i, name in enumerate(names)], "corpus": "drawn", "subject": names}
    numbers = {"onset": 10, "apex": 40, "offset": 70, "label": pl.Series(np.arange(clips) % 3, dtype=pl.Int8)}
    shapes = frames.parse_view(view).shapes
    arrays = {key: rng.integers(0, 256, (clips, *shape), np.uint8) for key, shape in shapes.items()}
    return inputs.Inputs(pl.DataFrame(table).with_columns(**_columns(numbers)), arrays, key=view)


def _columns(values: dict[str, object]) -> dict[str, object]:
    return {name: value if isinstance(value, pl.Series) else pl.lit(value) for name, value in values.items()}


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--device", default="cuda")
    asked.add_argument("--folds", type=int, help="train so many")
    asked.add_argument("--epochs", type=int, help="train so many")
    asked.add_argument("--only", default="", help="cases whose name holds this")
    given = asked.parse_args()
    rows = []
    for question, clips, subjects, classes, wanted in CASES:
        if given.only not in question:
            continue
        stem, preset = catalog.split(question)
        setting = resolve(stem, catalog.baseline(stem), preset)
        recipe = setting.recipe
        assert recipe is not None
        data = drawn(setting.view, clips, subjects)
        few = replace(setting, recipe=replace(recipe, epochs=given.epochs or recipe.epochs))
        with fold.one_thread():
            ready = fold.data_of(data, few, given.device)
            precision = probes.probe(fold.builder(setting, classes), recipe, ready).precision
        training = fold.Training(
            "drawn", few, 0, "", False, bf16=precision.bf16, channels_last=precision.channels_last, device=given.device
        )
        names = sorted(set(data.clips["subject"]))[: given.folds or subjects]
        began = time.perf_counter()
        for name in names:
            fold.train_on(replace(training, fold=name), data, classes)
        seconds = time.perf_counter() - began
        share = (subjects / len(names)) * (recipe.epochs / (given.epochs or recipe.epochs))
        note = (
            "measured" if share == 1 else f"estimated from {len(names)} folds x {given.epochs or recipe.epochs} epochs"
        )
        met = measuring.verdict(seconds * share, wanted, most=True) if wanted else ""
        rows.append((f"{question}, {subjects} folds x {recipe.epochs} epochs", seconds * share, met, note))
    words = __doc__.split("\n\n")[2]
    print(measuring.section("A whole evaluation", words, ("what", "seconds", "wanted", "how"), rows))


if __name__ == "__main__":
    main()
