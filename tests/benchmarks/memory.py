"""How much memory a search's worker takes beyond torch.

    python tests/benchmarks/memory.py [--trials 12] [--folds 2]

One process as a search starts its workers (their environment, each trial in a thread of its own) trains drawn
proposals of MMNet's space on synth-3, some folds of each. Its proportional set size (a page that processes share is
counted in parts) is read after every trial; what `import torch` alone takes is subtracted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import measuring

WANTED = 1000.0
"""MB beyond torch."""
BASE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import measuring, torch;"
    "torch.nn.Conv2d(3, 4, 3)(torch.zeros(1, 3, 9, 9)).sum().backward(); print(measuring.private_memory())"
)


def work(trials: int, folds: int) -> None:
    """In the worker: print the proportional set size after each trial."""
    from mer_bench import catalog
    from mer_bench.pixels import inputs
    from mer_bench.searching import space
    from mer_bench.searching.studies import Study
    from mer_bench.training import fold, loso

    task, mmnet = "synth-3", space.Space("mmnet", {})
    scale = catalog.task(task).scale
    formats = {"bf16": True, "channels_last": True, "device": "cpu"}
    study = Study(mmnet, task, scale, "random", trials, 0, Path("unused"), (), **formats)
    for view in space.views(mmnet, scale):
        inputs.load(task, view)

    ended = []

    def trial(values: dict[str, object]) -> None:
        training = study.training("", values)
        for name in loso.folds(task, training.setting)[:folds]:
            fold.train(replace(training, fold=name))
        ended.append(values)

    for values in space.draw(mmnet, "random", 0, trials):
        thread = threading.Thread(target=trial, args=(values,))
        thread.start()
        thread.join()
        if ended[-1:] != [values]:
            sys.exit("a trial failed")
        print(json.dumps(measuring.private_memory()), flush=True)


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--trials", type=int, default=12)
    asked.add_argument("--folds", type=int, default=2)
    asked.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.work:
        work(given.trials, given.folds)
        return
    from mer_bench import processes

    around = {**os.environ, **processes.ENVIRONMENT}
    here = str(Path(__file__).parent)
    base = subprocess.run([sys.executable, "-c", BASE, here], env=around, capture_output=True, text=True, check=True)
    options = ["--work", "--trials", str(given.trials), "--folds", str(given.folds)]
    done = subprocess.run(
        [sys.executable, __file__, *options], env=around, stdout=subprocess.PIPE, text=True, check=True
    )
    torch_alone, found = float(base.stdout), [float(line) for line in done.stdout.split()]
    beyond = [size - torch_alone for size in found]
    rows = [
        ("largest, beyond torch", max(beyond), measuring.verdict(max(beyond), WANTED, most=True)),
        ("after a third of the trials, beyond torch", beyond[len(beyond) // 3], ""),
        ("at the end, beyond torch", beyond[-1], ""),
        ("`import torch` and one convolution", torch_alone, ""),
    ]
    words = f"{__doc__.split(chr(10) * 2)[2].strip()} {given.trials} trials of {given.folds} folds."
    print(measuring.section("Memory of a search's worker", words, ("what", "MiB", "wanted"), rows))


if __name__ == "__main__":
    main()
