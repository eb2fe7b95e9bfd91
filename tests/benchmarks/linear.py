"""Leave-one-subject-out of the methods without gradients: 68 folds from one Gram matrix against 68 fits on features.

    python tests/benchmarks/linear.py [--only ridge_flow|svm]

MEGC-shaped: 442 drawn clips of 68 subjects, three classes, flow at 28 pixels. Plain: scikit-learn's classifier fitted
on each fold's features, which are ready in memory as float64. Ours: describing every clip, the Gram matrix and all
folds' fits and answers; and the same through the harness, which also splits, rounds and writes every fold's tables in
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import calibration
import measuring
import numpy as np
import polars as pl
from sklearn.base import clone

from mer_bench import catalog, classical, splits
from mer_bench.contracts import resolve
from mer_bench.pixels import frames, inputs
from mer_bench.training import fold

WANTED = 4.0
METHODS = ("ridge_flow", "flow_svm", "lbp_top", "bi_woof")
CORPORA = (("casme2", 24, 145), ("samm", 28, 133), ("smic", 16, 164))
CLASSES = 3


def clips() -> pl.DataFrame:
    """442 clips of 68 subjects, in sizes like the corpora's."""
    subjects, rng = [], np.random.default_rng(0)
    for name, count, total in CORPORA:
        sizes = calibration.sizes(name, (np.arange(count) + 0.5) / count)
        sizes = np.maximum(1, np.rint(sizes * total / sizes.sum()).astype(int))
        sizes[sizes.argmax()] += total - sizes.sum()
        subjects += [f"{name}/{i:02d}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = rng.choice(CLASSES, len(subjects), p=(0.57, 0.25, 0.18))
    table = {"clip": [f"{s}/{i:03d}" for i, s in enumerate(subjects)], "subject": subjects}
    table["corpus"] = [s.split("/")[0] for s in subjects]
    return pl.DataFrame({**table, "label": pl.Series(labels, dtype=pl.Int8)}).sort("clip")


def drawn(name: str) -> inputs.Inputs:
    """Random arrays in a method's view, a little brighter by class, so that there is something to fit."""
    table, rng = clips(), np.random.default_rng(1)
    view = frames.parse_view(resolve(name, catalog.baseline(name)).view)
    arrays = {}
    for key, shape in view.shapes.items():
        values = (
            120
            + 30 * rng.standard_normal((len(table), *shape), np.float32)
            + 4 * table["label"].to_numpy().reshape(-1, *[1] * len(shape))
        )
        arrays[key] = values.astype(np.float32) / 100 if key == "uv" else values.clip(0, 255).astype(np.uint8)
    return inputs.Inputs(table, arrays, key=name)


def ways(name: str, data: inputs.Inputs) -> dict[str, Callable[[], Any]]:
    """The three ways to all folds' answers; the plain one's features are described beforehand."""
    setting = resolve(name, catalog.baseline(name))
    build = fold.builder(setting, CLASSES)
    labels, folds = data.clips["label"].to_numpy().astype(int), splits.loso(data.clips)
    features = np.asarray(classical.described(build(), data.arrays)[classical.FEATURES], np.float64)
    described = {classical.FEATURES: features}
    plain_one = build().ways[classical.FEATURES].classifier

    def plain() -> list[np.ndarray]:
        return [clone(plain_one).fit(features[f.train], labels[f.train]).predict(features[f.test]) for f in folds]

    def ours() -> list[np.ndarray]:
        kept, said = classical.prepared(build(), described), []
        for f in folds:
            model = build()
            model.fit(classical.part(kept, f.train, f.train), labels[f.train])
            said.append(model.predict_proba(classical.part(kept, f.test, f.train)).argmax(1))
        return said

    def harness() -> None:
        fold.described.cache_clear()
        arrays = described if name in ("lbp_top", "bi_woof") else data.arrays
        shown = inputs.Inputs(data.clips, arrays, key=json.dumps([name, os.getpid()]))
        training = fold.Training("drawn", setting, 0, "", validation=False)
        for f in folds:
            fold.train_on(replace(training, fold=f.name), shown, CLASSES)

    return {"plain": plain, "ours": ours, "harness": harness}


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", default="", help="ridge_flow, or svm (the others)")
    given = asked.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as home, fold.one_thread():
        os.environ["MER_BENCH_HOME"] = home
        for name in METHODS:
            if given.only not in ("", "ridge_flow" if name == "ridge_flow" else "svm"):
                continue
            both = ways(name, drawn(name))
            same = np.concatenate(both["plain"]()) == np.concatenate(both["ours"]())
            taken = measuring.paired(both, 3, warm=0)
            faster = measuring.ratio(taken, "plain", "ours")
            wanted = measuring.verdict(faster, WANTED) if name == "ridge_flow" else "seconds"
            times = [measuring.median(taken[way]) for way in ("plain", "ours", "harness")]
            rows.append(
                (name, faster, wanted, measuring.ratio(taken, "plain", "harness"), *times, f"{same.sum()}/{len(same)}")
            )
    head = ("method", "plain / ours", "wanted", "plain / harness", "plain, s", "ours, s", "harness, s", "same answers")
    title = "Support vector machines" if given.only == "svm" else "Methods without gradients"
    print(measuring.section(title, __doc__.split("\n\n")[2], head, rows))


if __name__ == "__main__":
    main()
