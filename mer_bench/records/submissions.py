"""Predictions made elsewhere: read a file, hold it against the task's clips, and say everything that is wrong at once.

    .csv .parquet    clip, and prediction (a class's name or number) or one probability per class (p0..pK-1 or the
                     classes' names); optional label, fold, seed, subject, epoch
    .txt .log        the MEGC challenge's log: a line `corpus subject`, then a line `clip truth prediction` per clip

Either becomes rows (seed, fold, clip, subject, label, prediction): the table that `grading` scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_letters
from typing import Any

import numpy as np
import polars as pl

from mer_bench.contracts import MerBenchError, UsageError

KNOWN = ("clip", "prediction", "label", "fold", "seed", "subject", "epoch")
SHOWN = 10
SCHEMA: dict[str, Any] = {
    "seed": pl.Int32,
    "fold": pl.String,
    "clip": pl.String,
    "subject": pl.String,
    "label": pl.Int8,
    "prediction": pl.Int8,
}


def read(file: Path, clips: pl.DataFrame, classes: Sequence[str], *, partial: bool = False) -> pl.DataFrame:
    """A file's predictions of a task's clips, sorted by seed and clip.

    Args:
        file: see the module.
        clips: the task's clips, with `subject`, `corpus` and `label`.
        classes: class names in label order.
        partial: clips may be missing; those that every seed predicts are kept.

    Raises:
        UsageError: the file is missing or of an unknown kind.
        MerBenchError: it cannot be parsed, or its clips are missing, doubled, unknown or labelled otherwise.
    """
    if not file.is_file():
        raise UsageError(f"no file {file}; give a .csv, a .parquet or a MEGC log (.txt, .log)")
    kind = file.suffix.lower()
    if kind in (".txt", ".log"):
        table = _log(file, clips)
    elif kind in (".csv", ".parquet"):
        table = _table(file, kind, classes)
    else:
        raise UsageError(f"{file.name}: unknown kind {kind!r}; known: .csv, .parquet, .txt, .log")
    rows = _rows(file, table, classes)
    _check(file, rows, clips, classes, partial)
    truth = clips.select("clip", "subject", pl.col("label").cast(pl.Int8))
    rows = rows.drop("label", "subject").join(truth, on="clip")
    if partial:
        seeds = rows["seed"].n_unique()
        rows = rows.filter(pl.len().over("clip") == seeds)
        if rows.is_empty():
            raise MerBenchError(f"{file.name}: no clip is predicted by every seed")
    rows = rows.with_columns(pl.col("fold").fill_null(pl.col("subject")))
    return rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("seed", "clip")


def _table(file: Path, kind: str, classes: Sequence[str]) -> pl.DataFrame:
    """A CSV or Parquet file as text columns; probabilities become `prediction`."""
    try:
        table = pl.read_parquet(file) if kind == ".parquet" else pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MerBenchError(f"{file.name} cannot be read ({reason}); write it again") from None
    columns = _probability_columns(table.columns, classes)
    unknown = [name for name in table.columns if name not in (*KNOWN, *columns)]
    if "clip" not in table.columns or unknown or not (columns or "prediction" in table.columns):
        what = f"unknown columns {', '.join(unknown)}" if unknown else "it lacks clip, or prediction and probabilities"
        raise MerBenchError(
            f"{file.name}: {what}; known: {', '.join(KNOWN)}, and p0 to p{len(classes) - 1} or {', '.join(classes)}"
        )
    if columns:
        table = _decided(file, table, columns, classes)
    return table.with_columns(pl.col(name).cast(pl.String) for name in KNOWN if name in table.columns)


def _probability_columns(columns: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The columns that hold each class's probability, in label order; none if a class lacks its own."""
    for names in ([f"p{k}" for k in range(len(classes))], list(classes), [f"p_{name}" for name in classes]):
        if all(name in columns for name in names):
            return names
    return []


def _decided(file: Path, table: pl.DataFrame, columns: Sequence[str], classes: Sequence[str]) -> pl.DataFrame:
    """With `prediction` by the largest probability, ties to the first class; a given prediction must be as likely."""
    numbers = table.select(pl.col(columns).cast(pl.Float64, strict=False)).to_numpy()
    sums, clips = numbers.sum(1), table["clip"].to_list()
    bad = ~(np.isfinite(numbers).all(1) & (numbers >= 0).all(1) & (np.abs(sums - 1) < 0.02))
    if bad.any():
        raise MerBenchError(f"{file.name}: {_listed(clips, bad)} without probabilities from 0 to 1 that sum to 1")
    said = [str(k) for k in numbers.argmax(1)]
    if "prediction" not in table.columns:
        return table.drop(columns).with_columns(pl.Series("prediction", said, pl.String))
    given = [_class_of(value, classes) for value in table["prediction"].cast(pl.String)]
    pairs = zip(given, numbers, strict=True)
    away = np.array([said is not None and row[said] < row.max() for said, row in pairs])
    if away.any():
        raise MerBenchError(
            f"{file.name}: {_listed(clips, away)} with a prediction that is not the most probable class"
        )
    return table.drop(columns)


def _log(file: Path, clips: pl.DataFrame) -> pl.DataFrame:
    """The MEGC challenge's log as a table of clip, label and prediction."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise MerBenchError(
            f"{file.name} is no text; a MEGC log has lines `corpus subject` and `clip truth prediction`"
        ) from None
    names = {}
    for subject in sorted(clips["subject"].unique()):
        corpus, _, name = subject.partition("/")
        for form in (name.lower().lstrip(ascii_letters), name.lower()):
            names[f"{_plain(corpus)}/{form}"] = subject
    found = list(_log_rows(file, lines, names))
    return pl.DataFrame(found, schema={"clip": pl.String, "label": pl.String, "prediction": pl.String}, orient="row")


def _log_rows(file: Path, lines: Sequence[str], names: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    subject = ""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) == 2:
            corpus, name = _plain(words[0]), words[1].lower()
            tried = (f"{corpus}/{name}", f"{corpus}/{name.lstrip(ascii_letters)}")
            subject = next((names[t] for t in tried if t in names), f"{words[0]}/{words[1]}")
        elif len(words) >= 3 and subject:
            yield f"{subject}/{' '.join(words[:-2])}", words[-2], words[-1]
        elif words:
            expected = "`clip truth prediction`" if subject else "`corpus subject` before the first clip"
            raise MerBenchError(f"{file.name}, line {number}: {line.strip()[:60]!r} should read {expected}")


def _plain(corpus: str) -> str:
    """A corpus's name without case, signs or Roman numerals: CASME-II is casme2."""
    return re.sub("ii$", "2", re.sub(r"[^a-z0-9]", "", corpus.lower()))


def _rows(file: Path, table: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """Typed columns; what is not given is null, the seed 0."""
    length = len(table)
    if not length:
        raise MerBenchError(f"{file.name} holds no prediction")
    given: dict[str, list[Any]] = {
        name: table[name].to_list() if name in table.columns else [None] * length for name in KNOWN
    }
    given["clip"] = [value or "(blank)" for value in given["clip"]]
    rows: dict[str, list[Any]] = {name: given[name] for name in ("clip", "fold", "subject", "epoch")}
    for name in ("prediction", "label"):
        rows[name] = [_class_of(value, classes) for value in given[name]]
        unread = [k is None for k in rows[name]]
        bad = np.array(unread) & np.array([name == "prediction" or value is not None for value in given[name]])
        if bad.any():
            values = sorted({str(v) for v, b in zip(given[name], bad, strict=True) if b})[:3]
            shown = f"{_listed(given['clip'], bad)} with the {name} {', '.join(values)}"
            raise MerBenchError(f"{file.name}: {shown}; classes are 0 to {len(classes) - 1} or {', '.join(classes)}")
    seeds = [re.fullmatch(r"(-?\d{1,9})(\.0*)?", str(value or 0).strip()) for value in given["seed"]]
    if None in seeds:
        raise MerBenchError(f"{file.name}: the column seed holds something that is no whole number")
    rows["seed"] = [int(matched[1]) for matched in seeds if matched]
    kinds = {**SCHEMA, "epoch": pl.String, "prediction": pl.Int64, "label": pl.Int64}
    return pl.DataFrame(rows, schema_overrides={name: kinds[name] for name in rows})


def _class_of(value: str | None, classes: Sequence[str]) -> int | None:
    """A class's number from its name or number; None if it is neither."""
    text = (value or "").strip()
    names = [name.casefold() for name in classes]
    if text.casefold() in names:
        return names.index(text.casefold())
    if not re.fullmatch(r"\d{1,3}(\.0*)?", text):
        return None
    number = int(float(text))
    return number if number < len(classes) else None


def _check(file: Path, rows: pl.DataFrame, clips: pl.DataFrame, classes: Sequence[str], partial: bool) -> None:
    """Raise one error that lists what is unknown, doubled, missing or labelled otherwise."""
    known = set(clips["clip"])
    found = []

    def say(names: Sequence[str], words: str) -> None:
        if names:
            found.append(f"{_listed(sorted(set(names)))} {words}")

    say([c for c in rows["clip"] if c not in known], "not of this task")
    double = rows.filter(pl.struct("seed", "clip").is_duplicated())
    say(double["clip"].to_list(), "predicted more than once by one seed")
    if not partial:
        parts = rows.partition_by("seed")
        say(
            [c for part in parts for c in known - set(part["clip"])],
            "without a prediction (--partial scores the others)",
        )
    told = rows.join(clips.select("clip", "subject", pl.col("label").alias("truth")), on="clip", suffix="_true")
    other = told.filter(pl.col("label").is_not_null() & (pl.col("label") != pl.col("truth")))
    say(other["clip"].to_list(), f"labelled otherwise than in the task (classes in order: {', '.join(classes)})")
    moved = told.filter(pl.col("subject").is_not_null() & (pl.col("subject") != pl.col("subject_true")))
    say(moved["clip"].to_list(), "of another subject than in the task")
    if found:
        raise MerBenchError(f"{file.name}: {'; '.join(found)}")


def _listed(names: Sequence[str], chosen: np.ndarray | None = None) -> str:
    """`12 clips (a, b, ... )`: the first ten and the count."""
    kept = [str(name) for name, keep in zip(names, chosen, strict=True) if keep] if chosen is not None else list(names)
    more = ", ..." if len(kept) > SHOWN else ""
    return f"{len(kept)} clip{'s' if len(kept) != 1 else ''} ({', '.join(kept[:SHOWN])}{more})"
