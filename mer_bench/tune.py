"""The search: Ray Tune runs a study's trials, fold by fold; the driver proposes, races and keeps the record.

Workers write each finished fold to shared storage and report one number, its loss; they open no database. What the
study concludes is a matter for `selection`, afterwards.

    proposals ─► trial: fold, fold, fold, ... ─► records on disk
        ▲               │ loss
        │               ▼
        │           racing: paired with the incumbent ─► drop, or go on
        └── inner UF1 ──┘
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import cache, processes, trials
from mer_bench.contracts import MerBenchError
from mer_bench.control import SAME_ERROR, Control
from mer_bench.studies import Study
from mer_bench.trials import Ended

OBJECT_STORE = 200 * 2**20
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_V2_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
}
RETRIES = 10


@dataclass(frozen=True)
class Cluster:
    """Where trials run.

    Attributes:
        workers: trials at the same time.
        address: of a running Ray cluster; None starts one on this machine.
        gpus_per_trial: share of a GPU that a trial takes; None divides this machine's among its workers.
    """

    workers: int
    address: str | None = None
    gpus_per_trial: float | None = None


def trainable(config: dict[str, Any], study: Study) -> None:
    """What a Ray worker runs: the folds of one trial that are not on record yet."""
    from ray import tune

    number = config["trial_number"]
    with _limited(study, number):
        for place in range(len(study.folds)):
            done = _attempt(study, number, place)
            if done is None:
                break
            # Ray ends a dropped trial by raising SystemExit from here: it must not be caught
            tune.report({"number": number, "place": place, "loss": done.loss, "diverged": done.diverged})
        else:
            trials.close(study, number, trials.COMPLETE)
    tune.report({"number": number, "place": -1, "loss": None, "diverged": ""})


def _attempt(study: Study, number: int, place: int) -> trials.FoldRecord | None:
    """One fold; None if the trial has ended, or ends here with an error.

    An error is on record and the study goes on; only a worker that dies is tried again, by Ray.
    """
    if trials.ended(study, number) is not None:
        return None
    try:
        return trials.run_fold(study, number, place)
    except (Exception, SystemExit) as error:
        cache.write_text(trials.folder(study, number) / "error.txt", traceback.format_exc())
        trials.close(study, number, trials.FAIL, f"{type(error).__name__}: {error}")
        return None


@contextmanager
def _limited(study: Study, number: int) -> Iterator[None]:
    """End this process if the trial takes longer than the study allows; Ray starts another for the next trial."""
    if study.timeout is None:
        yield
        return

    def give_up() -> None:
        trials.close(study, number, trials.FAIL, f"no end after {study.timeout:g} s, the limit of a trial")
        os._exit(1)

    timer = threading.Timer(study.timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def search(study: Study, cluster: Cluster, on_end: Callable[[Ended], None], budget: float | None = None) -> list[Ended]:
    """Run the trials of a study that have not ended, and return all that have.

    Args:
        study: what to search.
        cluster: where.
        on_end: called in this process as each trial ends.
        budget: seconds after which no more trials start.

    Raises:
        MerBenchError: no trial finished, or several in a row ended with the same error; that error is given.
        KeyboardInterrupt: stopped; what is finished is on record.
    """
    control = Control(study, on_end, budget)
    ended = trials.everything(study)
    if len(ended) < study.trials:
        for note in study.folder.glob("trial-*/folds/*.begun"):
            note.unlink(missing_ok=True)
        with started(cluster, study.device), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _tuner(study, cluster, control, study.trials - len(ended)).fit()
        ended = trials.everything(study)
    if control.broken:
        raise MerBenchError(f"{SAME_ERROR} trials in a row ended with the same error: {control.broken}")
    if len(ended) < study.trials and not control.out_of_time:
        raise KeyboardInterrupt  # Ray takes Ctrl-C for itself and returns as if the study were done
    if not any(end.state == trials.COMPLETE for end in ended):
        raise MerBenchError(f"no trial finished: {next((e.reason for e in ended if e.reason), 'none was started')}")
    return ended


def _tuner(study: Study, cluster: Cluster, control: Control, count: int) -> Any:
    from ray import tune

    share: dict[str, float] = {"cpu": 1}
    if study.device == "cuda":
        share["gpu"] = cluster.gpus_per_trial or 1 / cluster.workers
    searcher, scheduler, watcher, stopper = _adapters(control)
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, study=study), share),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=count,
            max_concurrent_trials=cluster.workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"ray-{time.time_ns()}",
            storage_path=str(study.folder),
            stop=stopper,
            verbose=0,
            callbacks=[watcher],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
        ),
    )


def _adapters(control: Control) -> tuple[Any, Any, Any, Any]:
    """Ray's searcher, scheduler, callback and stopper, each a thin view of one `Control`."""
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher

    class Stays:
        """Ray copies and pickles what it is given; the record on disk is our memory, so there is nothing to copy."""

        def __deepcopy__(self, memo: Any) -> Any:
            return self

        def __reduce__(self) -> Any:
            return object, ()

    class Proposals(Stays, Searcher):
        def suggest(self, trial_id: str) -> Any:
            number = control.next()
            return Searcher.FINISHED if number is None else {"trial_number": number}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            pass

        def save(self, checkpoint_path: str) -> None:
            pass

        def restore(self, checkpoint_path: str) -> None:
            pass

    class Race(Stays, FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            out = control.fold(result["number"], result["place"], result["loss"], result["diverged"])
            return str(TrialScheduler.STOP if out else TrialScheduler.CONTINUE)

    class Watcher(Stays, tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            control.end(trial.config["trial_number"])

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            control.end(trial.config["trial_number"], _last_line(trial.error_file))

    class Broken(Stays, tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return bool(control.broken)

    return Proposals(), Race(), Watcher(), Broken()  # type: ignore[no-untyped-call]


def _last_line(path: str | None) -> str:
    lines = Path(path).read_text().strip().splitlines() if path and Path(path).is_file() else []
    return lines[-1] if lines else "its worker died again and again"


@contextmanager
def started(cluster: Cluster, device: str) -> Iterator[None]:
    """A Ray of our own unless the caller has one: no dashboard, no log lines, little shared memory, passive workers."""
    processes.calm()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    own = {} if cluster.address else _own(cluster, device)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    try:
        yield
    finally:
        ray.shutdown()


def _own(cluster: Cluster, device: str) -> dict[str, Any]:
    paths = os.pathsep.join(filter(None, sys.path))
    return {
        "num_cpus": cluster.workers,
        "num_gpus": 1 if device == "cuda" else 0,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
        "runtime_env": {"env_vars": {"PYTHONPATH": paths, **processes.ENVIRONMENT}},
    }
