"""How to search: what `search` takes besides the question itself, and the line that asks for it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mer_bench import selection
from mer_bench.answering.ready import Ready, known
from mer_bench.contracts import UsageError
from mer_bench.searching.space import SAMPLERS, STRICT

REFITTED = ("nested", "shared")


@dataclass(frozen=True)
class Options:
    """How to search; see `search`."""

    trials: int = 50
    sampler: str = "tpe"
    seed: int = 0
    rules: tuple[str, ...] = ()
    refit: bool = True
    race: bool | None = None
    inner_folds: int = 1
    top: int | None = None
    budget: float | None = None
    trial_timeout: float | None = None
    resume: bool = False
    fresh: bool = False
    address: str | None = None
    gpus_per_trial: float | None = None

    def __post_init__(self) -> None:
        known(self.rules, selection.STUDY_RULES, "rule")
        known((self.sampler,), SAMPLERS, "sampler")
        for name in ("trials", "inner_folds", "top", "budget", "trial_timeout", "gpus_per_trial"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"--{name.replace('_', '-')} {value}: at least one, or some seconds")
        if self.resume and self.fresh:
            raise UsageError("--resume goes on with a study and --fresh starts another: choose one")

    @property
    def racing(self) -> bool:
        """Whether to race: asked for, or by default where the proposals are adaptive anyway."""
        return self.sampler not in STRICT if self.race is None else self.race

    def wanted(self, seeds: int) -> tuple[str, ...]:
        """The rules asked for, in the project's order.

        Raises:
            UsageError: `--no-refit` with what only a refit gives, or `--top` with nothing to repeat.
        """
        if self.top is not None and seeds < 2:
            raise UsageError(f"--top {self.top} trains finalists with further seeds: add --seeds 2 or more")
        if not self.refit and ((seeds > 1 and self.top is None) or set(self.rules) & set(REFITTED)):
            cure = f"drop --seeds and the rules {', '.join(REFITTED)}, or repeat finalists by --top"
            raise UsageError(f"--no-refit leaves nothing to repeat: {cure}")
        possible = tuple(rule for rule in selection.STUDY_RULES if self.refit or rule not in REFITTED)
        return tuple(rule for rule in possible if rule in self.rules) or possible

    def sought(self, seeds: int) -> str:
        """An answer to a study's question, in words: one entry of its book."""
        top = f", top {self.top}" if self.top else ""
        return f"{self.trials} trials, {seeds} seeds, {', '.join(self.wanted(seeds))}{top}"

    def typed(self, ready: Ready) -> str:
        """The command that asks for this answer; how many trials run at a time and where is left to the reader."""
        words = ["mer-bench", "search", ready.space.model, "--task", ready.task, "--trials", str(self.trials)]
        given: dict[str, Any] = {
            "--sampler": self.sampler,
            "--seed": self.seed,
            "--scale": ready.scale_name,
            "--seeds": ready.seeds,
            "--top": self.top,
            "--inner-folds": self.inner_folds,
            "--rules": ",".join(self.rules),
            "--space": ready.space.file,
            "--device": ready.device,
            "--trial-timeout": None if self.trial_timeout is None else f"{self.trial_timeout:g}",
        }
        usual = {"--sampler": "tpe", "--seed": 0, "--scale": "task", "--seeds": 1, "--inner-folds": 1}
        for option, value in given.items():
            if value not in (None, "", usual.get(option)):
                words += [option, str(value)]
        for name, value in sorted(ready.space.pinned.items()):
            words += ["--set", f"{name}={value}"]
        if self.race is not None:
            words.append("--race" if self.race else "--no-race")
        return shlex.join([*words, *([] if self.refit else ["--no-refit"])])


def options(given: Mapping[str, Any]) -> Options:
    """Options by name.

    Raises:
        TypeError: there is no such option.
    """
    unknown = sorted(set(given) - set(Options.__dataclass_fields__))
    if unknown:
        raise TypeError(f"search() has no option {unknown[0]!r}; known: {', '.join(Options.__dataclass_fields__)}")
    plain: dict[str, Any] = {k: tuple(v) if k == "rules" else v for k, v in given.items()}
    return Options(**plain)
