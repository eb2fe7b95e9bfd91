"""What a study searched, as its journal says, and which knobs mattered.

    journal  ──►  knobs: each knob's range
    trials that finished all folds  ──►  PED-ANOVA: how else the best quarter set a knob than all of them did
    the same scores shuffled        ──►  how much of that luck alone gives

PED-ANOVA (Watanabe, Bansal, Hutter 2023, IJCAI; as Optuna has it) looks at the trials that there are and not at the
space, so proposals that gather somewhere, as TPE's do, are no importance in themselves.
"""

from __future__ import annotations

import importlib.metadata
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer_bench.pixels import cache
from mer_bench.seeds import seed

BEST = 0.25
LEAST, FEW = 8, 40
SHUFFLES = 19
LOG_FROM = 30.0


@dataclass(frozen=True)
class Knob:
    """What was asked of a knob.

    Attributes:
        name: the setting's.
        low, high: ends of a numeric range, else None.
        log: whether equal ratios were equally likely.
        step: of a grid, None for any value between the ends.
        choices: what there was to choose among; empty for a range.
        told: whether the study's journal says so; otherwise it is what the trials show.
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    told: bool = True

    @property
    def span(self) -> tuple[float, float, bool] | None:
        """Its ends and whether on a logarithmic scale; None for choices."""
        return None if self.low is None or self.high is None else (self.low, self.high, self.log)

    @property
    def words(self) -> str:
        """For people: `1e-07 to 0.1, log`; `4, 6, 8`."""
        if self.low is None or self.high is None:
            return ", ".join(str(choice) for choice in self.choices)
        whole = self.step is not None and float(self.step).is_integer() and float(self.low).is_integer()
        ends = " to ".join(f"{int(end)}" if whole else f"{end:.3g}" for end in (self.low, self.high))
        return ends + (", log" if self.log else "") + ("" if self.told else ", as far as trials went")


class Weight(NamedTuple):
    """A knob's share of all importance, and the most that `SHUFFLES` shuffles of the scores give it: one in twenty."""

    name: str
    share: float
    luck: float

    @property
    def shown(self) -> bool:
        """Whether it is more than luck gives."""
        return self.share > self.luck


def knobs(journal: Path | None, values: Sequence[Mapping[str, Any]]) -> dict[str, Knob]:
    """Every knob by name, sorted.

    Args:
        journal: the study's `optuna.log`; None or missing if there is none.
        values: of all trials, which say what there is to know where no journal does.
    """
    told: dict[str, Any] = {}
    for trial in _journal(journal):
        for name, asked in trial.distributions.items():
            told[name] = _wider(told.get(name), asked)
    if told:
        return {name: _knob(name, told[name]) for name in sorted(told)}
    seen: dict[str, list[Any]] = {}
    for row in values:
        for name, value in row.items():
            seen.setdefault(name, []).append(value)
    return {name: _guessed(name, seen[name]) for name in sorted(seen) if len({str(v) for v in seen[name]}) > 1}


def weights(
    searched: Mapping[str, Knob], values: Sequence[Mapping[str, Any]], scores: Sequence[float], study_seed: int = 0
) -> list[Weight]:
    """Each knob's importance, largest first; nothing for fewer than `LEAST` trials or scores that are all one.

    It takes about a second, so the answer is kept under the cache's home: a report need not ask again.

    Args:
        searched: from `knobs`.
        values: of the trials that finished all folds.
        scores: theirs; more is better.
        study_seed: shuffles are drawn from it.
    """
    if len(scores) < LEAST or len(set(scores)) < 2:
        return []
    asked = {
        "knobs": [repr(knob) for knob in searched.values()],
        "values": [dict(row) for row in values],
        "scores": list(scores),
        "how": [study_seed, BEST, SHUFFLES, importlib.metadata.version("optuna")],
    }
    path = cache.home() / "importance" / f"{cache.key(asked)}.json"
    if not path.is_file():
        cache.write_text(path, json.dumps(_weights(searched, values, scores, study_seed)))
    return [Weight(*row) for row in json.loads(path.read_text())]


def _weights(
    searched: Mapping[str, Knob], values: Sequence[Mapping[str, Any]], scores: Sequence[float], study_seed: int
) -> list[Weight]:
    import optuna

    spaces = {name: _distribution(knob) for name, knob in searched.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row, score in zip(values, scores, strict=True):
        inside = {n: row[n] for n, space in spaces.items() if n in row and _holds(space, row[n])}
        study.add_trial(
            optuna.trial.create_trial(params=inside, distributions={n: spaces[n] for n in inside}, value=score)
        )
    rng = np.random.default_rng(seed("importance", study_seed))
    found = _evaluated(study, np.asarray(scores))
    lucky = [_evaluated(study, rng.permutation(scores)) for _ in range(SHUFFLES)]
    total = sum(found.values())
    if not total:
        return []
    most = {name: max(one.get(name, 0.0) for one in lucky) for name in found}
    rows = [Weight(name, value / total, most[name] / total) for name, value in found.items()]
    return sorted(rows, key=lambda row: (-round(row.share, 9), row.name))


def _evaluated(study: Any, scores: np.ndarray) -> dict[str, float]:
    """PED-ANOVA with these scores in place of the study's own, not scaled to one."""
    import optuna

    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
    with warnings.catch_warnings():
        # it warns that low targets count as good, which is why they are negative here, and of rare branches
        warnings.simplefilter("ignore")
        names = sorted({name for trial in study.get_trials(deepcopy=False) for name in trial.params})
        told: dict[str, float] = evaluator.evaluate(study, names, target=lambda trial: -float(scores[trial.number]))
    return {name: float(value) for name, value in told.items()}


def _journal(path: Path | None) -> list[Any]:
    """Trials of a journal, as `optuna-dashboard` reads them."""
    if path is None or not path.is_file():
        return []
    import optuna
    from optuna.storages.journal import JournalFileBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return [
        trial for one in storage.get_all_studies() for trial in storage.get_all_trials(one._study_id, deepcopy=False)
    ]


def _wider(before: Any, now: Any) -> Any:
    """One range that holds both, where a space asked the same knob differently."""
    import optuna

    if before is None or before == now or isinstance(now, optuna.distributions.CategoricalDistribution):
        return now if before is None else before
    wide = {"low": min(before.low, now.low), "high": max(before.high, now.high), "log": now.log, "step": now.step}
    return type(now)(**wide)


def _knob(name: str, asked: Any) -> Knob:
    import optuna

    if isinstance(asked, optuna.distributions.CategoricalDistribution):
        return Knob(name, choices=tuple(asked.choices))
    return Knob(name, asked.low, asked.high, asked.log, asked.step)


def _guessed(name: str, values: Sequence[Any]) -> Knob:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values) or len(set(numbers)) <= 4:
        kinds = {str(v): v for v in values}
        return Knob(name, choices=tuple(kinds[k] for k in sorted(kinds)), told=False)
    low, high = min(numbers), max(numbers)
    step = 1 if all(isinstance(v, int) for v in numbers) else None
    log = step is None and low > 0 and high / low >= LOG_FROM and float(np.median(numbers)) < low + (high - low) / 4
    return Knob(name, low, high, log, step, told=False)


def _distribution(knob: Knob) -> Any:
    import optuna

    kinds = optuna.distributions
    if knob.low is None or knob.high is None:
        return kinds.CategoricalDistribution(knob.choices)
    if isinstance(knob.low, int) and knob.step is not None:
        return kinds.IntDistribution(int(knob.low), int(knob.high), log=knob.log, step=int(knob.step))
    return kinds.FloatDistribution(knob.low, knob.high, log=knob.log, step=knob.step)


def _holds(space: Any, value: Any) -> bool:
    try:
        return bool(space._contains(space.to_internal_repr(value)))
    except (ValueError, TypeError):
        return False
