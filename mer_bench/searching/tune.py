"""The search: Ray Tune runs a study's trials, fold by fold; the driver proposes, races and keeps the record.

Workers write each finished fold to shared storage and report one number, its loss; they open no database. What the
study concludes is a matter for `selection`, afterwards.

    proposals ─► trial: fold, fold, fold, ... ─► records on disk
        ▲               │ loss
        │               ▼
        │           racing: paired with the incumbent ─► drop, or go on
        └── inner UF1 ──┘

A Tune trial is a worker's whole trial or, when no trial is left to start, one fold of a trial under way: workers that
would stand idle help the last trials to their end.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mer_bench.contracts import MerBenchError
from mer_bench.pixels import cache
from mer_bench.searching import trials
from mer_bench.searching.cluster import RETRIES, Cluster, check_harness, check_shared, joined
from mer_bench.searching.control import SAME_ERROR, Control
from mer_bench.searching.studies import Study
from mer_bench.searching.trials import Ended
from mer_bench.training.fold import Edited

ALL = -1
"""Place of no fold in particular: a worker is asked for a whole trial, or says that it is through."""
STDERR = 2
GRACE = 5.0
"""Seconds after its limit in which a trial should end by itself; one that never lets go of Python is then ended."""


def trainable(config: dict[str, Any], study: Study) -> None:
    """What a Ray worker runs: the folds of one trial, or one of them, that are not on record yet."""
    from ray import tune

    number, asked = config["trial_number"], config["place"]
    with suppress(Exception):  # if they cannot be had, the first fold says why
        trials.prepare(study, number)
    with _limited(study, number):
        for place in range(len(study.folds)) if asked == ALL else [asked]:
            try:
                done = _attempt(study, number, place, config["worker"])
            except Edited as error:
                tune.report({**_nothing(number), "edited": str(error)})
                return
            if done is not None:
                # Ray ends a dropped trial by raising SystemExit from here: it must not be caught
                tune.report({**_nothing(number), "place": place, "loss": done.loss, "diverged": done.diverged})
        if not study.racing:  # a race's driver may be dropping it at this moment, and closes its trials itself
            trials.finish(study, number)
    tune.report(_nothing(number))


def _nothing(number: int) -> dict[str, Any]:
    """What a worker reports of a trial when there is no news of any fold."""
    return {"number": number, "place": ALL, "loss": None, "diverged": "", "edited": ""}


def _attempt(study: Study, number: int, place: int, worker: str) -> trials.FoldRecord | None:
    """One fold; None if another worker has it or if the trial has ended, or ends here with an error.

    An error is on record and the study goes on; only a worker that dies is tried again, by Ray.

    Raises:
        Edited: the method's file is not what the study asks about; the trial stays open.
    """
    if trials.ended(study, number) is not None:
        return None
    try:
        return trials.run_fold(study, number, place, worker)
    except Edited:
        raise
    except (Exception, SystemExit) as error:
        cache.write_text(trials.folder(study, number) / "error.txt", traceback.format_exc())
        trials.close(study, number, trials.FAIL, trials.told(error))
        return None


@contextmanager
def _limited(study: Study, number: int) -> Iterator[None]:
    """End this process if the trial takes longer than the study allows; Ray starts another for the next trial."""
    left = trials.time_left(study, number)
    if left is not None and left <= 0:
        _too_long(study, number)
    if left is None or left <= 0:
        yield
        return

    def give_up() -> None:
        with (trials.folder(study, number) / "error.txt").open("w") as where:
            faulthandler.dump_traceback(where)
        _too_long(study, number)
        os._exit(1)

    timer = threading.Timer(left, give_up)
    timer.daemon = True
    timer.start()
    # no thread of Python's can end what never lets go of the interpreter; the next attempt puts it on record
    faulthandler.dump_traceback_later(left + GRACE, exit=True, file=STDERR)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()


def _too_long(study: Study, number: int) -> None:
    trials.close(study, number, trials.FAIL, f"no end after {study.timeout:g} s, the limit of a trial")


def search(study: Study, cluster: Cluster, on_end: Callable[[Ended], None], budget: float | None = None) -> list[Ended]:
    """Run the trials of a study that have not ended, and return all that have.

    Args:
        study: what to search.
        cluster: where.
        on_end: called in this process as each trial ends.
        budget: seconds after which no more trials start.

    Raises:
        MerBenchError: no trial finished, several in a row ended with the same error, which is given, or the method's
            file was edited.
        KeyboardInterrupt: stopped; what is finished is on record.
    """
    control = Control(study, on_end, budget)
    ended = trials.everything(study)
    trials.clear(study)
    if len(ended) < study.trials:
        trials.forget_attempts(study)  # not where all have ended: another driver may be at further trials
        with joined(cluster):
            if cluster.address:
                check_shared(study.folder)
                check_harness()
            _run(study, cluster, control)
        ended = trials.everything(study)
    if control.edited:
        raise MerBenchError(control.edited)
    if control.broken:
        raise MerBenchError(f"{SAME_ERROR} trials in a row ended with the same error: {control.broken}")
    if len(ended) < study.trials and not (control.out_of_time and control.idle):
        raise KeyboardInterrupt  # Ray takes Ctrl-C for itself and returns as if the study were done
    if not any(end.state == trials.COMPLETE for end in ended):
        raise MerBenchError(f"no trial finished: {next((e.reason for e in ended if e.reason), 'none was started')}")
    return ended


def _run(study: Study, cluster: Cluster, control: Control) -> None:
    from ray import tune

    searcher, scheduler, watcher, stopper = _adapters(control)
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, study=study), cluster.share),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tuner.fit()
    finally:
        for notes in study.folder.glob("ray-*"):
            shutil.rmtree(notes, ignore_errors=True)


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
            if (again := control.again()) is not None:
                return again
            number, place = control.next(), ALL
            if number is None:
                spare = control.spare()
                if spare is None:
                    return Searcher.FINISHED if control.idle else None
                number, place = spare
            return {"trial_number": number, "place": place, "worker": trial_id}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            pass

        def save(self, checkpoint_path: str) -> None:
            pass

        def restore(self, checkpoint_path: str) -> None:
            pass

    class Race(Stays, FIFOScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            control.edited = control.edited or result["edited"]
            out = control.fold(result["number"], result["place"], result["loss"], result["diverged"])
            return str(TrialScheduler.STOP if out else TrialScheduler.CONTINUE)

    class Watcher(Stays, tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            control.end(trial.config["trial_number"])

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            # Ray gives a trial up at once if the worker died while it was handed over from the trial before
            if trial.num_failures <= RETRIES:
                control.give_back(dict(trial.config))
            else:
                control.end(trial.config["trial_number"], _last_line(trial.error_file))

    class Broken(Stays, tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return control.over

    return Proposals(), Race(), Watcher(), Broken()  # type: ignore[no-untyped-call]


def _last_line(path: str | None) -> str:
    lines = Path(path).read_text().strip().splitlines() if path and Path(path).is_file() else []
    return lines[-1] if lines else "its worker died again and again"
