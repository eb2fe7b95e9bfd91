"""Worker processes: how many, here or elsewhere, started without running the caller's script again in each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType
from typing import Protocol, TypeVar

from mer_bench.contracts import MerBenchError, UsageError

ENVIRONMENT = {
    # two-thread OpenMP that spins beside another job slows both many times over
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    # tables of a few hundred rows: handing them to threads costs more than the work
    "POLARS_MAX_THREADS": "1",
    # a search builds thousands of layer shapes, and torch would keep 1,024 compiled ones in each of these caches
    "LRU_CACHE_CAPACITY": "256",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
    # every trial is a new thread with a heap of its own, and what these heaps free is not given back: 0.8 GB after 20
    # trials and growing, against 0.57 GB and level with one heap
    "MALLOC_ARENA_MAX": "1",
}
"""What worker processes are started with, unless the caller's environment says otherwise."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class Pool(Protocol):
    """Workers elsewhere, on a cluster."""

    def spread(self, work: Callable[[Item], Made], items: Sequence[Item], doing: str) -> Iterator[Made]:
        """`work` over items, as they are done."""
        ...


Workers = int | Pool
"""How many processes here, or others elsewhere."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(asked: int | None) -> int:
    """The number asked for, or one a core.

    Raises:
        UsageError: fewer than one.
    """
    if asked is not None and asked < 1:
        raise UsageError(f"--workers {asked}: at least one")
    return asked or cores()


def calm() -> dict[str, str]:
    """Let processes started from here on run with `ENVIRONMENT`, and return what it now is."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return {name: os.environ[name] for name in ENVIRONMENT}


def spread(
    work: Callable[[Item], Made],
    items: Sequence[Item],
    processes: Workers,
    doing: str,
    *,
    ordered: bool = False,
    prepare: Callable[[], object] | None = None,
) -> Iterator[Made]:
    """`work` over items in worker processes: as they are done, or in the items' order.

    Args:
        work: picklable.
        items: picklable.
        processes: how many here, or a pool elsewhere, which keeps no order; with one, everything happens here.
        doing: what the workers do, for the error.
        ordered: yield in the items' order.
        prepare: called once in each worker.

    Raises:
        MerBenchError: a worker died.
    """
    if not isinstance(processes, int):
        yield from processes.spread(work, items, doing)
        return
    if processes == 1 or len(items) < 2:
        yield from map(work, items)
        return
    calm()
    try:
        with ProcessPoolExecutor(min(processes, len(items)), get_context("spawn"), prepare) as pool:
            with hidden_script():
                futures = [pool.submit(work, item) for item in items]
            for future in futures if ordered else as_completed(futures):
                yield future.result()
    except BrokenProcessPool:
        raise MerBenchError(f"a worker process died while {doing}; is there memory enough?") from None


@contextmanager
def hidden_script() -> Iterator[None]:
    """Start processes without running the caller's script again in each of them.

    They need nothing of it, and a script without an `if __name__ == "__main__"` would ask for the same work again and
    wait for the lock that this process holds.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
