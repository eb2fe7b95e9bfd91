"""A board as tables: who stands where, the rules side by side, what it cost, what papers print.

Board ──► Table (columns, rows of cells) ──► .html (sortable)  .md  .tex
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mer_bench.records.scores import OPTIMISM, Result, place
from mer_bench.reports.cells import MODEL, Cell, Column, Maker, Table, digits, table, whole, word
from mer_bench.reports.prose import DASH, TRAINED_ON, bounds, count, duration, latency, number, p_value
from mer_bench.reports.standings import Board, Entry
from mer_bench.selection import is_leaky

METRIC_NAMES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy", "f1": "F1", "weighted_f1": "weighted F1"}


def tables(board: Board) -> list[Table]:
    """All tables of a board that have rows."""
    found = [standings(board), rules(board), metrics(board), corpora(board), costs(board), printed(board)]
    return [one for one in found if one.rows]


def standings(board: Board) -> Table:
    """Every entry under the rule that speaks for it."""
    reference = board.reference.label if board.reference else ""
    columns: list[tuple[Column, Maker]] = [
        MODEL,
        (Column("uf1", "UF1 [95 %]"), lambda e: _score(e.result, e.rule)),
        (Column("seed-sd", "seed SD"), lambda e: digits(e.result.rules[e.rule].uf1_sd)),
        (Column("rank", "rank"), _rank),
        (Column("rule", "rule", False), lambda e: Cell(_rule(e.result, e.rule), e.rule)),
        (Column("chance", "chance"), lambda e: digits(e.result.chance[e.rule])),
        (Column("above", "above", False), lambda e: Cell(_above(e), _above(e))),
        (Column("difference", f"vs {reference} [95 %]"), lambda e: _gap(e, board)),
        (Column("p", "p (Holm)"), _p),
        (Column("uar", "UAR"), lambda e: digits(e.result.rules[e.rule].uar)),
        (Column("accuracy", "acc."), lambda e: digits(e.result.rules[e.rule].accuracy)),
        (Column("seeds", "seeds"), lambda e: Cell(str(e.result.rules[e.rule].seeds), e.result.rules[e.rule].seeds)),
        (Column("folds", "folds"), lambda e: Cell(_folds(e.result), e.result.folds_done / e.result.folds_total)),
        (Column("trials", "trials"), lambda e: whole(e.result.trials)._replace(link=e.page)),
    ]
    notes = ["The rule is the one that speaks for the evaluation; the others stand in the next table."]
    if board.reference:
        notes.append(f"Differences are paired by subject against {reference} (run {board.reference.run}).")
    if any(e.difference and not e.difference.equal_budget for e in board.entries):
        notes.append("† had another number of trials to choose from than the reference.")
    if any(e.reported for e in board.entries):
        notes.append(
            "Self-reported predictions and given weights were made elsewhere and only graded here; they stand last, "
            "without a rank."
        )
    notes += [f"‡ {e.label}: {' '.join(e.result.notes)}" for e in board.entries if e.result.notes]
    return table("standings", " ".join(notes), columns, board.entries)


def rules(board: Board) -> Table:
    """UF1 of the same run under each rule it was scored by, leaky ones last."""
    present = {rule for e in board.entries for rule in e.result.rules}
    ordered = sorted(present, key=lambda r: (is_leaky(r), place(r)))
    columns: list[tuple[Column, Maker]] = [
        MODEL,
        *((_rule_column(rule), _at(rule)) for rule in ordered),
        (Column("optimism", "optimism"), lambda e: _optimism(e.result)),
    ]  # fmt: skip
    caption = (
        "UF1 of the same evaluation under every rule it was scored by. Leaky rules saw the test labels: they show how "
        "far such a choice flatters, they are not results."
    )
    return table("rules", caption, columns, board.entries)


def metrics(board: Board) -> Table:
    """Other scores of the same predictions, those with an interval beside it."""
    columns: list[tuple[Column, Maker]] = [
        MODEL,
        (Column("metric-rule", "rule", False), lambda e: Cell(_rule(e.result, e.rule), e.rule)),
        (Column("uar-interval", "UAR [95 %]"), _with_ends("uar")),
        (Column("accuracy-interval", "accuracy [95 %]"), _with_ends("accuracy")),
        (Column("weighted-f1", "weighted F1"), lambda e: digits(e.result.rules[e.rule].weighted_f1)),
        (Column("mean-of-folds", "mean of folds"), lambda e: digits(e.result.rules[e.rule].mean_of_folds_f1)),
    ]
    caption = (
        "The same predictions by other scores. Mean of folds: each person's own UF1, then averaged, as some papers do; "
        "a class that a person does not show counts as 0, so it is not to be held against UF1."
    )
    return table("metrics", caption, columns, board.entries)


def corpora(board: Board) -> Table:
    """A composite's parts: the same pooled predictions filtered by corpus; no rows for a single corpus."""
    names = sorted({c for e in board.entries for c in e.result.rules[e.rule].per_corpus})
    columns = [MODEL]
    for corpus in names:
        for metric in ("uf1", "uar"):
            columns.append((Column(f"{corpus}-{metric}", f"{corpus} {METRIC_NAMES[metric]}"), _part(corpus, metric)))
    caption = "Parts of the composite: the same predictions, counted by corpus. A class absent from a part counts as 0."
    return table("corpora", caption, columns, board.entries if names else ())


def costs(board: Board) -> Table:
    """What each entry cost and where it came from."""
    columns: list[tuple[Column, Maker]] = [
        MODEL,
        (Column("parameters", "parameters"), lambda e: Cell(count(e.result.parameters), e.result.parameters)),
        (Column("macs", "MACs"), lambda e: Cell(count(e.result.macs), e.result.macs)),
        (Column("latency", "latency"), lambda e: Cell(latency(e.result.latency), e.result.latency)),
        (Column("time", "time"), _time),
        (Column("device", "device", False), lambda e: word(e.result.device)),
        (Column("strictness", "search", False), lambda e: word(e.result.strictness)),
        (Column("trained-on", "trained on", False), lambda e: word(_trained_on(e))),
        (Column("setting", "setting", False), lambda e: word(e.result.setting_name)),
        (Column("run", "run", False), lambda e: Cell(e.run + (f" (+{e.older} older)" if e.older else ""), e.run)),
    ]
    caption = (
        "Latency: one clip, one thread, 32-bit; MACs: multiply-accumulates of one clip; time: the whole evaluation "
        "on that device. Of a study: the trial that most folds chose."
    )
    return table("costs", caption, columns, board.entries)


def printed(board: Board) -> Table:
    """What each method's paper prints on this task, beside what was measured here."""
    rows = []
    for entry in board.entries:
        for claim in (entry.result.paper or {}).get("printed", ()):
            if claim["task"] == board.task and claim["metric"] in METRIC_NAMES:
                rows.append(_claim(entry, claim))
    columns = (
        Column("model", "model", False), Column("metric", "metric", False), Column("printed", "printed by the paper"),
        Column("printed-rule", "its rule", False), Column("same", "here, same rule"),
        Column("measured", "here, honest"), Column("rule", "rule", False), Column("gap", "printed - honest"),
    )  # fmt: skip
    caption = (
        "Numbers printed by each method's paper, with the selection rule its code used, beside those measured here."
    )
    return Table("printed", caption, columns, tuple(rows))


def _claim(entry: Entry, claim: Mapping[str, Any]) -> tuple[Cell, ...]:
    metric, value, rule = claim["metric"], claim["value"], claim["rule"]
    scores = entry.result.rules
    here = getattr(scores[entry.rule], metric, None)
    same = getattr(scores[rule], metric, None) if rule in scores else None
    gap = value - here if here is not None else None
    return (
        Cell(entry.label, entry.label, f"#run-{entry.run}"),
        Cell(METRIC_NAMES[metric], metric),
        digits(value),
        Cell(f"{rule} (leaky)" if is_leaky(str(rule)) else str(rule), str(rule)),
        digits(same),
        digits(here),
        Cell(entry.rule, entry.rule),
        Cell(DASH if gap is None else number(gap, signed=True), gap),
    )


def _rule_column(rule: str) -> Column:
    leaky = is_leaky(rule)
    return Column(rule, f"{rule} (leaky)" if leaky else rule, leaky=leaky)


def _at(rule: str) -> Maker:
    return lambda e: digits(e.result.rules[rule].uf1) if rule in e.result.rules else Cell(DASH)


def _part(corpus: str, metric: str) -> Maker:
    return lambda e: digits(e.result.rules[e.rule].per_corpus.get(corpus, {}).get(metric))


def _time(entry: Entry) -> Cell:
    seconds = entry.result.seconds
    return Cell(duration(seconds), seconds) if seconds else Cell(DASH)


def _score(result: Result, rule: str) -> Cell:
    score = result.rules[rule]
    return Cell(f"{number(score.uf1)} {bounds(*score.uf1_interval)}", score.uf1)


def _with_ends(metric: str) -> Maker:
    """A score and, if it is on record, its interval."""

    def made(entry: Entry) -> Cell:
        score = entry.result.rules[entry.rule]
        low, high = score.ends(metric)
        value = getattr(score, metric)
        return Cell(number(value) if low is None or high is None else f"{number(value)} {bounds(low, high)}", value)

    return made


def _rule(result: Result, rule: str) -> str:
    strict = f", {result.strictness}" if result.strictness and rule.startswith("nested") else ""
    leaky = " (leaky)" if result.rules[rule].leaky else ""
    return rule + strict + leaky


def _above(entry: Entry) -> str:
    return "yes" if entry.result.rules[entry.rule].uf1_interval[0] > entry.result.chance[entry.rule] else "no"


def _rank(entry: Entry) -> Cell:
    if entry.ranks is None:
        return Cell(DASH)
    low, high = entry.ranks.low, entry.ranks.high
    shown = f"{low}" if low == high else f"{low}–{high}"
    return Cell(shown + (" =" if entry.ranks.tied_with_first and high > 1 else ""), low + high / 1e4)


def _gap(entry: Entry, board: Board) -> Cell:
    if board.reference and entry.run_id == board.reference.run_id:
        return Cell("reference", 0.0)
    gap = entry.difference
    if gap is None:
        return Cell(DASH)
    star = "" if gap.equal_budget else " †"
    return Cell(f"{number(gap.value, signed=True)} {bounds(*gap.ends)}{star}", gap.value)


def _p(entry: Entry) -> Cell:
    gap = entry.difference
    return Cell(DASH) if gap is None else Cell(p_value(gap.p).removeprefix("p ").removeprefix("= "), gap.p)


def _folds(result: Result) -> str:
    said = f"{result.folds_done}/{result.folds_total}" + (" PARTIAL" if result.folds_done < result.folds_total else "")
    return said + (" ‡" if result.notes else "")


def _trained_on(entry: Entry) -> str:
    said = entry.result.rules[entry.rule].trained_on
    return TRAINED_ON.get(said, said)


def _optimism(result: Result) -> Cell:
    for honest, leaky in OPTIMISM.items():
        if honest in result.rules and leaky in result.rules:
            gap = result.rules[leaky].uf1 - result.rules[honest].uf1
            return Cell(number(gap, signed=True), gap)
    return Cell(DASH)
