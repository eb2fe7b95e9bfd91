"""The words of the command line that several commands share: options, how they are read, and what they ask for.

A command that `takes` a question has the question's options without naming them again, so that `plan search` has those
of `search`, and whatever is added to one is there in the other.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mer_bench.contracts import UsageError
from mer_bench.door import data

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DEFAULT_TASK = "synth-3"
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="FILE[:PRESET] from baselines/, or a path to your own .py file.")
]
TaskName = Annotated[str, typer.Option("--task", "-t", help="Corpora, class map and pinned list of clips.")]
TrainOn = Annotated[str, typer.Option("--train", help="With --test: train on this task, test on the other.")]
TestOn = Annotated[str, typer.Option("--test", help="With --train: the task that is tested, in one fold.")]
NoMends = Annotated[bool, typer.Option("--no-mends", help="Read sheets as released, without corrections.")]
Apex = Annotated[str, typer.Option(help="How blank apexes are filled: middle or flow-peak.")]
Seeds = Annotated[int, typer.Option(help="Repetitions; each is scored on its own.")]
Sampler = Annotated[str, typer.Option(help="tpe (adaptive); qmc or random (strict).")]
Rules = Annotated[str, typer.Option(help="Selection rules, comma-separated.", metavar="R,...")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A model option or recipe field; repeatable.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ScaleName = Annotated[str, typer.Option("--scale", help="task: the size the task states; paper: as published.")]
Workers = Annotated[int | None, typer.Option(help="Processes or trials at the same time; one a core by default.")]
SearchWorkers = Annotated[
    int | None, typer.Option("--workers", "--trials-in-flight", help="Trials at the same time; one a core by default.")
]
Address = Annotated[str | None, typer.Option(help="Of a running Ray cluster; auto finds this machine's.")]
Race = Annotated[
    bool | None,
    typer.Option("--race/--no-race", help="Drop trials by their first folds; by default with tpe, which is adaptive."),
]
InnerFolds = Annotated[int, typer.Option(help="1: one hold-out; 3, 5: every training subject validated once.")]
SpaceFile = Annotated[str, typer.Option("--space", metavar="FILE", help="A file with the suggest(trial) to search by.")]
Folder = Annotated[Path, typer.Option(help="Where the pages go.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def evaluation(
    model: Model,
    task: TaskName = DEFAULT_TASK,
    train: TrainOn = "",
    test: TestOn = "",
    no_mends: NoMends = False,
    apex: Apex = "",
    seeds: Seeds = 1,
    rules: Rules = "",
    settings: Sets = None,
    device: Device = "auto",
    scale: ScaleName = "task",
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep each fold's weights (safetensors).")
    ] = False,
    weights_dir: Annotated[
        Path | None, typer.Option("--weights-dir", help="Train nothing: one file of weights per held-out subject.")
    ] = None,
    address: Address = None,
    workers: Workers = None,
) -> dict[str, Any]:
    """What `commands.run` is asked for."""
    return {
        "model": model,
        "task": asked(task, train, test, no_mends, apex),
        "seeds": seeds,
        "rules": listed(rules),
        "settings": parse_settings(settings or []),
        "device": device,
        "scale": scale,
        "keep_weights": keep_weights,
        "weights_dir": weights_dir,
        "address": address,
        "workers": workers,
    }


def study(
    model: Model,
    task: TaskName = DEFAULT_TASK,
    train: TrainOn = "",
    test: TestOn = "",
    no_mends: NoMends = False,
    apex: Apex = "",
    trials: Annotated[int, typer.Option(help="Trial 0 is the published structure and recipe.")] = 50,
    sampler: Sampler = "tpe",
    seed: Annotated[int, typer.Option(help="Seed of proposals and trials.")] = 0,
    seeds: Seeds = 1,
    top: Annotated[
        int | None, typer.Option(help="With --seeds: train so many finalists with every seed before one is chosen.")
    ] = None,
    rules: Rules = "",
    settings: Sets = None,
    device: Device = "auto",
    scale: ScaleName = "task",
    no_refit: Annotated[bool, typer.Option("--no-refit", help="Skip the refit on all training subjects.")] = False,
    race: Race = None,
    inner_folds: InnerFolds = 1,
    space: SpaceFile = "",
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Start no trial after 90m, 2h, ...")] = None,
    trial_timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Give a trial up after this.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that was stopped.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start another, though one is on record.")] = False,
    address: Address = None,
    gpus_per_trial: Annotated[float | None, typer.Option(help="Share of a GPU that a trial takes.")] = None,
    workers: SearchWorkers = None,
) -> dict[str, Any]:
    """What `commands.search` is asked for."""
    return {
        "model": model,
        "task": asked(task, train, test, no_mends, apex),
        "trials": trials,
        "sampler": sampler,
        "seed": seed,
        "seeds": seeds,
        "top": top,
        "rules": listed(rules),
        "settings": parse_settings(settings or []),
        "device": device,
        "scale": scale,
        "refit": not no_refit,
        "race": race,
        "inner_folds": inner_folds,
        "space": space,
        "budget": duration("--budget", budget),
        "trial_timeout": duration("--trial-timeout", trial_timeout),
        "resume": resume,
        "fresh": fresh,
        "address": address,
        "gpus_per_trial": gpus_per_trial,
        "workers": workers,
    }


def takes(question: Callable[..., dict[str, Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `(question, **own options)` the options of a question: it is called with what these ask for."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = inspect.signature(question, eval_str=True).parameters
        own = dict(list(inspect.signature(command, eval_str=True).parameters.items())[1:])

        def typed(**given: Any) -> None:
            command(
                question(**{name: given[name] for name in options}),
                **{name: given[name] for name in given if name in own},
            )

        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*options.values(), *own.values())]
        typed.__name__, typed.__doc__ = command.__name__, command.__doc__
        typed.__annotations__ = {one.name: one.annotation for one in parameters}
        typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return typed

    return decorate


def asked(task: str, train: str, test: str, no_mends: bool, apex: str) -> str:
    """The task's full name: `TRAIN>TEST` for two tasks, and what the options ask of its corpora.

    Raises:
        UsageError: one of --train and --test without the other, or beside --task.
    """
    if bool(train) != bool(test):
        raise UsageError("--train and --test belong together: the first task is trained on, the second tested")
    if train and task != DEFAULT_TASK:
        raise UsageError("give --task, or --train and --test")
    sides = [train, test] if train else [task]
    return ">".join(data.with_options(side, no_mends, apex) for side in sides)


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`name=value` pairs; values are Python literals, and anything else is a word.

    Raises:
        UsageError: a pair without `=`.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair!r} should read NAME=VALUE")
        literal = {"true": "True", "false": "False"}.get(text, text)
        try:
            found[name] = ast.literal_eval(literal)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def duration(option: str, text: str | None) -> float | None:
    """Seconds of `90`, `45s`, `30m`, `2h` or `1d`.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        return float(number) * UNITS[unit]
    except ValueError:
        raise UsageError(f"{option} {text!r} should read 45s, 30m, 2h or 1d") from None


def listed(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
