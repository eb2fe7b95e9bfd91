"""A study in tables and words: its rules side by side, what was searched and chosen, every trial and its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mer_bench import stats
from mer_bench.records import grading
from mer_bench.records.scores import Result, RuleScore
from mer_bench.reports.cells import Cell, Column, Table, digits, whole, word
from mer_bench.reports.landscapes import Verdict
from mer_bench.reports.prose import DASH, TRAINED_ON, bounds, duration, listed, number, plural
from mer_bench.searching.importance import Knob, Weight
from mer_bench.searching.ledger import STATES, Ledger, Tried
from mer_bench.searching.trials import FAIL
from mer_bench.seeds import seed

CORRECTED, OF = "shared, bias-corrected", "shared-no-refit"
MOST_TRIALS, MOST_CHOSEN = 60, 5


def state(ledger: Ledger) -> str:
    """How far the study is, in a sentence."""
    ended = len([one for one in ledger.tried if one.state != "RUNNING"])
    how = [f"{count} {STATES[name]}" for name, count in ledger.counts.items()]
    inside = f": {listed(how)}" if len(how) > 1 or (how and "COMPLETE" not in ledger.counts) else ""
    if ledger.done:
        return f"{plural(ended, 'trial')}{inside}."
    told = ledger.result.trials if ledger.result else None
    numbers = f" The numbers below are of its first {plural(told, 'trial')}." if told else ""
    return f"Not finished: {ended} of {plural(ledger.asked, 'trial')} so far{inside}.{numbers}"


def headline(ledger: Ledger) -> str:
    """The number that speaks for the study."""
    result = ledger.result
    if result is None:
        return ""
    score, chance = result.rules[result.headline], result.chance[result.headline]
    above = "above" if score.uf1_interval[0] > chance else "not above"
    said = f"UF1 {number(score.uf1)} {bounds(*score.uf1_interval)} under {_named(result, result.headline)}"
    return f"{said}: {above} chance ({number(chance)})."


def verdicts(result: Result) -> list[Verdict]:
    """Every rule's number for the picture, the bias-corrected one after `shared`."""
    found = []
    for rule, score in result.rules.items():
        band = chance_band(score)
        chance = result.chance[rule]
        found.append(Verdict(_named(result, rule), score.uf1, *score.uf1_interval, chance, band, score.leaky))
        if rule == OF and "bias_corrected" in result.hindsight:
            found.append(Verdict(CORRECTED, float(result.hindsight["bias_corrected"]), None, None, chance, band))
    return found


def chance_band(score: RuleScore) -> tuple[float, float] | None:
    """Between which 95 of 100 shuffles of a rule's predictions lie; None without counts, or for several seeds."""
    if not score.by_subject or score.seeds != 1:
        return None
    pooled = grading.counts_of(score)[0].sum((0, 1))
    truth, said = (grid.ravel() for grid in np.indices(pooled.shape))
    times = pooled.ravel()
    return stats.chance_band(np.repeat(truth, times), np.repeat(said, times), len(pooled), seed=seed("chance"))


def rules(ledger: Ledger) -> Table:
    """Rules side by side, and how far each lies above `nested` of the same training subjects."""
    result = ledger.result
    columns = (
        Column("rule", "rule", False), Column("uf1", "UF1 [95 %]"), Column("chance", "chance"),
        Column("above", "above", False), Column("more", "minus nested"), Column("trained-on", "trained on", False),
    )  # fmt: skip
    rows = []
    for rule, score in result.rules.items() if result else ():
        assert result is not None
        low, chance = score.uf1_interval[0], result.chance[rule]
        text = f"{number(score.uf1)} {bounds(*score.uf1_interval)}"
        above = "yes" if low > chance else "no"
        trained = TRAINED_ON.get(score.trained_on, score.trained_on)
        gap = Cell(DASH) if rule.startswith("nested") else _more(result, score.uf1, score.trained_on)
        rows.append(
            (word(_named(result, rule)), Cell(text, score.uf1), digits(chance), word(above), gap, word(trained))
        )
        if rule == OF and "bias_corrected" in result.hindsight:
            value = float(result.hindsight["bias_corrected"])
            gap = _more(result, value, score.trained_on)
            rows.append((word(CORRECTED), digits(value), digits(chance), Cell(DASH), gap, word(trained)))
    caption = (
        "Minus nested: what a rule adds to the nested number of the same training subjects; of a leaky rule that is "
        "optimism. Bias-corrected: shared-no-refit without the luck of its choice, by choosing again on resampled "
        "subjects and scoring those left out (BBC-CV)."
    )
    return Table("rules", caption, columns, tuple(rows))


def _more(result: Result, value: float, trained_on: str) -> Cell:
    partner = "nested-no-refit" if "without" in trained_on else "nested"
    if partner not in result.rules:
        return Cell(DASH)
    gap = value - result.rules[partner].uf1
    return Cell(number(gap, signed=True), gap)


def _named(result: Result, rule: str) -> str:
    strict = f", {result.strictness}" if result.strictness and rule.startswith("nested") else ""
    return rule + strict + (" (leaky)" if result.rules[rule].leaky else "")


def searched(ledger: Ledger, knobs: Mapping[str, Knob], weights: Sequence[Weight]) -> Table:
    """Every knob: its range, what is published, what most folds chose, and how much it mattered."""
    first = next((one.values for one in ledger.tried if one.number == 0), {})
    top = _values(ledger, ledger.chosen[0][0]) if ledger.chosen else {}
    share = {weight.name: weight for weight in weights}
    columns = (
        Column("knob", "knob", False), Column("range", "searched", False), Column("published", "trial 0", False),
        Column("chosen", f"trial {ledger.chosen[0][0]}" if ledger.chosen else "chosen", False),
        Column("importance", "importance"), Column("asked", "asked in"),
    )  # fmt: skip
    rows = []
    for name, knob in knobs.items():
        asked, weight = sum(name in one.values for one in ledger.tried), share.get(name)
        said = f"{100 * weight.share:.0f} %" + ("" if weight.shown else " (luck)") if weight else DASH
        rows.append(
            (
                word(name), word(knob.words), word(_shown(first.get(name))), word(_shown(top.get(name))),
                Cell(said, weight.share if weight else None),
                Cell(f"{asked} of {plural(len(ledger.tried), 'trial')}", asked),
            )
        )  # fmt: skip
    pinned = ", ".join(f"{k}={_shown(v)}" for k, v in sorted((ledger.question.get("pinned") or {}).items()))
    caption = (
        "What a trial could set. Trial 0 is the published setting at the task's scale; "
        + ("the other is the trial that most folds chose. " if ledger.chosen else "nothing was chosen yet. ")
        + "A knob that hangs on another is asked in some trials only."
        + (f" Pinned, so not searched: {pinned}." if pinned else "")
    )
    return _filled("searched", caption, columns, rows)


def settings(ledger: Ledger) -> Table:
    """The chosen trials' settings side by side, the knobs in which they differ from each other or from trial 0."""
    chosen = ledger.chosen[:MOST_CHOSEN]
    numbers = list(dict.fromkeys([0, *(trial for trial, _ in chosen)]))
    values = {n: _values(ledger, n) for n in numbers}
    votes = {trial: len(mine) for trial, mine in chosen}
    names = sorted({name for row in values.values() for name in row})
    unlike = [name for name in names if len({_shown(row.get(name)) for row in values.values()}) > 1]
    columns = [Column("knob", "knob", False)] + [
        Column(f"trial-{n}", f"trial {n}, {plural(votes[n], 'fold')}" if n in votes else f"trial {n}", False)
        for n in numbers
    ]
    rows = [(word(name), *(word(_shown(values[n].get(name))) for n in numbers)) for name in unlike]
    caption = "What the chosen trials set otherwise than each other or than trial 0, the published setting."
    return Table("settings", caption, tuple(columns), tuple(rows) if chosen else ())


def folds(ledger: Ledger) -> Table:
    """Which trial and epoch each fold chose, in the study's order."""
    rule, choices = ledger.choices
    place = {name: at for at, name in enumerate(ledger.folds)}
    columns = (Column("fold", "fold", False), Column("trial", "trial"), Column("epoch", "epoch"))
    rows = [
        (word(fold), whole(trial), whole(epoch + 1))
        for fold, (trial, epoch) in sorted(choices.items(), key=lambda item: (place.get(item[0], 0), item[0]))
    ]
    caption = f"What speaks for each held-out subject under {rule}: chosen by that fold's validation subjects alone."
    return Table("folds", caption, columns, tuple(rows))


def trials(ledger: Ledger) -> Table:
    """The trials, best first; of very many the best."""
    votes = {trial: len(mine) for trial, mine in ledger.chosen}
    ordered = sorted(ledger.tried, key=_merit)
    columns = (
        Column("trial", "trial"), Column("inner", "validation UF1"), Column("ended", "ended", False),
        Column("folds", "folds"), Column("votes", "chosen by"), Column("time", "time"), Column("why", "why", False),
    )  # fmt: skip
    rows = []
    for one in ordered[:MOST_TRIALS]:
        how, by = STATES.get(one.state, one.state), votes.get(one.number)
        chosen = Cell(plural(by, "fold"), by) if by else Cell(DASH)
        took = Cell(duration(one.seconds), one.seconds) if one.seconds else Cell(DASH)
        done = whole(one.folds or (ledger.total if one.inner_uf1 is not None else 0))
        rows.append((whole(one.number), digits(one.inner_uf1), word(how), done, chosen, took, word(one.reason)))
    caption = "Trials, best validation UF1 first."
    if len(ordered) > MOST_TRIALS:
        caption += f" {len(ordered) - MOST_TRIALS} more are in the study's folder."
    return _filled("trials", caption, columns, rows)


def _filled(kind: str, caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> Table:
    """A table without the columns in which nothing is said."""
    kept = [at for at in range(len(columns)) if any(row[at].text != DASH for row in rows)]
    return Table(kind, caption, tuple(columns[at] for at in kept), tuple(tuple(row[at] for at in kept) for row in rows))


def _merit(one: Tried) -> tuple[bool, float, int, int]:
    return one.inner_uf1 is None, -(one.inner_uf1 or 0.0), -one.folds, one.number


def failures(tried: Sequence[Tried]) -> list[tuple[int, str]]:
    """(how many, the first one's reason), errors alike but for numbers taken together, most frequent first."""
    first: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    for one in tried:
        if one.state == FAIL:
            kind = re.sub(r"\d+", "#", one.reason)
            first.setdefault(kind, f"trial {one.number}: {one.reason or 'no reason on record'}")
            kinds[kind] += 1
    return [(count, first[kind]) for kind, count in kinds.most_common(12)]


def _values(ledger: Ledger, trial: int) -> Mapping[str, Any]:
    return next((one.values for one in ledger.tried if one.number == trial), {})


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
