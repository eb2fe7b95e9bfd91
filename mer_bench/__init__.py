"""mer-bench: micro-expression recognition under one honest leave-one-subject-out protocol.

from mer_bench import run, search, report
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer_bench.answering.commands import report, run, search
    from mer_bench.answering.comparing import compare
    from mer_bench.answering.fitting import fit
    from mer_bench.answering.predicting import predict

__all__ = ["compare", "fit", "predict", "report", "run", "search"]
HOMES = {"compare": "comparing", "fit": "fitting", "predict": "predicting"}
"""Modules of those that `commands` does not hold."""


def __getattr__(name: str) -> Any:
    """Commands load torch and MLflow; they are imported when first used."""
    if name in __all__:
        return getattr(import_module(f"mer_bench.answering.{HOMES.get(name, 'commands')}"), name)
    raise AttributeError(f"module 'mer_bench' has no attribute {name!r}")
