"""A result as MLflow shows it: metrics and params under names and lengths that it accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mer_bench.records.scores import Result, table

MAX_PARAMS, MAX_KEY, MAX_PARAM = 100, 250, 6000


def metrics(result: Result) -> dict[str, float]:
    """The numbers of a result under names that MLflow accepts, the rule first."""
    found: dict[str, float] = {}
    for row in table(result).iter_rows(named=True):
        name = ".".join(part for part in (row["rule"], row["corpus"], row["metric"]) if part)
        values = {name: row["value"], f"{name}.low": row["low"], f"{name}.high": row["high"]}
        found |= {key(k): float(v) for k, v in values.items() if v is not None}
    found |= {key(f"{rule}.chance"): float(value) for rule, value in result.chance.items()}
    names = ("seconds", "parameters", "macs", "latency", "trials", "folds_done", "folds_total", "seeds")
    cost = {k: getattr(result, k) for k in names}
    return found | {k: float(v) for k, v in cost.items() if v is not None}


def flatten(question: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested question as MLflow params: `recipe.lr -> 0.0008`, at most 100, values cut to MLflow's length."""
    flat: dict[str, str] = {}
    for name, value in question.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            text = json.dumps(value, default=plain) if isinstance(value, list | tuple) else str(value)
            flat[key(f"{prefix}{name}")] = text[:MAX_PARAM]
    return dict(list(flat.items())[:MAX_PARAMS])


def key(name: str) -> str:
    """A name that MLflow takes: letters, digits, `_ - . /` and space, and no path that is not in normal form."""
    return re.sub(r"[^A-Za-z0-9_\-. ]", "_", name)[:MAX_KEY].lstrip(".") or "_"


def plain(value: Any) -> Any:
    """NumPy scalars as numbers, paths and the rest as text."""
    return value.item() if hasattr(value, "item") else str(value)
