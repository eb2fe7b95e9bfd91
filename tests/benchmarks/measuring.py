"""What the speed benchmarks share: paired interleaved medians, a section of the report, the machine in words.

A benchmark is a script that prints one Markdown section: a heading, how it was measured, a table with ratios first.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 3
"""Processes, one after another, in which a ratio is measured: where one happens to place its memory moves it."""
ALONE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONPATH": str(ROOT),
}
"""Environment of a benchmark: one thread per process, and the code that lies beside it."""


def paired(ways: Mapping[str, Callable[[], object]], repeats: int, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of each way, taken in turn, so that a slow moment of the machine meets all of them."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm + repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn >= warm:
                taken[name].append(time.perf_counter() - began)
        print(f"{turn + 1}/{warm + repeats}", *(f"{n} {v[-1]:.4f}" for n, v in taken.items() if v), file=sys.stderr)
    return taken


@contextmanager
def worker() -> Iterator[Callable[..., Any]]:
    """Call what is given in a process started as the project starts its own, whatever environment this one has."""
    from mer_bench import processes

    processes.calm()  # this process has read its own environment long ago
    with ProcessPoolExecutor(1, get_context("spawn"), _begin) as pool:
        yield lambda work, *about: pool.submit(work, *about).result()


@contextmanager
def by_hand(make: Callable[[], Callable[[Any], object]]) -> Iterator[Callable[[Any], None]]:
    """Call, in a process started as one starts a script (one thread, nothing else set), the work that is made there."""
    from mer_bench import processes

    kept = {name: os.environ.pop(name) for name in processes.ENVIRONMENT if name in os.environ}
    os.environ["OMP_NUM_THREADS"] = "1"
    here, there = get_context("spawn").Pipe()
    script = get_context("spawn").Process(target=_serve, args=(there, make), daemon=True)
    try:
        script.start()
    finally:
        os.environ.update(kept)
    there.close()  # so that its end is told here

    def ask(what: Any) -> None:
        here.send(what)
        here.recv()

    try:
        here.recv()
        yield ask
    finally:
        here.close()
        script.join()


def _serve(pipe: Connection, make: Callable[[], Callable[[Any], object]]) -> None:
    """Make the work, and do it whenever asked, until nobody asks."""
    import torch

    torch.set_num_threads(1)
    work = make()
    with suppress(EOFError):
        while True:
            pipe.send(None)
            work(pipe.recv())


def anew(
    ways: Callable[[Callable[..., Any], Callable[[Any], None]], Mapping[str, Callable[[], object]]],
    plain: Callable[[], Callable[[Any], object]],
    repeats: int,
) -> dict[str, list[float]]:
    """`paired`, in `PROCESSES` fresh pairs of processes; `ways` is given how to call a worker and a plain script."""
    taken: dict[str, list[float]] = {}
    for _ in range(PROCESSES):
        with worker() as there, by_hand(plain) as script:
            for name, seconds in paired(ways(there, script), repeats).items():
                taken.setdefault(name, []).extend(seconds)
    return taken


def _begin() -> None:
    """What the project's processes do before they train."""
    import torch

    from mer_bench import processes

    torch.set_num_threads(1)
    processes.keep_pages()


def ratio(taken: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """Median over the pairs of `slow` / `fast`."""
    return statistics.median(a / b for a, b in zip(taken[slow], taken[fast], strict=True))


def median(seconds: Sequence[float]) -> float:
    """Their median."""
    return statistics.median(seconds)


def verdict(value: float, wanted: float, *, most: bool = False) -> str:
    """A ratio beside the one that is wanted at least (or at most), and whether it is met."""
    met = value <= wanted if most else value >= wanted
    return f"{'at most' if most else 'at least'} {wanted:g}: {'met' if met else '**missed**'}"


def laid(precision: Any) -> str:
    """A trainer's format in words."""
    return f"{'bf16' if precision.bf16 else 'fp32'}{', channels last' if precision.channels_last else ''}"


def section(title: str, words: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown section with one table; numbers are rounded to three digits."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(shown(cell) for cell in row) + " |" for row in rows]
    return f"## {title}\n\n{words.strip()}\n\n" + "\n".join(lines) + "\n"


def shown(cell: object) -> str:
    """A table's cell."""
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def machine(device: str = "cpu") -> str:
    """The machine and the versions that figures belong to, in one line."""
    import cv2
    import numpy
    import sklearn
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    chip = (
        torch.cuda.get_device_name() if device == "cuda" else f"no GPU used, {torch.backends.cpu.get_cpu_capability()}"
    )
    versions = {
        "Python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
        "OpenCV": cv2.__version__, "scikit-learn": sklearn.__version__,
    }  # fmt: skip
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{_processor()}, {cores} processors, {memory:.0f} GiB, {chip}; {platform.system()}; {said}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return f"{named} ({platform.machine()})" if named else platform.machine()


def private_memory(process: int | str = "self") -> float:
    """Proportional set size of a process, MiB: its own pages, and its share of those that others use too."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise OSError("the kernel states no proportional set size")
