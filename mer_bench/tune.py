"""The search: Ray Tune runs trials, Optuna proposes them, a trial is one pass over the folds.

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
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mer_bench import loso, predictions, selection
from mer_bench.contracts import MerBenchError, Scale
from mer_bench.fold import Training
from mer_bench.seeds import seed
from mer_bench.space import STRICT, Space, draw

METRIC = "inner_uf1"
OBJECT_STORE = 200 * 2**20


@dataclass(frozen=True)
class Study:
    """The resolved question of a search.

    Attributes:
        space, task, scale: what is searched, on what, at which size.
        sampler: tpe (adaptive) or qmc, random (strict).
        trials: how many, trial 0 being the published setting at the task's scale.
        seed: of proposals and of the trials' trainings.
        folder: where passes go, absolute; shared storage on a cluster.
        bf16, channels_last: the probe's answer for trial 0.
        device: cpu, cuda or mps.
    """

    space: Space
    task: str
    scale: Scale
    sampler: str
    trials: int
    seed: int
    folder: Path
    bf16: bool
    channels_last: bool
    device: str

    @property
    def strictness(self) -> str:
        """`strict` if no proposal has seen any subject's labels, else `adaptive`."""
        return "strict" if self.sampler in STRICT else "adaptive"

    def trial_folder(self, number: int) -> Path:
        """Where a trial's pass lies."""
        return self.folder / f"trial-{number:04d}"

    def training(self, fold: str, values: Mapping[str, Any]) -> Training:
        """One fold's training of a proposal, validation subjects kept back."""
        setting = self.space.setting(values, self.scale)
        return Training(
            self.task,
            setting,
            self.seed,
            fold,
            validation=True,
            bf16=self.bf16,
            channels_last=self.channels_last,
            device=self.device,
        )


@dataclass(frozen=True)
class TrialRecord:
    """How a trial ended: its number, values, objective and folder; `error` says why it has none."""

    number: int
    values: Mapping[str, Any]
    inner_uf1: float | None
    seconds: float
    folder: Path | None
    error: str = ""


def run_trial(study: Study, number: int, values: Mapping[str, Any]) -> TrialRecord:
    """One trial: train every fold, write the pass, score the validation subjects.

    A fold whose loss is no longer a number is on record without rows and the other folds go on: what happens in one
    fold must not decide about another. The trial's objective is then 0.
    """
    began = time.perf_counter()
    first = study.training("", values)
    trainings = [replace(first, fold=fold) for fold in loso.folds(study.task, first.setting)]
    record = {"trial": number, "values": dict(values)}
    folder = study.trial_folder(number)
    if not (folder / predictions.DONE).is_file():  # else a worker died after writing: the tables are there
        loso.run_pass(trainings, folder, record)
    diverged = next((f["diverged"] for f in predictions.record(folder)["folds"] if f["diverged"]), "")
    objective = 0.0 if diverged else selection.inner_uf1(folder)
    return TrialRecord(number, values, objective, time.perf_counter() - began, folder, diverged)


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
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
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
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}},
    )
    return True


def _stop_ray() -> None:
    import ray

    ray.shutdown()


@dataclass(frozen=True)
class Refits:
    """How choices are trained once more: on all training subjects of a fold, for `seeds` repetitions.

    `tick_of` gives a rule its progress.
    """

    study: Study
    seeds: int
    workers: int
    tick_of: Callable[[str], loso.Tick | None]


def conclude(rule: str, folders: Mapping[int, Path], refits: Refits) -> selection.Chosen:
    """The test rows that a rule of a study lets speak, refitted where the rule says so.

    A fold whose refit diverges speaks by its choice as it was trained in its trial, and `pass.json` says which.

    Raises:
        MerBenchError: a fold diverged in every trial.
    """
    if rule == "oracle-trial":
        return selection.oracle_trial(folders)
    name = rule.removesuffix("-no-refit")
    choices = (selection.nested if name == "nested" else selection.shared)(folders)
    _complete(choices, folders)
    if name != rule:
        return selection.at_choices(folders, choices)
    again = refits.study.folder / f"refit-{rule}"
    trainings = refit(refits.study, choices, values_of(folders), refits.seeds)
    record = {"choices": {fold: [c.trial, c.epoch] for (_, fold), c in choices.items()}}
    loso.run_pass(trainings, again, record, workers=refits.workers, tick=refits.tick_of(rule))
    lost = {(f["seed"], f["fold"]) for f in predictions.record(again)["folds"] if f["diverged"]}
    stand_in = {(seed, fold): choices[refits.study.seed, fold] for seed, fold in lost}
    return selection.refitted(again, folders, stand_in, refits.study.seed)


def _complete(choices: Mapping[tuple[int, str], selection.Choice], folders: Mapping[int, Path]) -> None:
    folds = {part["fold"] for folder in folders.values() for part in predictions.record(folder)["folds"]}
    missing = sorted(folds - {fold for _, fold in choices})
    if missing:
        raise MerBenchError(f"no trial finished fold {missing[0]} ({len(missing)} in all); lower the learning rates")


def refit(
    study: Study,
    choices: Mapping[tuple[int, str], selection.Choice],
    values: Mapping[int, Mapping[str, Any]],
    seeds: int,
) -> list[Training]:
    """Trainings that repeat each fold's choice on all its training subjects, up to the chosen epoch."""
    return [
        replace(
            study.training(fold, values[choice.trial]),
            validation=False,
            stop_after=choice.epoch,
            seed=study.seed + extra,
        )
        for extra in range(seeds)
        for (_, fold), choice in sorted(choices.items())
    ]


def values_of(folders: Mapping[int, Path]) -> dict[int, dict[str, Any]]:
    """Each trial's proposed values, from its pass record."""
    return {number: predictions.record(folder)["values"] for number, folder in folders.items()}
