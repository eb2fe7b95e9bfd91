"""The leak canary for one method: what must not move in a fold when its held-out subject is scrambled.

A corpus of four invented subjects is drawn (random pixels, each class brighter in a corner of its own) and the method
is trained on it by the harness itself, with its own recipe cut to a few epochs. One subject *s* is held out. Bit by
bit, these stay as they were:

    fold s again, in the same process, after a fold that trains on s    weights and test answers of fold s
    all labels of s changed, in every role                              weights and test answers of fold s
    the pixels of half of s's clips replaced by noise                   weights of fold s, and its answers for the
                                                                        other half of s's clips

The answers for repainted clips may move, and so may the other folds: they train on s. Whether a classical model's
weights moved cannot be asked; its answers are. What this cannot find: a file that reads a corpus from disk by itself or
knows its clips by heart, one that does so only when it is not being checked, weights that were trained or settings that
were tuned on the test subjects beforehand, and choices that people make after looking at test scores.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from mer_bench import predictions
from mer_bench.contracts import MerBenchError
from mer_bench.pixels import frames
from mer_bench.pixels.inputs import Inputs
from mer_bench.training.fold import Finished, Training, train_on
from mer_bench.verifying.contract import CLASSES, Case, Check, pictures

SIZES = (6, 7, 6, 5)
SUBJECT, ANOTHER = "drawn/01", "drawn/02"
EPOCHS, BATCH = 4, 8
SIGNAL = 60


def corpus(view: str, seed: int = 0) -> Inputs:
    """The drawn corpus in a view: 24 clips of four subjects, whose classes can be told apart."""
    subjects = [f"drawn/{i:02d}" for i, size in enumerate(SIZES) for _ in range(size)]
    labels = np.concatenate(
        [np.random.default_rng([seed, i]).permutation(size) % CLASSES for i, size in enumerate(SIZES)]
    )
    arrays, size = pictures(view, len(subjects), seed), frames.parse_view(view).size
    for array in arrays.values():
        # rows and columns, wherever they stand among frames and channels
        rows = -2 if array.shape[-1] == size else -3
        planes, half = np.moveaxis(array, (rows, rows + 1), (1, 2)), size // 2
        for plane, label in zip(planes, labels, strict=True):
            top, left = divmod(int(label), 2)
            corner = plane[top * half : (top + 1) * half, left * half : (left + 1) * half]
            corner[...] = np.minimum(corner.astype(np.int64) + SIGNAL, 255)
    count = len(subjects)
    table = pl.DataFrame(
        {
            "clip": [f"{subject}/{row:03d}" for row, subject in enumerate(subjects)],
            "corpus": ["drawn"] * count,
            "subject": subjects,
            "label": pl.Series(labels, dtype=pl.Int8),
            "onset": [0] * count,
            "apex": [40] * count,
            "offset": [80] * count,
        }
    )
    return Inputs(table, arrays, key="drawn")


def relabelled(data: Inputs, subject: str, shift: int) -> Inputs:
    """The same pictures; all of one subject's labels moved on by `shift` classes, everywhere."""
    moved = (pl.col("label") + shift) % CLASSES
    label = pl.when(pl.col("subject") == subject).then(moved).otherwise(pl.col("label")).cast(pl.Int8)
    return Inputs(data.clips.with_columns(label.alias("label")), data.arrays, key="drawn")


def repainted(data: Inputs, rows: np.ndarray) -> Inputs:
    """The same labels; the pictures of these rows are noise of other brightness."""
    rng, arrays = np.random.default_rng(9), {key: array.copy() for key, array in data.arrays.items()}
    for array in arrays.values():
        array[rows] = rng.integers(150, 256, array[rows].shape)
    return Inputs(data.clips, arrays, key="drawn")


def trained(case: Case, data: Inputs, subject: str) -> Finished:
    """One fold, by the harness, with the method's own recipe cut short.

    Raises:
        MerBenchError: it diverged.
    """
    recipe = case.setting.recipe
    if recipe is not None:
        recipe = replace(recipe, epochs=min(EPOCHS, recipe.epochs), batch_size=min(BATCH, recipe.batch_size))
    finished = train_on(Training("drawn", replace(case.setting, recipe=recipe), 0, subject, False), data, CLASSES)
    if finished.diverged:
        raise MerBenchError(f"diverges on a drawn corpus: {finished.diverged}")
    return finished


@functools.lru_cache(maxsize=1)
def _fresh(case: Case) -> tuple[Inputs, Finished]:
    """The corpus as it is, and its fold for the held-out subject, before any other fold."""
    data = corpus(case.setting.view)
    return data, trained(case, data, SUBJECT)


def keeps_nothing_between_folds(case: Case) -> None:
    """The fold gives the same again after another fold, which trains on its test subject."""
    data, before = _fresh(case)
    trained(case, data, ANOTHER)
    if moved := _moved(before, trained(case, data, SUBJECT)):
        raise MerBenchError(
            f"carries something from fold to fold: after another fold, which trains on this fold's test subject, "
            f"{moved} other than before; keep no labels, clips or statistics in the class, the module or a file"
        )


def never_asks_the_test_labels(case: Case) -> None:
    """Nothing moves when the held-out subject's labels are scrambled."""
    data, before = _fresh(case)
    for shift in range(1, CLASSES):
        after = trained(case, relabelled(data, SUBJECT, shift), SUBJECT)
        if before.weights != after.weights:
            raise MerBenchError(
                "trains on the test subject's labels: with them scrambled, the weights of its own fold are other ones; "
                "learn from what forward or fit is given, and from nothing else"
            )
        if moved := _moved(before, after):
            raise MerBenchError(
                f"chooses by the test subject's labels: with them scrambled, {moved} other ones in its own fold; keep "
                "no best epoch by test score, and look at nothing but what forward or predict_proba is given"
            )


def never_learns_from_test_pictures(case: Case) -> None:
    """Neither weights nor other clips' answers move when half of the held-out subject's clips are repainted."""
    data, before = _fresh(case)
    own = np.flatnonzero((data.clips["subject"] == SUBJECT).to_numpy())
    repaint, rest = own[::2], data.clips["clip"].to_numpy()[own[1::2]].tolist()
    after = trained(case, repainted(data, repaint), SUBJECT)
    if moved := _moved(before, after, rest):
        raise MerBenchError(
            f"learns from the test subject's pictures: with half of them repainted, {moved} other ones; take means, "
            "scales and every other statistic from training clips alone"
        )


def _moved(before: Finished, after: Finished, clips: list[str] | None = None) -> str:
    """What differs between two trainings of a fold, in words; nothing for two that are equal bit by bit."""
    if before.weights != after.weights:
        return "its weights are"
    said = [finished.tables[predictions.TEST].drop("label") for finished in (before, after)]
    if clips is not None:
        said = [rows.filter(pl.col("clip").is_in(clips)) for rows in said]
    if said[0].equals(said[1]):
        return ""
    return "its answers for the others are" if clips else "its answers are"


CANARY: Mapping[str, Check] = {
    "keeps nothing between folds": keeps_nothing_between_folds,
    "never asks the test subject's labels": never_asks_the_test_labels,
    "never learns from the test subject's pictures": never_learns_from_test_pictures,
}
