"""mer-bench: micro-expression recognition under one honest leave-one-subject-out protocol.

from mer_bench import run, search, report
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mer_bench.commands import report, run, search
    from mer_bench.comparing import compare

__all__ = ["compare", "report", "run", "search"]


def __getattr__(name: str) -> Any:
    """Commands load torch and MLflow; they are imported when first used."""
    if name in __all__:
        from mer_bench import commands, comparing

        return getattr(comparing if name == "compare" else commands, name)
    raise AttributeError(f"module 'mer_bench' has no attribute {name!r}")
