"""TABLE 2: what a model said. Written once, whole or not at all; the test rows stay sealed.

A *pass* (one training per fold) is a folder:

    validation.parquet   one row per (seed, fold, epoch, clip) of the fold's validation subjects
    test.parquet         the same for the held-out subject
    folds.parquet        per (seed, fold, epoch): validation confusion counts, log-loss summed and clips per subject
    folds_test.parquet   per (seed, fold, epoch): test confusion counts
    pass.json            the resolved question and what it cost; its presence says that the pass is complete

Columns of the first two: `seed int32, fold str, epoch int16, clip str, subject str, label int8, p0..pK-1 float16`,
sorted. `open_test` and `open_folds_test` break the seal; only `selection` and `hindsight` may call them (a test asserts
that).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mer_bench.contracts import MerBenchError

KEYS = ("seed", "fold", "epoch", "clip")
SCHEMA: dict[str, Any] = {
    "seed": pl.Int32,
    "fold": pl.String,
    "epoch": pl.Int16,
    "clip": pl.String,
    "subject": pl.String,
    "label": pl.Int8,
}
VALIDATION, TEST, FOLDS, FOLDS_TEST, DONE = (
    "validation.parquet",
    "test.parquet",
    "folds.parquet",
    "folds_test.parquet",
    "pass.json",
)
TABLES = (VALIDATION, TEST, FOLDS, FOLDS_TEST)
WEIGHTS = "weights"


def table(
    seed: int, fold: str, clips: list[str], subjects: list[str], labels: np.ndarray, probabilities: np.ndarray
) -> pl.DataFrame:
    """One fold's rows from `probabilities` (epochs, clips, classes)."""
    epochs, count, classes = probabilities.shape
    columns: dict[str, Any] = {
        "seed": np.full(epochs * count, seed, np.int32),
        "fold": [fold] * (epochs * count),
        "epoch": np.repeat(np.arange(epochs, dtype=np.int16), count),
        "clip": clips * epochs,
        "subject": subjects * epochs,
        "label": np.tile(labels.astype(np.int8), epochs),
    }
    of_classes = {f"p{k}": pl.Float16 for k in range(classes)}
    flat = probabilities.reshape(-1, classes).astype(np.float16)
    columns |= {name: flat[:, k] for k, name in enumerate(of_classes)}
    return pl.DataFrame(columns, schema={**SCHEMA, **of_classes})


def probabilities(rows: pl.DataFrame) -> np.ndarray:
    """(rows, classes) float32."""
    names = [c for c in rows.columns if c[0] == "p" and c[1:].isdigit()]
    return rows.select(pl.col(names).cast(pl.Float32)).to_numpy()


def check(rows: pl.DataFrame) -> pl.DataFrame:
    """The table, sorted.

    Raises:
        MerBenchError: a column is missing, a key appears twice, or a probability is not finite.
    """
    missing = [c for c in (*SCHEMA, "p0", "p1") if c not in rows.columns]
    if missing:
        raise MerBenchError(f"predictions lack the columns {', '.join(missing)}")
    if rows.select(pl.struct(KEYS).is_duplicated().any()).item():
        double = rows.filter(pl.struct(KEYS).is_duplicated())["clip"][0]
        raise MerBenchError(f"predictions hold {double} twice for one seed, fold and epoch")
    if not np.isfinite(probabilities(rows)).all():
        raise MerBenchError("predictions hold probabilities that are not finite")
    return rows.sort(KEYS)


def read(path: str | Path) -> pl.DataFrame:
    """A predictions table, checked."""
    return check(pl.read_parquet(path))


def open_test(folder: Path) -> pl.DataFrame:
    """Break the seal: the test rows of a pass. For `selection` and `hindsight` alone."""
    return read(folder / TEST)


def open_folds_test(folder: Path) -> pl.DataFrame:
    """Break the seal: the test counts of a pass. For `selection` alone."""
    return pl.read_parquet(folder / FOLDS_TEST)


def write_pass(
    folder: Path,
    tables: Mapping[str, pl.DataFrame],
    record: Mapping[str, Any],
    also: Callable[[Path], None] | None = None,
) -> None:
    """Write a pass atomically: a folder of that name holds all of it or does not exist.

    Args:
        folder: must not exist yet.
        tables: file name -> table.
        record: becomes `pass.json`.
        also: writes more into the folder (weights).

    Raises:
        MerBenchError: the folder exists.
    """
    if folder.exists():
        raise MerBenchError(f"{folder} exists already; remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as temporary:
        staged = Path(temporary) / "pass"
        staged.mkdir()
        for name, rows in tables.items():
            rows.write_parquet(staged / name)
        if also:
            also(staged)
        (staged / DONE).write_text(json.dumps(record, indent=1, sort_keys=True))
        for file in staged.rglob("*"):
            _flush(file)
        _flush(staged)
        staged.rename(folder)
    _flush(folder.parent)


def join(parts: Sequence[Path], folder: Path, record: Mapping[str, Any]) -> None:
    """Write passes of different folds as one, sealed as they were, with their weights if they kept any.

    Args:
        parts: complete passes, one at least with rows; a pass whose folds all diverged has none.
        folder: must not exist yet.
        record: becomes `pass.json`.
    """
    tables = {}
    for name in TABLES:
        rows = pl.concat([pl.read_parquet(part / name) for part in parts if (part / name).is_file()])
        tables[name] = rows.sort([key for key in KEYS if key in rows.columns])

    def also(staged: Path) -> None:
        for kept in [part / WEIGHTS for part in parts if (part / WEIGHTS).is_dir()]:
            shutil.copytree(kept, staged / WEIGHTS, dirs_exist_ok=True)

    write_pass(folder, tables, record, also)


def record(folder: Path) -> dict[str, Any]:
    """What `pass.json` says.

    Raises:
        MerBenchError: the folder holds no complete pass.
    """
    try:
        found: dict[str, Any] = json.loads((folder / DONE).read_text())
    except FileNotFoundError:
        raise MerBenchError(f"{folder} holds no complete pass; run it again") from None
    return found


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
