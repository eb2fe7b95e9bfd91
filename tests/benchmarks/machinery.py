"""What a trial costs beside its training: 200 trials that train nothing, end to end.

    python tests/benchmarks/machinery.py [--trials 200] [--workers 2] [--sampler tpe] [--profile]

A trial has eight folds of a model that learns nothing (corpus `specks-3`); its records are written all the same.
First the parts, one after another in this process: Optuna (ask and tell, with its journal), records (folds written and
read, the trial closed), MLflow (one child run). Then the whole command with Ray, whose share is what remains.
"""

import argparse
import contextlib
import cProfile
import os
import pstats
import shutil
import sys
import tempfile
import time
from pathlib import Path

from mer_bench import processes

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
MODEL = """
import numpy as np

from mer_bench.contracts import Baseline


class Idle:
    def __init__(self, num_classes, *, depth: int = 1, rate: float = 0.1, kind: str = "a"):
        self.classes = num_classes

    def fit(self, inputs, labels):
        pass

    def predict_proba(self, inputs):
        count = len(inputs["flow"])
        said = np.random.default_rng(count).random((count, self.classes)) + 0.1
        return said / said.sum(1, keepdims=True)


def suggest(trial):
    trial.suggest_int("depth", 1, 8)
    trial.suggest_float("rate", 1e-4, 1.0, log=True)
    trial.suggest_categorical("kind", ["a", "b", "c"])


BASELINE = Baseline(model=Idle, view="flow@28", suggest=suggest)
"""


class Clock:
    """Seconds spent under each name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextlib.contextmanager
    def of(self, name: str):
        began = time.perf_counter()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began


def parts(folder: Path, count: int, sampler: str) -> dict[str, float]:
    """Seconds of each part over `count` trials, one after another in this process."""
    import crowd

    from mer_bench import predictions
    from mer_bench.contracts import Scale
    from mer_bench.records import tracking
    from mer_bench.searching import trials
    from mer_bench.searching.proposer import Proposer
    from mer_bench.searching.space import Space
    from mer_bench.searching.studies import Study
    from mer_bench.training.fold import train

    clock = Clock()
    space = Space(str(folder / "idle.py"), {})
    study = Study(space, "specks-3", Scale(image_size=28), sampler, count, 0, folder / "parts", tuple(crowd.FOLDS))
    tracker = tracking.open()
    run_id = tracker.start("parts", "search", "idle.py", "specks-3", {})
    proposer = Proposer(study)
    for _ in range(count):
        with clock.of("Optuna"):
            number, values = proposer.next()
        with clock.of("records"):
            for place in range(len(study.folds)):
                trials.run_fold(study, number, place)
            end = trials.close(study, number, trials.COMPLETE)
        with clock.of("Optuna"):
            proposer.tell(end)
        with clock.of("MLflow"):
            tracker.trial(run_id, number, values, {"inner_uf1": end.inner_uf1}, end.state, trials.passed(study, number))
    with clock.of("training"):
        for fold in study.folds:
            train(study.training(fold, values))
    clock.spent["training"] *= count
    clock.spent["records"] -= clock.spent["training"]
    assert len(predictions.record(trials.passed(study, 0))["folds"]) == len(study.folds)
    return clock.spent


def whole(folder: Path, count: int, workers: int, sampler: str) -> float:
    """Seconds of the whole command, from question to recorded answer."""
    from mer_bench.answering import commands

    began = time.perf_counter()
    options = {"trials": count, "workers": workers, "sampler": sampler, "refit": False, "race": False}
    answer = commands.search(str(folder / "idle.py"), "specks-3", rules=("nested-no-refit",), **options)
    assert answer.result.effort["complete"] == count
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--trials", type=int, default=200)
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--sampler", default="tpe")
    asked.add_argument("--profile", action="store_true", help="of the driver, while the whole command runs")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "home" / "datasets").mkdir(parents=True)
        shutil.copy(HERE.parent / "specks.py", folder / "home" / "datasets")
        (folder / "idle.py").write_text(MODEL)
        os.environ["MER_BENCH_HOME"] = str(folder / "home")
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        os.chdir(folder)
        processes.calm()  # the parts are timed as in a worker
        spent = parts(folder, options.trials, options.sampler)
        profile = cProfile.Profile()
        with profile if options.profile else contextlib.nullcontext():
            seconds = whole(folder, options.trials, options.workers, options.sampler)
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
        os.chdir(HERE)
    print(f"{options.trials} trials of eight folds, {options.sampler}, part by part:")
    for name, total in spent.items():
        print(f"  {name:10} {total:7.2f} s  {1000 * total / options.trials:7.1f} ms a trial")
    print(f"whole command, {options.workers} workers: {seconds:.1f} s, {seconds / options.trials:.3f} s a trial")


if __name__ == "__main__":
    main()
