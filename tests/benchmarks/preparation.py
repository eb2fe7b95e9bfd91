"""How fast frames become inputs: faces found, frames cut, flow computed, arrays written.

    python tests/benchmarks/preparation.py

A drawn corpus in CASME II's shape (280x340 JPEG frames). Each view is prepared from nothing; the frames were written
a moment before, so that reading them costs no disk. One process, and one for each processor.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import cv2
import measuring
import shaped

from mer_bench import catalog, processes
from mer_bench.pixels import inputs

SIZES = (12, 12, 12, 12)
VIEWS = ("flow@28", "onset_apex@48", "onset_apex@224", "onset_apex@224+near", "clip@128", "flow_clip@28")
DFME = 7526


def prepared(task: str, view: str) -> float:
    """Seconds to prepare a view from nothing."""
    for folder in (catalog.home() / "inputs").glob("shaped-*"):
        shutil.rmtree(folder)
    began = time.perf_counter()
    inputs.load(task, view)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    rows, cores = [], processes.cores()
    with tempfile.TemporaryDirectory() as home:
        task = shaped.install(Path(home), SIZES)
        cv2.setNumThreads(1)
        clips = len(inputs.load(task, "flow@28").clips)
        for view in VIEWS:
            taken = {}
            for way, count in (("one", 1), ("all", cores)):
                processes.cores = lambda count=count: count  # type: ignore[misc]
                taken[way] = sorted(prepared(task, view) for _ in range(3))[1]
            seconds = taken["all"] / clips
            rows.append(
                (view, taken["one"] / taken["all"], 1000 * taken["one"] / clips, 1000 * seconds, DFME * seconds / 60)
            )
    head = (
        "view",
        "one process / all",
        "one, ms a clip",
        f"{cores} processes, ms a clip",
        "DFME so, minutes (estimated)",
    )
    words = f"{__doc__.split(chr(10) * 2)[2].strip()} {clips} clips; starting the processes is counted."
    print(measuring.section("Preparation", words, head, rows))


if __name__ == "__main__":
    main()
