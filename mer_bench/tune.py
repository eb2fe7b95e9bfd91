"""The search: Ray Tune runs a study's trials, Optuna proposes them.

Workers hand back tables (a pass folder on shared storage) and one number, the pooled inner-validation UF1; they open no
database. What the study concludes is a matter for `selection`, afterwards.

    space ─► proposals ─► trial: one training per fold, validation subjects kept back ─► pass folder, inner UF1
                ▲                                                                              │
                └──────────────────────── Optuna (adaptive samplers) ◄─────────────────────────┘
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import predictions, processes
from mer_bench.contracts import MerBenchError
from mer_bench.seeds import seed
from mer_bench.space import STRICT, Space, draw
from mer_bench.studies import Study, TrialRecord, run_trial

METRIC = "inner_uf1"
OBJECT_STORE = 200 * 2**20


def trainable(config: dict[str, Any], study: Study) -> None:
    """What a Ray worker runs."""
    from ray import tune

    number = config["trial_number"]
    try:
        done = run_trial(study, number, {k: v for k, v in config.items() if k != "trial_number"})
        said = {METRIC: done.inner_uf1, "seconds": done.seconds, "error": done.error}
    except Exception as error:
        # the trial is on record as failed and the study goes on; only a worker that dies is tried again, by Ray
        study.trial_folder(number).with_suffix(".error").write_text(traceback.format_exc())
        said = {METRIC: 0.0, "seconds": 0.0, "error": f"{type(error).__name__}: {error}"}
    tune.report({**said, "number": number})


@dataclass(frozen=True)
class Numbered:
    """A space that also tells a trial its number, which names its folder."""

    space: Space

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Ask a trial."""
        return {**self.space(trial), "trial_number": trial.number}


def search(study: Study, workers: int, on_trial: Callable[[TrialRecord], None]) -> dict[int, Path]:
    """Run a study's trials and return their pass folders by number.

    Args:
        study: what to search.
        workers: trials at the same time.
        on_trial: called in this process as each trial ends.

    Raises:
        MerBenchError: no trial finished; the first reason is given.
    """
    records: list[TrialRecord] = []

    def keep(record: TrialRecord) -> None:
        records.append(record)
        on_trial(record)

    ours = _start_ray(workers, study.device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _tuner(study, workers, keep).fit()
    finally:
        if ours:
            _stop_ray()
    if len(records) < study.trials:
        raise KeyboardInterrupt  # Ray takes Ctrl-C for itself and returns as if the study were done
    found = {r.number: r.folder for r in records if r.folder is not None}
    if not found:
        raise MerBenchError(f"no trial finished: {next((r.error for r in records), 'none was started')}")
    return dict(sorted(found.items()))


def _tuner(study: Study, workers: int, keep: Callable[[TrialRecord], None]) -> Any:
    from ray import tune

    share: dict[str, float] = {"cpu": 1, "gpu": 1 / workers} if study.device == "cuda" else {"cpu": 1}
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, study=study), share),
        tune_config=tune.TuneConfig(
            search_alg=_proposer(study),
            num_samples=study.trials,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(study.folder),
            verbose=0,
            callbacks=[_callback(study, keep)],
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )


def _proposer(study: Study) -> Any:
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if study.sampler in STRICT:
        points: Sequence[dict[str, Any]] = draw(study.space, study.sampler, study.seed, study.trials)
    else:
        points = [study.space.default()]
    sampler = optuna.samplers.TPESampler(
        multivariate=True,
        group=True,
        constant_liar=True,
        n_startup_trials=min(20, max(5, study.trials // 5)),
        seed=seed("tpe", study.seed) % 2**32,
    )
    return OptunaSearch(
        Numbered(study.space),
        metric=METRIC,
        mode="max",
        points_to_evaluate=list(points),
        sampler=sampler,
        study_name=study.folder.name,
    )


def _callback(study: Study, keep: Callable[[TrialRecord], None]) -> Any:
    from ray.tune import Callback

    class Watcher(Callback):
        """Hands each ended trial to the driver."""

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            said = trial.last_result
            path = study.trial_folder(said["number"])
            folder = path if (path / predictions.DONE).is_file() else None
            keep(TrialRecord(said["number"], _values(trial), said[METRIC], said["seconds"], folder, said["error"]))

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            reason = _last_line(trial.error_file)
            keep(TrialRecord(trial.config["trial_number"], _values(trial), None, 0.0, None, reason))

    return Watcher()


def _values(trial: Any) -> dict[str, Any]:
    return {k: v for k, v in trial.config.items() if k != "trial_number"}


def _last_line(path: str | None) -> str:
    lines = Path(path).read_text().strip().splitlines() if path and Path(path).is_file() else []
    return lines[-1] if lines else "a worker died"


def _start_ray(workers: int, device: str) -> bool:
    """A Ray of our own, unless the caller has one: no dashboard, no log lines, little shared memory, passive workers.

    Returns:
        Whether it was started here, and so is to be stopped here.
    """
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_TRAIN_V2_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_WARN_THRESHOLD_S": "60",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    processes.calm()
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return False
    ray.init(
        num_cpus=workers,
        num_gpus=1 if device == "cuda" else 0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        object_store_memory=OBJECT_STORE,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **processes.ENVIRONMENT}},
    )
    return True


def _stop_ray() -> None:
    import ray

    ray.shutdown()
