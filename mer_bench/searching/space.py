"""Search spaces: settings that a study may try, and proposals that are a pure function of (seed, trial number).

A space is `suggest(trial)`: define-by-run, one function for Optuna and Ray. Trial 0 is always the published setting.
Strict samplers (`qmc`, `random`) draw every proposal before the study starts; each knob reads its own coordinate of a
point, found by its name, so a conditional knob shifts no other. Optuna's own QMC and Random samplers are not used for
this: their conditional knobs fall back to a stream that depends on what was asked before.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mer_bench import catalog
from mer_bench.contracts import PAPER_SCALE, Baseline, Scale, Setting, UsageError, model_options, resolve
from mer_bench.seeds import seed

T = TypeVar("T")
Suggest = Callable[[Any], Mapping[str, Any] | None]
SAMPLERS = ("tpe", "qmc", "random")
STRICT = ("qmc", "random")


class Pinned:
    """A trial whose pinned knobs are not asked: `--set` wins over the space."""

    def __init__(self, trial: Any, pinned: Mapping[str, Any]) -> None:
        self._trial = trial
        self._pinned = pinned

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._trial, name)
        if not name.startswith("suggest_"):
            return asked

        def ask(knob: str, *args: Any, **kwargs: Any) -> Any:
            return self._pinned[knob] if knob in self._pinned else asked(knob, *args, **kwargs)

        return ask


class Drawn:
    """A trial whose knobs read a point of the unit cube; records what was asked in `params`."""

    def __init__(self, coordinate: Callable[[str], float]) -> None:
        self._coordinate = coordinate
        self.params: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Optuna's signature."""
        at = self._coordinate(name)
        if log:
            value = math.exp(math.log(low) + at * (math.log(high) - math.log(low)))
        elif step:
            value = low + step * int(at * (math.floor((high - low) / step + 1e-9) + 1))
        else:
            value = low + at * (high - low)
        # rounding may step over an end by a bit
        return self._keep(name, min(high, max(low, value)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Optuna's signature."""
        at = self._coordinate(name)
        if log:
            value = int(math.exp(math.log(low) + at * (math.log(high + 1) - math.log(low))))
            return self._keep(name, min(high, max(low, value)))
        return self._keep(name, low + step * int(at * ((high - low) // step + 1)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Optuna's signature."""
        return self._keep(name, choices[int(self._coordinate(name) * len(choices))])

    def _keep(self, name: str, value: T) -> T:
        self.params[name] = value
        return value


@dataclass(frozen=True)
class Space:
    """What a study searches: a method's `suggest`, less what a preset or `--set` has decided.

    Attributes:
        model: `FILE[:PRESET]` or a path; what the preset changes is not searched (`mmnet:flow` searches flow models).
        pinned: `--set` values, as they are; they may name knobs of the space or other settings.
        file: a file whose `suggest(trial)` is searched in place of the method's own; empty for its own.
    """

    model: str
    pinned: Mapping[str, Any]
    file: str = ""

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Ask a trial; returns every value the space decides beyond the trial's own, decided knobs excluded."""
        return self.ask(trial, self.suggest)

    def ask(self, trial: Any, suggest: Suggest) -> dict[str, Any]:
        """As calling it, where `suggest` is at hand."""
        constants = suggest(Pinned(trial, self.decided))
        return {k: v for k, v in (constants or {}).items() if k not in self.decided}

    @functools.cached_property
    def decided(self) -> dict[str, Any]:
        """What the preset and the pins have decided, by plain name."""
        return {**preset_changes(self.model), **plain(self.pinned)}

    @property
    def suggest(self) -> Suggest:
        """The function behind it."""
        return catalog.space(self.model, self.file)

    def setting(self, values: Mapping[str, Any], scale: Scale = PAPER_SCALE) -> Setting:
        """The setting of proposed values."""
        stem, preset = catalog.split(self.model)
        return resolve(stem, catalog.baseline(self.model), preset, values, scale, self.pinned)

    def default(self) -> dict[str, Any]:
        """Trial 0: the values the space asks for, taken from the published setting.

        Raises:
            UsageError: the published setting lies outside the space.
        """
        import optuna

        trial = optuna.trial.FixedTrial(published(self.model))
        try:
            with warnings.catch_warnings():
                # Optuna only warns of a fixed number outside its range
                warnings.filterwarnings("error", ".*out of the range", UserWarning)
                constants = self(trial)
        except (ValueError, UserWarning) as error:
            raise UsageError(f"the published setting of {self.model} lies outside its space: {error}") from None
        return {**trial.params, **constants}


def preset_changes(model: str) -> dict[str, Any]:
    """What a preset changes of the published setting, by plain name."""
    before, after = published(catalog.split(model)[0]), published(model)
    return {name: value for name, value in after.items() if value != before[name]}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names without their part: `recipe.lr` -> `lr`."""
    return {key.split(".")[-1]: value for key, value in values.items()}


def published(model: str) -> dict[str, Any]:
    """Every setting of `FILE[:PRESET]` by its plain name, before scaling."""
    baseline: Baseline = catalog.baseline(model)
    setting = resolve(model, baseline, catalog.split(model)[1])
    recipe = setting.as_dict()["recipe"] or {}
    return {**{k: setting.options[k] for k in model_options(baseline)}, **recipe}


def fingerprint(space: Space) -> str:
    """A hash of the space's code and pins: two spaces never share a study's name."""
    text = inspect.getsource(inspect.getmodule(space.suggest) or space.suggest)
    return hashlib.sha256((text + json.dumps(dict(space.pinned), sort_keys=True, default=str)).encode()).hexdigest()[:8]


def draw(space: Space, sampler: str, study_seed: int, count: int) -> list[dict[str, Any]]:
    """Strict proposals 0..count-1: proposal 0 is published, proposal n depends on (study_seed, n) alone."""
    if sampler not in STRICT:
        raise UsageError(f"sampler {sampler!r} draws nothing in advance; strict samplers: {', '.join(STRICT)}")
    proposals = [space.default()]
    names, suggest = knobs(space), space.suggest
    points = _sobol(len(names), study_seed, count) if sampler == "qmc" else None
    for number in range(1, count):
        if points is None:
            trial = Drawn(hashed("proposal", study_seed, number))
        else:
            trial = Drawn(dict(zip(names, points[number].tolist(), strict=True)).__getitem__)
        proposals.append(_asked(space, trial, suggest))
    return proposals


def knobs(space: Space) -> list[str]:
    """Every knob of the space, conditional ones too, sorted: one coordinate each."""
    return sorted({name for values in _looks(space) for name in values})


def views(space: Space, scale: Scale) -> list[str]:
    """Every view that the space's models may be shown, so that they can be prepared before workers start."""
    stem, preset = catalog.split(space.model)
    baseline = catalog.baseline(space.model)
    return sorted({resolve(stem, baseline, preset, values, scale, space.pinned).view for values in _looks(space)})


def _looks(space: Space, count: int = 256) -> Iterator[dict[str, Any]]:
    """Many random points of the space: enough to meet every branch of it."""
    suggest = space.suggest  # its file is read and hashed each time
    return (_asked(space, Drawn(hashed("look", number)), suggest) for number in range(count))


def _asked(space: Space, trial: Drawn, suggest: Suggest) -> dict[str, Any]:
    constants = space.ask(trial, suggest)
    return {**trial.params, **constants}


def hashed(*names: str | int) -> Callable[[str], float]:
    """Each knob's coordinate (0..1) from these names and its own."""
    return lambda knob: float(np.random.default_rng(seed(*names, knob)).random())


def _sobol(dimensions: int, study_seed: int, count: int) -> np.ndarray:
    """A scrambled Sobol sequence; point n is the same however many are asked for."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed("sobol", study_seed)))
    return np.asarray(sequence.random_base2(max(1, math.ceil(math.log2(max(count, 2))))))
