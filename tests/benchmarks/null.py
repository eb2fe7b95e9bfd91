"""What each selection rule reports where there is nothing to learn. Writes reports/null.svg and reports/null.md.

    python tests/benchmarks/null.py STRICT [STRICT ...] ADAPTIVE     runs of recorded studies (or how their ids begin)

On `synth-null-3` action units are drawn without regard to the label, so every UF1 above chance is made by choosing.
Recorded studies of the same space are read, some whose proposals were drawn before the start (strict, each with its own
seed) and one that proposes by what it has seen (adaptive); nothing is trained. `oracle-epoch` keeps the best test epoch
of each subject, as most published numbers do, here of the trial that `shared` chose and of trial 0, the published
setting. *Above chance*: the lower end of the 95 % interval over subjects lies above the mean of 1,000 shuffles of the
same predictions.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from mer_bench import bootstrap, comparisons, intervals, metrics, selection, stats
from mer_bench.answering import reproduce
from mer_bench.contracts import MerBenchError
from mer_bench.records import grading, tracking
from mer_bench.records.scores import Result, RuleScore
from mer_bench.reports import landscapes, prose, svg
from mer_bench.reports.landscapes import Verdict
from mer_bench.searching import accounts, shelf
from mer_bench.searching.ledger import Ledger
from mer_bench.searching.trials import COMPLETE
from mer_bench.seeds import seed

Grades = Mapping[str, tuple[RuleScore, float]]
Rows = Mapping[str, Verdict]
AGAIN = 200
"""Studies of noise that are made of the recorded one's answers."""
CHOSEN, PUBLISHED = "oracle-epoch of shared's trial", "oracle-epoch of trial 0"
SHOWN = ("nested", "shared", accounts.CORRECTED, CHOSEN, "oracle-trial")


class Studied(NamedTuple):
    """A recorded study: its records, what was concluded, and where it lies."""

    ledger: Ledger
    result: Result
    folder: Path


def studied(run: str) -> Studied:
    """The study of a run."""
    found = reproduce.find(run)
    folder = tracking.open().tables_of(found.run_id)
    return Studied(shelf.read(folder, [found]), found.result, folder)


def complete(study: Studied) -> dict[int, Path]:
    """Where the tables of the trials that finished all folds lie."""
    return {
        one.number: study.folder / f"trial-{one.number:04d}" / "pass"
        for one in study.ledger.tried
        if one.state == COMPLETE
    }


def graded(study: Studied) -> Grades:
    """Each rule's scores and its chance, `oracle-epoch` of the trial that `shared` chose and of trial 0 among them."""
    result, passes = study.result, complete(study)
    found = {rule: (score, result.chance[rule]) for rule, score in result.rules.items()}
    chosen = next(iter(selection.shared(passes).values())).trial
    for rule, trial in ((CHOSEN, chosen), (PUBLISHED, 0)):
        if trial in passes:
            found[rule] = _grade(result, selection.oracle_epoch(passes[trial]))
    return found


def _grade(result: Result, chosen: selection.Chosen) -> tuple[RuleScore, float]:
    clips = chosen.rows.select("clip", "subject", "label").unique(maintain_order=True)
    clips = clips.with_columns(pl.col("subject").str.split("/").list.first().alias("corpus"))
    return grading.grade("oracle-epoch", chosen, clips, list(next(iter(result.rules.values())).per_class))


def verdicts(results: Sequence[Result], grades: Sequence[Grades]) -> dict[str, Verdict]:
    """Every rule that all studies have, leaky ones last: the mean over studies, whose subjects are drawn together."""
    found = {}
    for rule, (score, _) in grades[0].items():
        if not all(rule in one for one in grades):
            continue
        counts, subjects = _together([one[rule][0] for one in grades])
        corpora = [name.split("/")[0] for name in subjects]
        ends = bootstrap.subject_bootstrap(counts, metrics.uf1, strata=corpora, seed=seed("bootstrap"))
        value, chance = float(metrics.uf1(counts.sum(0)).mean()), float(np.mean([one[rule][1] for one in grades]))
        band = accounts.chance_band(score) if len(grades) == 1 else None
        words = f", {results[0].strictness}" if rule.startswith("nested") else " (leaky)" if score.leaky else ""
        found[rule] = Verdict(rule + words, value, ends.low, ends.high, chance, band, score.leaky)
        if rule == accounts.OF and all("bias_corrected" in one.hindsight for one in results):
            corrected = float(np.mean([one.hindsight["bias_corrected"] for one in results]))
            found[accounts.CORRECTED] = Verdict(accounts.CORRECTED, corrected, None, None, chance, band)
    return dict(sorted(found.items(), key=lambda item: item[1].leaky))


def _together(scores: Sequence[RuleScore]) -> tuple[np.ndarray, list[str]]:
    """Confusion counts (subjects, studies, K, K) and the subjects' names; each study counts like a seed."""
    counts, subjects = zip(*(grading.counts_of(score) for score in scores), strict=True)
    if any(names != subjects[0] for names in subjects):
        raise MerBenchError("the strict studies have other subjects; name studies of one task")
    return np.concatenate(counts, 1), subjects[0]


class Dealt(NamedTuple):
    """What `oracle-trial` says in studies of noise: its UF1, its chance, and the lower end by each kind of interval."""

    values: np.ndarray
    chances: np.ndarray
    lows: dict[str, np.ndarray]


def dealt(
    study: Studied,
    together: int = 1,
    again: int = AGAIN,
    methods: tuple[str, ...] = ("percentile", intervals.METHOD),
) -> Dealt:
    """`oracle-trial` of studies whose trials answer as the recorded ones do, but other clips; means over so many.

    All trials' last answers are dealt out anew together, subject by subject in another order, so that trials resemble
    each other, and a subject's answers too, as they did.
    """
    rows = [selection.last(folder).rows.sort("subject", "clip") for folder in complete(study).values()]
    labels, subjects = rows[0]["label"].to_numpy(), rows[0]["subject"].to_numpy()
    answers = np.stack([one["prediction"].to_numpy() for one in rows]).astype(np.int64)
    classes = len(next(iter(study.result.rules.values())).per_class)
    groups = [np.flatnonzero(subjects == name) for name in sorted(set(subjects))]
    rng = np.random.default_rng(seed("dealt"))
    values, chances, lows = [], [], {method: [] for method in methods}
    for _ in range(again):
        best = [_best(answers, labels, groups, classes, rng) for _ in range(together)]
        tables = [[metrics.confusion(labels[group], one[group], classes) for group in groups] for one in best]
        counts = np.array(tables).swapaxes(0, 1)
        values.append(float(metrics.uf1(counts.sum(0), "zero").mean()))
        chances.append(
            np.mean([stats.chance(labels, one, classes, 200, seed=seed("chance"), absent="zero") for one in best])
        )
        for method in methods:
            found = bootstrap.subject_bootstrap(counts, metrics.uf1, method=method, replicates=2000, seed=seed("again"))
            lows[method].append(found.low)
    return Dealt(np.array(values), np.array(chances), {method: np.array(low) for method, low in lows.items()})


def _best(
    answers: np.ndarray, labels: np.ndarray, groups: list[np.ndarray], classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Answers (clips,) of the trial that does best when all trials' (trials, clips) are dealt out anew."""
    given = answers[:, np.concatenate([groups[i] for i in rng.permutation(len(groups))])]
    given = np.roll(given, int(rng.integers(len(labels))), 1)
    scores = [float(metrics.uf1(metrics.confusion(labels, said, classes), absent="zero")) for said in given]
    return given[int(np.argmax(scores))]


def power(found: Dealt, trials: int, together: int = 1) -> str:
    """In words, how often so many trials of noise put `oracle-trial` above chance; a mean over so many studies."""
    low, middle, high = np.quantile(found.values, [0.025, 0.5, 0.975])
    share = {method: f"{(ends > found.chances).mean():.0%}" for method, ends in found.lows.items()}
    by_others = ", ".join(f"by the {method} interval in {told}" for method, told in share.items())
    best = "The best trial's UF1" if together == 1 else f"The mean of {together} studies' best trials' UF1"
    return (
        f"How sure would `oracle-trial` be to lie above chance? The {trials} trials' answers were dealt out anew "
        f"{len(found.values)} times, subject by subject. {best} is {prose.number(middle)} in the median "
        f"(95 %: {prose.bounds(low, high)}; chance {prose.number(float(found.chances.mean()))}), and lies above chance "
        f'by value in {(found.values > found.chances).mean():.0%}, {by_others}. The rule for "above chance" asks for '
        f"the {intervals.METHOD} interval, the only one that covers what it says with few subjects (`calibration.md`)."
    )


def picture(found: Rows) -> str:
    """The rules that people meet, as a file of its own."""
    rows = [found[name] for name in SHOWN if name in found]
    top = max(row.high or row.value for row in rows)
    return svg.alone(landscapes.verdicts(rows, (0.0, min(1.0, math.ceil(10 * top) / 10 + 0.1)), legend=True))


def where(row: Verdict) -> str:
    """Whether a number is above chance; of one without an interval, where it lies in the band of shuffles."""
    if row.low is not None:
        return "yes" if row.low > row.chance else "no"
    if row.band is None:
        return prose.DASH
    return "above the band" if row.value > row.band[1] else "below it" if row.value < row.band[0] else "inside the band"


def table(strict: Sequence[Studied], adaptive: Studied, found: Rows, each: Sequence[Rows]) -> str:
    """Every rule of the strict studies (`found`, and of `each`), and how far the adaptive one lies from the first."""
    result, about = strict[0].result, (__doc__ or "").split("\n\n")[2]
    lines = ["# The null: what each rule reports where there is nothing to learn\n"]
    lines += [f"**{result.banner}**\n"] if result.banner else []
    lines += [
        about.strip() + "\n",
        f"`tests/benchmarks/null.py`. `{result.model}` on `{result.task}`: {'; '.join(map(size, strict))}.\n",
    ]
    # a mean over studies has no shuffles of its own
    shuffled = " [95 % of shuffles]" if any(row.band for row in found.values()) else ""
    lines += [f"| rule | UF1 [95 %] | chance{shuffled} | above chance |", "|---|---|---|---|"]
    for rule, row in found.items():
        chance = prose.number(row.chance) + (f" {prose.bounds(*row.band)}" if row.band else "")
        said = where(row) if row.low is not None else _counted([where(one[rule]) for one in each])
        lines.append(f"| {row.name} | {_value(row)} | {chance} | {said} |")
    if len(strict) > 1:
        lines += ["", f"Means over {len(strict)} studies, whose subjects are drawn together. Each study by itself:\n"]
        lines += _each(strict, found, each)
    lines += ["", *_adaptive(strict[0], adaptive)]
    for together in sorted({1, len(strict)}):
        lines += ["", power(dealt(strict[0], together), len(complete(strict[0])), together)]
    return "\n".join(lines) + "\n"


def _value(row: Verdict) -> str:
    return prose.number(row.value) + (f" {prose.bounds(row.low, row.high or 1.0)}" if row.low is not None else "")


def _counted(said: Sequence[str]) -> str:
    """What is said of each study, with how often; a mean of numbers without intervals has no band of its own."""
    if len(said) == 1:
        return said[0]
    return ", ".join(f"{words} in {count} of {len(said)}" for words, count in Counter(said).items())


def _each(strict: Sequence[Studied], found: Rows, each: Sequence[Rows]) -> list[str]:
    """One column a study: its numbers, and whether they are above chance."""
    lines = ["| rule | " + " | ".join(f"seed {study.ledger.question.get('seed', 0)}" for study in strict) + " |"]
    lines += ["|---|" + "---|" * len(strict)]
    for rule, row in found.items():
        lines.append(f"| {row.name} | " + " | ".join(f"{_value(one[rule])}: {where(one[rule])}" for one in each) + " |")
    return lines


def _adaptive(strict: Studied, adaptive: Studied) -> list[str]:
    """The honest rules of two studies of one space, paired by subject."""
    result, other = strict.result, adaptive.result
    seeds = f"seed {strict.ledger.question.get('seed', 0)}"
    lines = [
        f"The same space searched adaptively ({size(adaptive)}), paired by subject with the strict study of {seeds}:\n"
    ]
    lines += ["| rule | strict | adaptive | adaptive - strict [95 %] | p |", "|---|---|---|---|---|"]
    for rule in [rule for rule in result.rules if rule in other.rules and not selection.is_leaky(rule)]:
        ours, theirs = (grading.counts_of(side.rules[rule])[0] for side in (other, result))
        gap = comparisons.difference(ours, theirs, seed=seed("difference"))
        ends = prose.bounds(gap.interval.low, gap.interval.high)
        values = " | ".join(prose.number(side.rules[rule].uf1) for side in (result, other))
        lines.append(f"| {rule} | {values} | {prose.number(gap.value, signed=True)} {ends} | {prose.p_value(gap.p)} |")
    return lines


def size(study: Studied) -> str:
    """What was searched, in a line."""
    result, seeds = study.result, study.ledger.question.get("seed", 0)
    sampler, commit = study.ledger.question.get("sampler", ""), str(result.versions.get("commit", ""))[:7]
    made = f", commit {commit}" if commit else ""
    return (
        f"{result.clips} clips of {result.subjects} subjects, {result.trials} trials, {sampler}, "
        f"{result.strictness}, seed {seeds}{made}"
    )


def main() -> None:
    """Write the picture and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("strict", nargs="+", help="run of the strict study; more of other seeds may follow it")
    parser.add_argument("adaptive", help="run of the adaptive study")
    parser.add_argument("--folder", type=Path, default=Path("reports"))
    asked = parser.parse_args()
    strict, adaptive = [studied(run) for run in asked.strict], studied(asked.adaptive)
    results, grades = [study.result for study in strict], [graded(study) for study in strict]
    found = verdicts(results, grades)
    each = [verdicts([result], [one]) for result, one in zip(results, grades, strict=True)]
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / "null.svg").write_text(picture(found), encoding="utf-8")
    (asked.folder / "null.md").write_text(table(strict, adaptive, found, each), encoding="utf-8")
    print((asked.folder / "null.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
