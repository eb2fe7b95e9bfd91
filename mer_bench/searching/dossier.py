"""One study as a page of its own: what it found, how it went, what mattered, what the folds chose, how to go on.

    ledger (records) ──► pictures, tables, words ──► reports/studies/<study>.html

A study that runs, was stopped or lost its folder has a page too, with what is known of it. Test rows are not opened:
what is said of held-out subjects comes from a finished result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench.reports import landscapes, lanes, pages, portraits, prose
from mer_bench.reports.cells import Table
from mer_bench.reports.figures import MOST_KNOBS, Figure
from mer_bench.reports.lanes import Lap
from mer_bench.searching import accounts, importance, particulars, racing
from mer_bench.searching.importance import FEW, LEAST, Knob, Weight
from mer_bench.searching.ledger import Ledger, Tried
from mer_bench.searching.trials import FAIL, PRUNED

FOLDER = "studies"
MOST_BARS, MOST_DOTS, MOST_VOTES = 14, 400, 10


@dataclass(frozen=True)
class Page:
    """What the template lays out; empty where nothing is known."""

    ledger: Ledger
    title: str
    state: str
    headline: str
    found: list[Figure]
    went: list[Figure]
    mattered: list[Figure]
    slices: list[Figure]
    chose: list[Figure]
    tables: Mapping[str, Table]
    warning: str
    failures: list[tuple[int, str]]
    commands: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    published: str


def write(ledgers: Iterable[Ledger], folder: Path, home: str = "") -> dict[str, str]:
    """Write a page for each study.

    Args:
        ledgers: the studies.
        folder: of the reports; the pages go into `studies` below it.
        home: the leaderboard's file name, for a link back.

    Returns:
        Run id -> the page's address as seen from `folder`, for every run of each study.
    """
    links: dict[str, str] = {}
    for ledger in ledgers:
        path = folder / FOLDER / f"{re.sub(r'[^A-Za-z0-9_.+-]', '-', ledger.name)}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html(ledger, home), encoding="utf-8", newline="\n")
        links |= {run: f"{FOLDER}/{path.name}" for run in ledger.runs or (ledger.name,)}
    return links


def html(ledger: Ledger, home: str = "") -> str:
    """The page."""
    return pages.render("study.html.j2", page=page(ledger), home=home, stamp=pages.Stamp.now())


def page(ledger: Ledger) -> Page:
    """All that is known of a study, as pictures, tables and words."""
    whole = ledger.whole
    knobs = importance.knobs(ledger.journal, [one.values for one in ledger.tried])
    weights = _weights(ledger, knobs)
    made = {
        "rules": accounts.rules(ledger),
        "searched": accounts.searched(ledger, knobs, weights),
        "settings": accounts.settings(ledger),
        "folds": accounts.folds(ledger),
        "trials": accounts.trials(ledger),
    }
    return Page(
        ledger=ledger,
        title=f"{ledger.model} on {ledger.task}" if ledger.task else ledger.model,
        state=accounts.state(ledger),
        headline=accounts.headline(ledger),
        found=_found(ledger),
        went=_went(ledger),
        mattered=_mattered(weights, len(whole)),
        slices=_slices(ledger, knobs, weights),
        chose=_chose(ledger),
        tables={name: table for name, table in made.items() if table.rows},
        warning=_warning(ledger, weights),
        failures=accounts.failures(ledger.tried),
        commands=particulars.commands(ledger),
        facts=particulars.facts(ledger),
        published=particulars.published(ledger),
    )


def _weights(ledger: Ledger, knobs: Mapping[str, Knob]) -> list[Weight]:
    """Importances; none where the folder is gone, and with it the ranges they are measured in."""
    if ledger.journal is None:
        return []
    whole = ledger.whole
    values, scores = [one.values for one in whole], [one.inner_uf1 or 0.0 for one in whole]
    return importance.weights(knobs, values, scores, ledger.question.get("seed", 0))


def _found(ledger: Ledger) -> list[Figure]:
    """Rules side by side, and what fewer trials would have given."""
    if ledger.result is None:
        return []
    said = (
        "UF1 of the same study under each rule, with its 95 % interval over subjects. Orange and hollow: leaky, it saw "
        "the test labels. Dashes: chance; grey: where 95 of 100 shuffles of the same predictions lie."
    )
    found = [Figure("rules", landscapes.verdicts(accounts.verdicts(ledger.result)), said)]
    curve = [(int(count), float(a), float(b)) for count, a, b in ledger.result.hindsight.get("best_so_far", ())]
    if len(curve) > 1:
        said = (
            "What the first trials alone would have given on the held-out subjects, without refit. Nobody may choose "
            "by it: it is looked at when all is over."
        )
        chance = ledger.result.chance[ledger.result.headline]
        found.append(Figure("promise", landscapes.promise(curve, chance), said))
    return found


def _went(ledger: Ledger) -> list[Figure]:
    """History, and the race."""
    if not ledger.tried:
        return []
    votes = {trial for trial, _ in ledger.chosen}
    laps = [Lap(t.number, t.inner_uf1, t.state, t.losses, t.folds, t.number in votes) for t in ledger.tried]
    published = next((one.inner_uf1 for one in ledger.tried if one.number == 0), None)
    dropped, failed = (sum(one.state == state for one in ledger.tried) for state in (PRUNED, FAIL))
    ticks = [f"{count} {word}" for count, word in ((dropped, "dropped"), (failed, "failed")) if count]
    said = "Pooled validation UF1 of each trial that finished all folds; the line is the best so far."
    said += " Blue: chosen by a fold." if votes else ""
    said += f" Ticks below: {prose.listed(ticks)}; they have no such number." if ticks else ""
    found = [Figure("history", landscapes.course(laps, published if len(ledger.whole) > 1 else None), said)]
    if any(lap.losses for lap in laps):
        trained, whole = ledger.effort
        first = racing.FIRST if ledger.question.get("racing") else None
        names = ledger.folds or [str(n + 1) for n in range(ledger.total)]
        drawn = lanes.race(laps, names, first, trained / whole if whole else None)
        found.append(Figure("race", drawn, _raced(laps, first is not None)))
    return found


def _raced(laps: Sequence[Lap], looked: bool) -> str:
    many = -(-len(laps) // lanes.COLUMNS)
    said = (
        "One row a fold, in the study's order; one column a trial. Stronger: a lower validation loss, which is better."
    )
    said += " Dashes: the first look." if looked else ""
    if many > 1:
        return f"{said} A column is {many} trials, a cell their median, pale where fewer than half trained that fold."
    ends = [
        ("Blue dot above: chosen by a fold.", any(lap.chosen for lap in laps)),
        ("Dot below: dropped there.", any(lap.state == PRUNED for lap in laps)),
        ("Cross: failed.", any(lap.state == FAIL for lap in laps)),
    ]
    return " ".join([said, *(words for words, there in ends if there)])


def _mattered(weights: Sequence[Weight], trials: int) -> list[Figure]:
    if not weights:
        return []
    shown = weights[:MOST_BARS]
    said = (
        f"Importance (PED-ANOVA) over {prose.plural(trials, 'trial')} that finished all folds: how differently the "
        "best quarter of them set a knob. The mark is the most that shuffled scores give in 19 tries; pale bars do "
        "not pass it."
    )
    said += f" The {len(weights) - len(shown)} least are left out." if len(weights) > len(shown) else ""
    return [Figure("importance", landscapes.weights(shown), said)]


def _warning(ledger: Ledger, weights: Sequence[Weight]) -> str:
    """What to know before reading importances."""
    whole, dropped = len(ledger.whole), sum(one.state == PRUNED for one in ledger.tried)
    words = []
    if ledger.journal is None:
        words.append("The study's folder is gone, and with it the ranges that importances are measured in.")
    elif not weights:
        words.append(
            f"Too little is known to say which knobs mattered: {prose.plural(whole, 'trial')} finished all folds, "
            f"at least {LEAST} with different scores are wanted."
        )
    elif whole < FEW:
        words.append(f"Only {whole} trials finished all folds: few enough for importances to be mostly luck.")
    if dropped and weights:
        words.append(
            f"The {prose.plural(dropped, 'dropped trial')} count for nothing here, because their UF1 is of a few folds "
            "only. What they had in common, such as a hopeless learning rate, looks less important than it is."
        )
    return " ".join(words)


def _slices(ledger: Ledger, knobs: Mapping[str, Knob], weights: Sequence[Weight]) -> list[Figure]:
    """One knob against validation UF1, the most important first."""
    whole, votes = ledger.whole, {trial for trial, _ in ledger.chosen}
    if len(whole) < 2:
        return []
    kept = _thinned(whole, votes)
    dropped = [one for one in ledger.tried if one.state == PRUNED]
    dropped = dropped[:: -(-len(dropped) // MOST_DOTS) or 1]
    place = {weight.name: at for at, weight in enumerate(weights)}
    found = []
    for name in sorted(knobs, key=lambda n: (place.get(n, len(place)), n))[:MOST_KNOBS]:
        asked = [one for one in kept if name in one.values]
        if not asked:
            continue
        drawn = portraits.knob(
            name,
            [one.values[name] for one in asked],
            [one.inner_uf1 or 0.0 for one in asked],
            [one.number in votes for one in asked],
            [one.values[name] for one in dropped if name in one.values],
            knobs[name].span,
        )
        found.append(Figure(f"knob-{name}", drawn, "", small=True))
    return found


def _thinned(whole: Sequence[Tried], votes: set[int]) -> list[Tried]:
    """At most `MOST_DOTS` trials, evenly by number, and all that were chosen."""
    every = -(-len(whole) // MOST_DOTS)
    return [one for at, one in enumerate(whole) if at % every == 0 or one.number in votes]


def _chose(ledger: Ledger) -> list[Figure]:
    rule, choices = ledger.choices
    if not choices:
        return []
    rows = ledger.chosen
    said = f"Which trial each fold's own validation subjects chose under {rule}; one block a fold."
    said += f" {len(rows) - MOST_VOTES} more trials have one fold or few each." if len(rows) > MOST_VOTES else ""
    return [Figure("votes", landscapes.votes(rows[:MOST_VOTES], len(choices)), said)]


def listing(ledgers: Sequence[Ledger], links: Mapping[str, str]) -> list[dict[str, Any]]:
    """Name, page and state of every study, for the leaderboard's foot."""
    return [
        {"name": one.name, "link": next(links[run] for run in one.runs or (one.name,)), "state": accounts.state(one)}
        for one in ledgers
    ]
