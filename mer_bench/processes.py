"""Worker processes: how many, here or elsewhere, started without running the caller's script again in each."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
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

PICTURES, TRAINING = ("mer_bench.pixels.inputs", "dlib"), ("torch", "torch._dynamo", "mer_bench.training.fold")
"""What is loaded before processes are forked; `torch._dynamo` is what a first optimiser loads."""

Item = TypeVar("Item")
Made = TypeVar("Made")


TRIM, MMAP = (-1, 2**31 - 1), (-4, 0)
"""`mallopt`'s names and what is set: free memory at the heap's top that is kept, and how many pieces are taken apart
from it (the size from which that is done could be set to 32 MiB at most; MMNet's layers exceed it at 224 pixels)."""


class Pool(Protocol):
    """Workers that outlive one spread: here, or elsewhere on a cluster."""

    def spread(self, work: Callable[[Item], Made], items: Sequence[Item], doing: str) -> Iterator[Made]:
        """`work` over items, as they are done."""
        ...


Workers = int | Pool
"""How many processes to start here for each spread, or a pool that is there."""


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


def keep_pages() -> None:
    """Let glibc keep what this process frees, up to 2 GiB, unless `MALLOC_TRIM_THRESHOLD_` says otherwise.

    A training step frees its pictures and the next one asks for them again. Given back and cleared anew each time they
    take half of STSTNet's time, 8,000 pages a step, and an eighth of MMNet's at 224 pixels, 300,000 a step.
    """
    import ctypes  # which the command's --help need not wait for

    tune = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tune and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        for name, value in (TRIM, MMAP):
            tune(name, value)


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
        processes: how many here, or a pool, which keeps no order; with one, everything happens in this process.
        doing: what the workers do, for the error.
        ordered: yield in the items' order.
        prepare: called once in each worker.

    Raises:
        MerBenchError: a worker died.
    """
    if not isinstance(processes, int):
        yield from processes.spread(work, items, doing)
        return
    with closing(Here(processes, prepare)) as pool:
        yield from pool.spread(work, items, doing, ordered=ordered)


class Here:
    """Processes of this machine, started when they are first needed.

    Args:
        count: at most so many; with one, everything happens in this process.
        prepare: called once in each.
    """

    def __init__(self, count: int, prepare: Callable[[], object] | None = None) -> None:
        self._count, self._prepare = count, prepare
        self._started: ProcessPoolExecutor | None = None

    def spread(
        self, work: Callable[[Item], Made], items: Sequence[Item], doing: str, *, ordered: bool = False
    ) -> Iterator[Made]:
        """As the function `spread`; what has not begun when the caller stops asking is not begun."""
        if self._count == 1 or len(items) < 2:
            yield from map(work, items)
            return
        calm()
        futures: list[Future[Made]] = []
        try:
            self._started = self._started or self._start()
            with hidden_script():
                futures += [self._started.submit(work, item) for item in items]
            for future in futures if ordered else as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            self.close()
            raise MerBenchError(f"a worker process died while {doing}; is there memory enough?") from None
        finally:
            for future in futures:
                future.cancel()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._count, _context(), _begin, (dict(os.environ), self._prepare))

    def close(self) -> None:
        """End the processes."""
        if self._started:
            self._started.shutdown()
        self._started = None


def _context() -> BaseContext:
    """Forked from one process that loads what takes long and does nothing else; elsewhere that is not safe."""
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    # who only prepares pictures need not wait for torch
    context.set_forkserver_preload([*PICTURES, *(TRAINING if "torch" in sys.modules else ())])
    return context


def _begin(environment: Mapping[str, str], prepare: Callable[[], object] | None) -> None:
    """What each process does first: the one it is forked from knows the environment of its own start alone."""
    os.environ.clear()
    os.environ.update(environment)
    end_with_starter()
    if prepare:
        prepare()


def end_with_starter() -> None:
    """Let this process end when the one that started it is gone: killed, it can tell nobody.

    A call that never lets go of the interpreter delays it until that call returns.
    """
    threading.Thread(target=_ended_with, args=(parent_process(),), daemon=True).start()


def _ended_with(starter: BaseProcess) -> None:
    starter.join()
    os._exit(1)


@contextmanager
def kept(processes: Workers) -> Iterator[Workers]:
    """The same workers for several spreads."""
    if not isinstance(processes, int):
        yield processes
        return
    with closing(Here(processes)) as pool:
        yield pool


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
