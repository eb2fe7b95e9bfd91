"""What a study was asked, what it ran on, and what to type to go on with it, from its record."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from mer_bench.reports.prose import duration
from mer_bench.searching.ledger import Ledger


def commands(ledger: Ledger) -> list[tuple[str, str]]:
    """(why, what to type)."""
    if not ledger.task:
        return []
    journal, found = f"mlruns/tables/{ledger.name}/optuna.log", []
    if ledger.command and not ledger.done:
        found.append(("Go on with it, if it is not running", f"{_typed(ledger)} --resume"))
    elif ledger.command:
        found.append(("Ask it again: answers from the record", _typed(ledger)))
        found.append(("Add as many trials again; the first stay as they are", _typed(ledger, 2 * ledger.asked)))
    if ledger.finished:
        run = ledger.finished.run_id[:12]
        found.append(("Train again what speaks, and compare clip by clip", f"mer-bench reproduce {run}"))
    if ledger.journal is not None and ledger.journal.is_file():
        found.append(("Look at its trials", f"optuna-dashboard {shlex.quote(journal)}"))
    return found


def _typed(ledger: Ledger, trials: int | None = None) -> str:
    """The recorded command, the model as the page calls it, with another number of trials if one is given."""
    words = shlex.split(ledger.command)
    words[words.index("search") + 1] = ledger.model
    if trials is not None:
        words[words.index("--trials") + 1] = str(trials)
    return shlex.join(words)


def facts(ledger: Ledger) -> list[tuple[str, str]]:
    """Question and provenance as pairs."""
    asked, result = ledger.question, ledger.result
    kept = {"sampler": "sampler", "seed": "seed", "inner_folds": "inner folds", "trial_timeout": "limit of a trial, s"}
    kept |= {"scale": "scale", "device": "device", "bf16": "bf16", "channels_last": "channels last"}
    kept |= {"space": "space", "code": "code of the model", "inputs": "inputs"}
    found = [("study", ledger.name)]
    found += [(label, _fact(asked[name])) for name, label in kept.items() if asked.get(name) is not None]
    found += [("racing", "yes" if asked["racing"] else "no")] if "racing" in asked else []
    if result and ledger.finished:
        found += [("proposals", f"{result.strictness}"), ("clips, subjects", f"{result.clips}, {result.subjects}")]
        found += [("started", ledger.finished.started.strftime("%Y-%m-%d %H:%M UTC"))]
        found += [("took", duration(result.seconds)), ("run", ledger.finished.run_id)]
        found += [("versions", ", ".join(f"{k} {str(v)[:16]}" for k, v in sorted(result.versions.items())))]
    return [(label, text) for label, text in found if text]


def published(ledger: Ledger) -> str:
    """The setting of trial 0 as it was resolved, as JSON; a user's file by its name alone."""
    found = ledger.question.get("published")
    return json.dumps({**found, "model": Path(found["model"]).name}, indent=1, sort_keys=True) if found else ""


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if len(text) <= 24 else text[:16]
