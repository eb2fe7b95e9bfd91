"""What a study was asked, what it ran on, and what to type to go on with it, from its recorded question."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from mer_bench.reports.prose import duration
from mer_bench.searching.ledger import Ledger
from mer_bench.searching.space import STRICT


def commands(ledger: Ledger) -> list[tuple[str, str]]:
    """(why, what to type), from the recorded question."""
    if not ledger.task:
        return []
    again, journal = _search(ledger, ledger.asked), f"mlruns/tables/{ledger.name}/optuna.log"
    found = [] if ledger.done else [("Go on with it, if it is not running", f"{again} --resume")]
    found += [("Ask it again: answers from the record", again)] if ledger.done else []
    more = "Add as many trials again; the first stay as they are"
    found += [(more, _search(ledger, 2 * ledger.asked))] if ledger.done else []
    if ledger.finished:
        run = ledger.finished.run_id[:12]
        found.append(("Train again what speaks, and compare clip by clip", f"mer-bench reproduce {run}"))
    if ledger.journal is not None and ledger.journal.is_file():
        found.append(("Look at its trials", f"optuna-dashboard {shlex.quote(journal)}"))
    return found


def _search(ledger: Ledger, count: int) -> str:
    asked, sampler = ledger.question, ledger.question.get("sampler", "tpe")
    train, _, test = ledger.task.partition(">")
    words = ["mer-bench", "search", ledger.model, *(["--train", train, "--test", test] if test else ["--task", train])]
    words += ["--trials", str(count)]
    words += ["--sampler", sampler] if sampler != "tpe" else []
    words += ["--seed", str(asked["seed"])] if asked.get("seed") else []
    words += ["--seeds", str(ledger.result.seeds)] if ledger.result and ledger.result.seeds > 1 else []
    racing = asked.get("racing", False)
    words += [] if racing == (sampler not in STRICT) else ["--race" if racing else "--no-race"]
    words += ["--inner-folds", str(asked["inner_folds"])] if asked.get("inner_folds", 1) != 1 else []
    words += ["--trial-timeout", f"{asked['trial_timeout']:g}s"] if asked.get("trial_timeout") else []
    words += ["--scale", asked["scale"]] if asked.get("scale", "task") != "task" else []
    words += ["--no-refit"] if ledger.result and not any(r in ledger.result.rules for r in ("nested", "shared")) else []
    for name, value in sorted((asked.get("pinned") or {}).items()):
        words += ["--set", f"{name}={value}"]
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
