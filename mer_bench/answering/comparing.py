"""`compare`: a model against others under one protocol, with the verdict in words, in JSON and as a page.

    models ──► the same evaluation each (recorded ones are reused) ──► paired differences ──► verdicts, page, --json

Both sides answer for the same held-out subjects. Either both run their own recipe or both are searched with as many
trials; anything else is refused unless asked for, and then said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import catalog, selection
from mer_bench.answering import commands
from mer_bench.answering.answers import Answer, shown
from mer_bench.answering.ready import known
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.records import tracking
from mer_bench.reports import pages, prose, standings
from mer_bench.reports.standings import Difference, Entry


@dataclass(frozen=True)
class Comparison:
    """A model, those it was compared with, a corrected difference to each, and the page that shows them."""

    ours: Answer
    theirs: tuple[Answer, ...]
    differences: tuple[Difference, ...]
    page: Path

    @property
    def verdicts(self) -> list[str]:
        """One sentence for each difference."""
        return [self._verdict(other, gap) for other, gap in zip(self.theirs, self.differences, strict=True)]

    @property
    def verdict(self) -> str:
        """All of them."""
        return "\n".join(self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        models = {answer.result.model: answer.as_json() for answer in (self.ours, *self.theirs)}
        rows = zip(self.theirs, self.differences, self.verdicts, strict=True)
        return {"models": models, "differences": [self._row(other, gap, said) for other, gap, said in rows]}

    def _row(self, other: Answer, gap: Difference, said: str) -> dict[str, Any]:
        ours, theirs = self.ours.result, other.result
        return {
            "model": ours.model,
            "against": theirs.model,
            "rule": ours.headline,
            "against_rule": theirs.headline,
            "uf1": gap.value,
            "uf1_interval": list(gap.ends),
            "p": gap.found.p,
            "p_holm": gap.p,
            "within_seed_noise": gap.found.within_seed_noise,
            "trials": ours.trials,
            "against_trials": theirs.trials,
            "equal_budget": gap.equal_budget,
            "verdict": said,
        }

    def _verdict(self, other: Answer, gap: Difference) -> str:
        ours, theirs = self.ours.result, other.result
        used = (ours.headline, theirs.headline)
        rules = dict.fromkeys(rule + (", leaky" if selection.is_leaky(rule) else "") for rule in used)
        holm = f" (p corrected for {len(self.theirs)} comparisons)" if len(self.theirs) > 1 else ""
        how = budgets(ours.trials, theirs.trials)
        return f"{ours.model} against {theirs.model}: {gap.verdict}{holm}; rule {' against '.join(rules)}; {how}"


def budgets(ours: int | None, theirs: int | None) -> str:
    """How much each side was searched, in words."""
    if ours == theirs:
        return "each its own recipe" if ours is None else f"each searched with {prose.plural(ours, 'trial')}"
    said = ["its own recipe" if n is None else prose.plural(n, "trial") for n in (ours, theirs)]
    return f"UNEQUAL BUDGETS: {said[0]} against {said[1]}"


def compare(
    model: str,
    against: str | Sequence[str] = standings.REFERENCE,
    task: str = commands.DEFAULT_TASK,
    *,
    trials: int | None = None,
    against_trials: int | None = None,
    unequal: bool = False,
    sampler: str = "tpe",
    space: str = "",
    settings: Mapping[str, Any] | None = None,
    folder: str | Path = "reports",
    **options: Any,
) -> Comparison:
    """Evaluate a model and others on the same folds, by their own recipes or searched alike, and say who is ahead.

    An identical evaluation on record is reused: same settings, code, inputs, seeds and budget.

    Args:
        model: the challenger, as in `run`.
        against: the other ones.
        task: as in `run`.
        trials: search both sides with so many trials; without it each runs its own recipe.
        against_trials: another number for the others; needs `unequal`.
        unequal: allow budgets that differ.
        sampler: as in `search`.
        space: a file with the `suggest(trial)` to search the challenger by.
        settings: of the challenger.
        folder: where the page goes.
        options: as in `run` or `search`.

    Raises:
        UsageError: nothing to compare with, or budgets that differ without `unequal`.
        MerBenchError: a side's training diverged in a fold; or as `run` and `search`.
    """
    others = [against] if isinstance(against, str) else list(against)
    names = [shown(name) for name in (model, *others)]
    if not others or len(set(names)) < len(names):
        raise UsageError(f"{model} against a model of the same name: give another one with --against")
    plan = _plan([model, *others], [trials, *[against_trials or trials] * len(others)], bool(space), unequal)
    known(options.get("rules", ()), (*selection.RUN_RULES, *selection.STUDY_RULES), "rule")
    found = []
    for place, (name, count) in enumerate(zip((model, *others), plan, strict=True)):
        first = {"settings": settings, "space": space} if place == 0 else {"settings": None, "space": ""}
        searched = {"trials": count, "sampler": sampler, **first}
        found.append(_evaluated(name, task, searched, options, mixed=len(set(plan)) > 1))
    return _concluded(found, task, Path(folder))


def _evaluated(model: str, task: str, searched: dict[str, Any], options: Mapping[str, Any], *, mixed: bool) -> Answer:
    """A run, or a study if there are trials; of a mixed pair each takes the rules that fit it."""
    study, given = searched["trials"] is not None, dict(options)
    if mixed and "rules" in given:
        fitting = selection.STUDY_RULES if study else selection.RUN_RULES
        given["rules"] = tuple(rule for rule in given["rules"] if rule in fitting)
    if study:
        return commands.search(model, task, **searched, **given)
    given.pop("refit", None)
    return commands.run(model, task, settings=searched["settings"], reuse=True, **given)


def _plan(models: Sequence[str], asked: Sequence[int | None], space: bool, unequal: bool) -> list[int | None]:
    """Trials of each model; None is its own recipe.

    Raises:
        UsageError: they differ and nobody said that they may.
    """
    able = [catalog.searchable(name) or (place == 0 and space) for place, name in enumerate(models)]
    plan = [count if can else None for count, can in zip(asked, able, strict=True)]
    if len(set(plan)) > 1 and not unequal:
        said = ", ".join(
            f"{shown(name)} {'its own recipe' if count is None else prose.plural(count, 'trial')}"
            + ("" if can or wanted is None else " (it has no suggest(trial) to search by)")
            for name, count, can, wanted in zip(models, plan, able, asked, strict=True)
        )
        raise UsageError(f"unequal budgets: {said}; drop --trials, give --space FILE, or allow it with --unequal")
    return plan


def _concluded(found: Sequence[Answer], task: str, folder: Path) -> Comparison:
    for one in found:
        if one.result.folds_done < one.result.folds_total:
            raise MerBenchError(f"{one.result.model} cannot be compared: {' '.join(one.result.notes)}")
    tracker = tracking.open()
    entries = [
        Entry(a.run_id, tracker.started(a.run_id), a.result, standings.result_label(a.result), a.result.headline)
        for a in found
    ]
    gaps = standings.corrected([standings.difference(entries[0], other) for other in entries[1:]])
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(["compare", *(a.result.model for a in found), task]))
    page = folder / f"{slug[:120]}.html"
    comparison = Comparison(found[0], tuple(found[1:]), tuple(gaps), page)
    text = pages.comparison_page([(entries[0], other) for other in entries[1:]], comparison.verdicts)
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8", newline="\n")
    tracker.attach(found[0].run_id, f"comparisons/{page.name}", text)
    return comparison
