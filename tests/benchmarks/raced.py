"""What racing left to train of a study, and what became of its numbers. Writes reports/raced.md.

    python tests/benchmarks/raced.py RACED UNRACED     runs (or the beginnings of their ids) of two recorded studies

Both asked the same proposals in the same order of folds, one dropping trials by their first folds. A fold's training
is a function of its names alone, so what both trained must agree to the last digit; how often it does is printed.
`nested` is compared paired by subject; its standard error is that of a bootstrap over subjects.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import null
import numpy as np

from mer_bench import comparisons, metrics, selection
from mer_bench.contracts import MerBenchError
from mer_bench.records import grading
from mer_bench.reports import prose
from mer_bench.searching.ledger import Ledger
from mer_bench.searching.trials import COMPLETE, FAIL, PRUNED
from mer_bench.seeds import seed

RULE = "nested"


def shared_folds(one: Ledger, other: Ledger) -> tuple[int, int]:
    """Folds that both studies trained, and those whose validation loss is the same number.

    Raises:
        MerBenchError: the studies asked other proposals, or took the folds in another order.
    """
    values = [[(tried.number, dict(tried.values)) for tried in ledger.tried] for ledger in (one, other)]
    if values[0] != values[1] or one.folds != other.folds:
        raise MerBenchError(f"{one.name} and {other.name} asked other proposals, or in another order of folds")
    pairs = [
        (ours.losses[place], theirs.losses[place])
        for ours, theirs in zip(one.tried, other.tried, strict=True)
        for place in ours.losses.keys() & theirs.losses.keys()
    ]
    return len(pairs), sum(a == b for a, b in pairs)


def standard_error(counts: np.ndarray, replicates: int = 10_000) -> float:
    """Of UF1, by drawing subjects anew; counts (subjects, seeds, K, K)."""
    tables, rng = counts.sum(1), np.random.default_rng(seed("standard error"))
    drawn = rng.multinomial(len(tables), np.full(len(tables), 1 / len(tables)), replicates)
    return float(np.std(metrics.uf1(np.tensordot(drawn, tables, (1, 0)), "zero")))


def table(raced: null.Studied, whole: null.Studied) -> str:
    """Both studies side by side."""
    lines = ["# Racing, measured\n", *([f"**{raced.result.banner}**\n"] if raced.result.banner else [])]
    lines += [(__doc__ or "").split("\n\n")[2].strip() + "\n"]
    lines += ["| study | finished, dropped, failed | fold-epochs | of the whole | rules: UF1 [95 %], chance | took |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, study in (("raced", raced), ("whole", whole)):
        counts, (trained, _) = study.ledger.counts, study.ledger.effort
        share = trained / whole.ledger.effort[0]
        states = ", ".join(str(counts.get(state, 0)) for state in (COMPLETE, PRUNED, FAIL))
        rules = [
            f"{rule} {prose.number(score.uf1)} {prose.bounds(*score.uf1_interval)}, {prose.number(chance)}"
            for rule, score in study.result.rules.items()
            if not selection.is_leaky(rule) and (chance := study.result.chance[rule]) is not None
        ]
        took = prose.duration(study.result.seconds)
        lines.append(
            f"| {name}: {null.size(study)} | {states} | {trained:,} | {share:.1%} | {'; '.join(rules)} | {took} |"
        )
    ours, theirs = (grading.counts_of(study.result.rules[RULE])[0] for study in (raced, whole))
    gap = comparisons.difference(ours, theirs, seed=seed("difference"))
    both, alike = shared_folds(raced.ledger, whole.ledger)
    ends, error = prose.bounds(gap.interval.low, gap.interval.high), prose.number(standard_error(theirs))
    lines += [
        "",
        f"`{RULE}`, raced - whole: {prose.number(gap.value, signed=True)} {ends}, {prose.p_value(gap.p)}; standard "
        f"error of the whole study's: {error}. Folds that both trained: {both:,}; same validation loss: {alike:,}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raced", help="run of the study with --race")
    parser.add_argument("whole", help="run of the same study without")
    parser.add_argument("--folder", type=Path, default=Path("reports"))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / "raced.md").write_text(table(null.studied(asked.raced), null.studied(asked.whole)), "utf-8")
    print((asked.folder / "raced.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
