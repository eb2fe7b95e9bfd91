"""Proposals: Optuna asked and told, its memory rebuilt from the trials on disk whenever a study starts or goes on.

Strict proposals are drawn before the start and only kept by Optuna; TPE asks with every option given explicitly. The
journal `optuna.log` in the study's folder is for `optuna-dashboard`; it is written anew from the records at each start.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from mer_bench.searching import trials
from mer_bench.searching.space import STRICT, draw
from mer_bench.searching.studies import Study
from mer_bench.searching.trials import Ended
from mer_bench.seeds import seed


class Proposer:
    """A study's proposals: `next` hands them out, trials that never ended first; `tell` says how one ended."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._optuna = _create(study)
        self._asked: dict[int, Any] = {}
        self._waiting: list[int] = []
        self._drawn = draw(study.space, study.sampler, study.seed, study.trials) if study.sampler in STRICT else []
        for number, values in trials.proposed(study):
            self._enqueue(values)
            self._ask()
            end = trials.ended(study, number)
            if end is None:
                self._waiting.append(number)
            else:
                self.tell(end)

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """A trial's number and values, on record before they are handed out; None when the study has all its trials."""
        if self._waiting:
            number = self._waiting.pop(0)
            values = trials.values(self._study, number)
            assert values is not None
            return number, values
        number = len(self._optuna.trials)
        if number >= self._study.trials:
            return None
        if self._drawn:
            self._enqueue(self._drawn[number])
        elif number == 0:
            self._enqueue(self._study.space.default())
        asked, values = self._ask()
        trials.propose(self._study, asked, values)
        return asked, values

    def tell(self, end: Ended) -> None:
        """How a trial ended: its objective, or that it was dropped and at which fold."""
        import optuna

        trial = self._asked.pop(end.number)
        if end.state == trials.COMPLETE:
            self._optuna.tell(trial, end.inner_uf1)
            return
        # a failed trial counts as dropped before its first fold, or the sampler would come back to it
        folds = end.folds if end.state == trials.PRUNED else 0
        trial.report(end.inner_uf1 if folds else 0.0, folds)
        trial.set_user_attr("reason", end.reason)
        self._optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def _enqueue(self, values: Mapping[str, Any]) -> None:
        self._optuna.enqueue_trial(dict(values))

    def _ask(self) -> tuple[int, dict[str, Any]]:
        trial = self._optuna.ask()
        constants = self._study.space(trial)
        self._asked[trial.number] = trial
        return trial.number, {**trial.params, **constants}


def _create(study: Study) -> Any:
    """An empty Optuna study with a fresh journal."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = study.folder / "optuna.log"
    study.folder.mkdir(parents=True, exist_ok=True)
    for left in study.folder.glob("optuna.log*"):
        left.unlink()  # and the lock of a driver that was killed
    with warnings.catch_warnings():
        # `group` has been experimental for five years
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = _tpe(study)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(storage=storage, sampler=sampler, study_name=study.folder.name, direction="maximize")


def startup(trials: int) -> int:
    """How many of a study's trials TPE draws before it learns from them."""
    return min(20, max(5, trials // 5))


def _tpe(study: Study) -> Any:
    import optuna

    known = sum(1 for _ in trials.proposed(study))
    return optuna.samplers.TPESampler(
        multivariate=True,
        group=True,
        constant_liar=True,
        n_startup_trials=startup(study.trials),
        # a study that goes on must not repeat its first random draws
        seed=seed("tpe", study.seed, *([known] if known else [])) % 2**32,
    )
