"""How much of nested's spread is the luck of who validates? One hold-out against 3 and 5 inner folds.

    MER_BENCH_DATA=FOLDER python tests/benchmarks/inner_folds.py [ridge|ststnet] [TASK] [--repetitions 10] [--folds 1,3]

The candidates stay the same; only the draw of the validation subjects is repeated. For each draw every fold chooses a
candidate (and, for a network, its epoch) by the mean log-loss of its validation subjects, as `nested` does, and the
choice refitted on all the fold's training subjects is scored on the held-out subject. `ridge`: 60 drawn kernel ridges
on `flow@28`. `ststnet`: 6 drawn recipes of 30 epochs. Nothing is chosen by test labels; `oracle-trial` is shown for
comparison.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy.linalg import solve
from scipy.special import softmax

from mer_bench import catalog, metrics, predictions, processes, splits
from mer_bench.searching import space
from mer_bench.selection import smooth
from mer_bench.training import fold

COUNTS = (1, 3, 5)
EPOCHS = 30
LEAST = 2.0**-14
DRAWN = splits.inner


class Ridges:
    """60 kernel ridges on flow: half linear, half Gaussian; penalty and class weights drawn."""

    def __init__(self, task: str) -> None:
        data = fold.view_of(task, "flow@28")
        self.clips, self.labels = data.clips, data.clips["label"].to_numpy().astype(int)
        values = np.asarray(data.arrays["flow"]).reshape(len(self.labels), -1) / 255.0
        linear = values @ values.T
        squares = np.diag(linear)[:, None] + np.diag(linear) - 2 * linear
        rng = np.random.default_rng(0)
        self.candidates = [
            (bool(n % 2), 10 ** rng.uniform(-1, 1), 10 ** rng.uniform(-3, 1), bool(rng.random() < 0.5))
            for n in range(60)
        ]
        widths = {width for is_linear, width, *_ in self.candidates if not is_linear}
        self._grams = {w: np.exp(-squares / (w * np.median(squares))) for w in widths}
        self._linear = linear / np.diag(linear).mean()

    def losses(self, number: int, name: str, count: int, draw: str) -> np.ndarray:
        """(1,) mean log-loss of the fold's validation clips."""
        parts = DRAWN(self.clips, name, count, seed=draw)
        said = [-np.log(np.maximum(self._say(number, p.train, p.validation), LEAST)) for p in parts]
        own = [loss[np.arange(len(loss)), self.labels[p.validation]] for loss, p in zip(said, parts, strict=True)]
        return np.array([np.concatenate(own).mean()])

    def answers(self, number: int, name: str) -> np.ndarray:
        """(1, clips, classes): the held-out subject's clips, trained on all others."""
        (whole,) = DRAWN(self.clips, name, 0)
        return self._say(number, whole.train, whole.test)[None]

    def _say(self, number: int, train: np.ndarray, asked: np.ndarray) -> np.ndarray:
        is_linear, width, penalty, balanced = self.candidates[number]
        gram, labels = self._linear if is_linear else self._grams[width], self.labels[train]
        targets = 2.0 * (labels[:, None] == np.arange(self.labels.max() + 1)) - 1
        each = (len(train) / np.maximum(np.bincount(labels), 1))[labels] if balanced else np.ones(len(train))
        weights = each / each.mean()
        mean = weights @ targets / len(train)
        system = gram[np.ix_(train, train)] + np.diag(penalty / weights)
        return np.asarray(softmax(gram[np.ix_(asked, train)] @ solve(system, targets - mean, assume_a="pos") + mean, 1))


class Networks:
    """6 drawn recipes of STSTNet at 30 epochs."""

    def __init__(self, task: str) -> None:
        searched = space.Space("ststnet", {"epochs": EPOCHS})
        scale = catalog.task(task).scale
        self.candidates = [searched.setting(values, scale) for values in space.draw(searched, "random", 0, 6)]
        data = fold.view_of(task, self.candidates[0].view)
        self.task, self.clips, self.labels = task, data.clips, data.clips["label"].to_numpy().astype(int)

    def losses(self, number: int, name: str, count: int, draw: str) -> np.ndarray:
        """(epochs,) smoothed mean log-loss of the fold's validation clips."""
        splits.inner = functools.partial(DRAWN, seed=draw)  # type: ignore[assignment]
        try:
            done = self._train(number, name, count)
        finally:
            splits.inner = DRAWN
        if done.diverged:
            return np.full(EPOCHS, np.inf)
        rows = done.tables[predictions.FOLDS].sort("epoch").iter_rows(named=True)
        return smooth(np.array([sum(row["losses"]) / sum(row["clips"]) for row in rows]))

    def answers(self, number: int, name: str) -> np.ndarray:
        """(epochs, clips, classes): the held-out subject's clips after each epoch, trained on all others."""
        done = self._train(number, name, 0)
        if done.diverged:
            return np.zeros((EPOCHS, int((self.clips["subject"] == name).sum()), self.labels.max() + 1))
        rows = done.tables[predictions.TEST].sort("epoch", "clip")
        return predictions.probabilities(rows).reshape(EPOCHS, -1, self.labels.max() + 1)

    def _train(self, number: int, name: str, count: int) -> fold.Finished:
        setting = self.candidates[number]
        return fold.train(fold.Training(self.task, setting, 0, name, bool(count), inner_folds=max(count, 1)))


KINDS: dict[str, Any] = {"ridge": Ridges, "ststnet": Networks}


@functools.cache
def _made(kind: str, task: str) -> Any:
    return KINDS[kind](task)


def of_fold(asked: tuple[str, str, str, int, tuple[int, ...]]) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """One fold, all candidates and draws.

    Returns:
        Test confusion of each candidate after each epoch, (candidates, epochs, K, K), and for each number of inner
        folds the candidate and epoch that each draw chooses, (draws, 2).
    """
    kind, task, name, draws, numbers = asked
    made = _made(kind, task)
    count = range(len(made.candidates))
    labels = made.labels[(made.clips["subject"] == name).to_numpy()]
    said = [made.answers(number, name).argmax(-1) for number in count]
    classes = made.labels.max() + 1
    counts = np.array([[metrics.confusion(labels, at, classes) for at in epochs] for epochs in said])
    chosen: dict[int, Any] = {folds: [] for folds in numbers}
    for folds in numbers:
        for draw in range(draws):
            # every fold of a draw has its own validation subjects, as `nested` draws them
            losses = np.stack([made.losses(number, name, folds, f"validation {draw}") for number in count])
            chosen[folds].append(np.unravel_index(np.round(losses, 9).argmin(), losses.shape))
    return counts, {folds: np.array(found) for folds, found in chosen.items()}


def rows(counts: Sequence[np.ndarray], chosen: Sequence[dict[int, np.ndarray]]) -> Iterator[str]:
    """A line of the table for each number of inner folds."""
    whole = np.stack(counts)
    places = np.arange(len(whole))
    for folds in chosen[0]:
        picked = np.stack([c[folds] for c in chosen])
        tables = np.stack([whole[places, picked[:, d, 0], picked[:, d, 1]] for d in range(picked.shape[1])])
        scores = metrics.uf1(tables.sum(1))
        error = np.mean([_error(table) for table in tables])
        noise = scores.var(ddof=1)
        distinct = np.mean([len(np.unique(picked[:, d, 0])) for d in range(picked.shape[1])])
        yield (
            f"| {folds} | {scores.mean():.3f} | {scores.min():.3f}-{scores.max():.3f} | {np.sqrt(noise):.4f} | "
            f"{error:.4f} | {noise / (noise + error**2):.0%} | {distinct:.1f} |"
        )


def _error(table: np.ndarray) -> float:
    """Standard error of UF1 from a bootstrap by subjects, (subjects, K, K) -> float."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(table), np.full(len(table), 1 / len(table)), 1000)
    return float(np.std(metrics.uf1(np.tensordot(drawn, table, (1, 0)))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("task")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--folds", default=",".join(map(str, COUNTS)))
    asked = parser.parse_args()
    numbers = tuple(int(number) for number in asked.folds.split(","))
    made = _made(asked.kind, asked.task)
    names = sorted(set(made.clips["subject"]))
    processes.calm()
    with ProcessPoolExecutor(processes.cores(), get_context("spawn")) as pool:
        jobs = [(asked.kind, asked.task, name, asked.repetitions, numbers) for name in names]
        counts, chosen = zip(*pool.map(of_fold, jobs), strict=True)
    pooled = metrics.uf1(np.stack(counts).sum(0)[:, -1])
    print(f"## {asked.kind} on {asked.task}\n")
    print(
        f"{len(made.candidates)} candidates, {len(names)} folds, {asked.repetitions} draws. UF1 of one candidate alone "
        f"(`last`): median {np.median(pooled):.3f}, best by test labels (`oracle-trial`) {pooled.max():.3f}.\n"
    )
    print("| inner folds | nested UF1 | range | SD over draws | SE by subjects | share of spread | candidates chosen |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows(counts, chosen)))


if __name__ == "__main__":
    main()
