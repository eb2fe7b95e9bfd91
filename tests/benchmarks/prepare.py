"""How quick is `data prepare`, and how much memory does it take?

    python tests/benchmarks/prepare.py [--views flow@112 onset_apex@112] [--corpus synth] [--repeat 3]

Clips a second, from the first clip's onset frame on disk to the last array flushed, worker processes' start included;
the corpus is drawn first and its inputs are made anew each time. Memory is the proportional set size of all processes
of this program, sampled ten times a second. Processor time is that of all of them: divided by the processors it is what
an idle machine needs at least.
"""

import argparse
import os
import resource
import tempfile
import threading
import time
from pathlib import Path

from mer_bench import processes
from mer_bench.pixels import cache, frames, inputs

SAMPLES = 0.1


class Watch:
    """The largest proportional set size of this process and its children, MiB, while it is open."""

    def __enter__(self):
        self.peak, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.wait(SAMPLES):
            self.peak = max(self.peak, sum(map(size, family(os.getpid()))) / 1024)


def family(process):
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name in brackets may hold spaces
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def size(process):
    """Its proportional set size, KiB; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def spent():
    """Processor seconds of this process and of those children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main():
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--views", nargs="+", default=["flow@112", "onset_apex@112"])
    parser.add_argument("--corpus", default="synth")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    table, home = inputs.table(asked.corpus), cache.home()
    print(f"{asked.corpus}: {len(table)} clips, {processes.cores()} processors")
    for name in asked.views:
        for _ in range(asked.repeat):
            with tempfile.TemporaryDirectory() as temporary:
                # the same corpora, inputs of its own
                (Path(temporary) / "corpora").symlink_to(home / "corpora")
                os.environ["MER_BENCH_HOME"] = temporary
                began, before = time.perf_counter(), spent()
                with Watch() as watch:
                    inputs.prepare(asked.corpus, table, frames.parse_view(name))
                took, worked = time.perf_counter() - began, spent() - before
                os.environ["MER_BENCH_HOME"] = str(home)
            rate = f"{len(table) / took:.1f} clips a second ({took:.2f} s, {worked:.2f} s of processor time)"
            print(f"{name}: {rate}, at most {watch.peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
