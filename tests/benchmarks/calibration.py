"""How often intervals cover the truth and the paired test cries wolf: corpora of known truth, drawn often.

    python tests/benchmarks/calibration.py --repetitions 1000   # writes reports/calibration.md; minutes, one core

    subject ──► clips (sizes of the corpus) ──► labels (Dirichlet(6 x prior)) ──► right with logit a + N(0, 1), else
    another class by its prior

A corpus is drawn, an interval is computed, and it *covers* if it holds the population value: the score of the pooled
confusion counts of infinitely many subjects drawn alike (in a composite: from each corpus in its fixed share).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from mer_bench import bootstrap, comparisons, metrics
from mer_bench.intervals import METHOD, METHODS
from mer_bench.seeds import seed

QUARTILES = {"casme2": (2, 4, 9, 13, 36), "samm": (1, 3, 4, 6, 20), "smic": (2, 4, 7, 11, 39)}
"""Clips per subject: least, lower quartile, median, upper quartile, most."""
TAIL = 3.0
"""Within the last quarter sizes rise with this power, so that CASME II's 26 subjects have about 255 clips."""
FOLDS = {
    "CASME II-like (26 subjects, 5 classes)": (("casme2", 26, (32, 63, 27, 25, 99)),),
    "MEGC-like (68 subjects, 3 classes)": (
        ("casme2", 24, (88, 32, 25)),
        ("samm", 28, (92, 26, 15)),
        ("smic", 16, (70, 51, 43)),
    ),
}
ACCURACIES = (0.5, 0.7, 0.85)
SHARED = 0.7
"""Share of the subject effect's variance that two models have in common: hard subjects are hard for both."""
UNLIKE = 0.3
"""Subject effect SD of the second of two unlike models that are equally good."""
SCORES = {"UF1": metrics.uf1, "UAR": metrics.uar, "accuracy": metrics.accuracy}


def sizes(name: str, at: np.ndarray) -> np.ndarray:
    """Clips of subjects at quantiles `at` of a corpus's distribution of sizes."""
    quarter = np.minimum((at * 4).astype(int), 3)
    within = at * 4 - quarter
    within = np.where(quarter == 3, within**TAIL, within)
    low, high = np.array(QUARTILES[name])[quarter], np.array(QUARTILES[name])[quarter + 1]
    return np.rint(low + (high - low) * within).astype(int)


def mistakes(prior: np.ndarray) -> np.ndarray:
    """Where a wrong answer goes, (K, K): another class, by its prior."""
    others = np.tile(prior, (len(prior), 1)) * (1 - np.eye(len(prior)))
    return others / others.sum(1, keepdims=True)


def intercept(accuracy: float, spread: float) -> float:
    """The logit a for which subjects with effects N(0, spread) are right so often on average."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if expit(middle + spread * nodes) @ weights / weights.sum() < accuracy else (low, middle)
        )
    return low


@dataclass(frozen=True)
class Corpus:
    """A drawn corpus: labels (S, K) counts, corpus of each subject, and a subject effect that models share."""

    labels: np.ndarray
    strata: np.ndarray
    wrong: np.ndarray
    effect: np.ndarray

    def answers(self, accuracy: float, rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
        """Confusion counts (S, 1, K, K) of one model of that accuracy in the population."""
        own = np.sqrt(SHARED) * self.effect + np.sqrt(1 - SHARED) * rng.normal(size=len(self.effect))
        right = expit(intercept(accuracy, spread) + spread * own)[:, None, None]
        said = right * np.eye(self.labels.shape[1]) + (1 - right) * self.wrong
        return rng.multinomial(self.labels, said)[:, None]


def draw(folds: str, rng: np.random.Generator) -> Corpus:
    """One corpus of fold sizes, class mixes and subject effects."""
    labels, strata, wrong = [], [], []
    for name, subjects, counts in FOLDS[folds]:
        prior = np.array(counts) / sum(counts)
        labels.append(rng.multinomial(sizes(name, rng.random(subjects)), rng.dirichlet(6 * prior, subjects)))
        strata += [name] * subjects
        wrong.append(np.tile(mistakes(prior), (subjects, 1, 1)))
    return Corpus(np.concatenate(labels), np.array(strata), np.concatenate(wrong), rng.normal(size=len(strata)))


def population(folds: str, accuracy: float) -> np.ndarray:
    """Expected confusion counts, (K, K)."""
    found = 0
    for name, subjects, counts in FOLDS[folds]:
        prior, grid = np.array(counts) / sum(counts), (np.arange(100_000) + 0.5) / 100_000
        said = accuracy * np.eye(len(prior)) + (1 - accuracy) * mistakes(prior)
        found = found + subjects * sizes(name, grid).mean() * prior[:, None] * said
    return np.asarray(found)


def coverage(folds: str, accuracy: float, repetitions: int, replicates: int) -> Iterator[tuple[str, str, float, float]]:
    """(score, method, share of intervals that cover, mean width)."""
    rng = np.random.default_rng(seed("calibration", folds, str(accuracy)))
    truth = population(folds, accuracy)
    targets = {name: float(metric(truth)) for name, metric in SCORES.items()}
    rarest = int(truth.sum(1).argmin())
    targets["F1 of the rarest class"] = float(metrics.f1_per_class(truth)[rarest])
    found: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for number in range(repetitions):
        corpus = draw(folds, rng)
        counts = corpus.answers(accuracy, rng)
        options = {"strata": corpus.strata, "replicates": replicates, "seed": seed("bootstrap", number)}
        for method in METHODS:
            made = {
                name: bootstrap.subject_bootstrap(counts, metric, method=method, **options)
                for name, metric in SCORES.items()
                if name == "UF1" or method in ("percentile", METHOD)
            }
            if method in ("percentile", METHOD):
                made["F1 of the rarest class"] = bootstrap.class_intervals(counts, method=method, **options)[rarest]
            for name, one in made.items():
                inside = one.low <= targets[name] <= one.high
                found.setdefault((name, method), []).append((inside, one.high - one.low))
    for (name, method), pairs in found.items():
        covered, width = np.mean(np.array(pairs, float), 0)
        yield name, method, float(covered), float(width)


def alarms(folds: str, accuracy: float, spread: float, repetitions: int, replicates: int) -> tuple[float, float]:
    """Of two equally good models: how often p < .05, and how often the difference's interval holds 0."""
    rng = np.random.default_rng(seed("alarms", folds, str(accuracy), str(spread)))
    found = []
    for number in range(repetitions):
        corpus = draw(folds, rng)
        pair = [corpus.answers(accuracy, rng), corpus.answers(accuracy, rng, spread)]
        one = comparisons.difference(*pair, strata=corpus.strata, replicates=replicates, seed=seed("swap", number))
        found.append((one.p < 0.05, one.interval.low <= 0 <= one.interval.high))
    alarm, held = np.mean(np.array(found, float), 0)
    return float(alarm), float(held)


def rank_coverage(folds: str, accuracies: tuple[float, ...], repetitions: int, replicates: int) -> tuple[float, float]:
    """How often every model's places hold its true one (any, among equals), and the mean number of places."""
    rng = np.random.default_rng(seed("ranks", folds, *map(str, accuracies)))
    best = [1 + sum(other > mine for other in accuracies) for mine in accuracies]
    worst = [sum(other >= mine for other in accuracies) for mine in accuracies]
    found = []
    for number in range(repetitions):
        corpus = draw(folds, rng)
        models = [corpus.answers(accuracy, rng) for accuracy in accuracies]
        ranks = comparisons.ranks(models, strata=corpus.strata, replicates=replicates, seed=seed("ranks", number))
        holds = all(r.low <= b and w <= r.high for r, b, w in zip(ranks, best, worst, strict=True))
        found.append((holds, np.mean([r.high - r.low + 1 for r in ranks])))
    held, places = np.mean(found, 0)
    return float(held), float(places)


def report(repetitions: int, replicates: int) -> str:
    """The table, as Markdown."""
    lines = [f"| folds | accuracy | score | {' | '.join(METHODS)} |", "|---|---|---|" + "---|" * len(METHODS)]
    for folds in FOLDS:
        for accuracy in ACCURACIES:
            cells: dict[str, dict[str, str]] = {}
            for name, method, covered, width in coverage(folds, accuracy, repetitions, replicates):
                cells.setdefault(name, {})[method] = f"{covered:.3f} ({width:.3f})"
            lines += [
                f"| {folds} | {accuracy:.2f} | {name} | {' | '.join(row.get(m, '') for m in METHODS)} |"
                for name, row in cells.items()
            ]
    tests = ["| folds | accuracy | models | p < .05 | interval holds 0 |", "|---|---|---|---|---|"]
    for folds in FOLDS:
        for accuracy in ACCURACIES:
            for words, spread in (("alike", 1.0), (f"unlike (subject effect SD 1 and {UNLIKE})", UNLIKE)):
                alarm, held = alarms(folds, accuracy, spread, repetitions, replicates)
                tests.append(f"| {folds} | {accuracy:.2f} | {words} | {alarm:.3f} | {held:.3f} |")
    places = ["| folds | accuracies of the models | all places hold | mean number of places |", "|---|---|---|---|"]
    for folds in FOLDS:
        for accuracies in ((0.7,) * 5, (0.5, 0.6, 0.65, 0.7, 0.85)):
            held, many = rank_coverage(folds, accuracies, repetitions, replicates)
            places.append(f"| {folds} | {', '.join(f'{a:.2f}' for a in accuracies)} | {held:.3f} | {many:.2f} |")
    parts = [WORDS.format(repetitions=repetitions, replicates=replicates, chosen=METHOD)]
    parts += ["\n".join(lines), TEST_WORDS, "\n".join(tests), RANK_WORDS, "\n".join(places)]
    return "\n\n".join(parts) + "\n"


WORDS = """# Calibration of the intervals and tests

Made by `python tests/benchmarks/calibration.py --repetitions {repetitions} --replicates {replicates}`: drawn counts,
no faces and no models. Each repetition draws a corpus: clips per subject from the corpus's quartiles (CASME II
2/4/9/13/36, SAMM 1/3/4/6/20, SMIC 2/4/7/11/39), each subject's class mix from Dirichlet(6 x prior), its labels from
that mix, and its share of right answers from a logit with a subject effect of SD 1; wrong answers go to the other
classes by their prior.

An interval *covers* if it holds the population value: the score of the pooled confusion counts of infinitely many
subjects drawn alike, in a composite from each corpus in its fixed share (24, 28 and 16 subjects). Cells: share of
{repetitions} intervals at the nominal 95 % that cover (mean width). Of 1,000 repetitions a true .950 shows as .936 to
.964 in 95 % of cells. The chosen method is **{chosen}**; `percentile` is the plain bootstrap by subjects."""
TEST_WORDS = """## False alarms of the paired test

Two models of the same population UF1, hard subjects being hard for both (70 % of the subject effect's variance is
shared). *Alike*: the models may be exchanged within a subject, which is the test's null hypothesis. *Unlike*: they are
equally good in the population but not exchangeable, which the test does not promise to stand."""
RANK_WORDS = """## Places

Five models; equals may hold any of their places. All places hold: every model's interval of ranks at 95 % together."""


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000, help="corpora drawn for each cell")
    parser.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates and swaps in each")
    parser.add_argument("--out", type=Path, default=Path("reports/calibration.md"))
    given = parser.parse_args()
    given.out.write_text(report(given.repetitions, given.replicates), encoding="utf-8")


if __name__ == "__main__":
    main()
