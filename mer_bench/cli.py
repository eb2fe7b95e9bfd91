"""The command line: words around `commands`. Progress and logs go to stderr, answers to stdout.

Exit 0 if the work is complete, 2 for a usage error, 1 for anything else. torch, Ray and MLflow are imported by the
command that needs them, so `--help` is quick.
"""

from __future__ import annotations

import ast
import json
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.progress import progress

if TYPE_CHECKING:
    from mer_bench.answers import Answer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Micro-expression recognition under one honest leave-one-subject-out protocol.",
)
data_app = typer.Typer(no_args_is_help=True, help="Corpora on this machine.")
app.add_typer(data_app, name="data")

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="FILE[:PRESET] from baselines/, or a path to your own .py file.")
]
TaskName = Annotated[str, typer.Option("--task", "-t", help="Corpora, class map and pinned list of clips.")]
Seeds = Annotated[int, typer.Option(help="Repetitions; each is scored on its own.")]
Sampler = Annotated[str, typer.Option(help="tpe (adaptive); qmc or random (strict).")]
Rules = Annotated[str, typer.Option(help="Selection rules, comma-separated.", metavar="R,...")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A model option or recipe field; repeatable.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
ScaleName = Annotated[str, typer.Option("--scale", help="task: the size the task states; paper: as published.")]
Workers = Annotated[int | None, typer.Option(help="Processes or trials at the same time; one a core by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command()
def run(
    model: Model,
    task: TaskName = "synth-3",
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
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Evaluate one recipe, leaving one subject out at a time."""
    from mer_bench import commands

    with progress() as tick:
        answer = commands.run(
            model,
            task,
            seeds=seeds,
            rules=_list(rules),
            settings=parse_settings(settings or []),
            device=device,
            scale=scale,
            keep_weights=keep_weights,
            weights_dir=weights_dir,
            workers=workers,
            tick=tick,
        )
    _show(answer, as_json)


@app.command()
def search(
    model: Model,
    task: TaskName = "synth-3",
    trials: Annotated[int, typer.Option(help="Trial 0 is the published structure and recipe.")] = 50,
    sampler: Sampler = "tpe",
    seed: Annotated[int, typer.Option(help="Seed of proposals and trials.")] = 0,
    seeds: Seeds = 1,
    rules: Rules = "",
    settings: Sets = None,
    device: Device = "auto",
    scale: ScaleName = "task",
    no_refit: Annotated[bool, typer.Option("--no-refit", help="Skip the refit on all training subjects.")] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Search a method's space; the held-out subject is never asked."""
    from mer_bench import commands

    with progress() as tick:
        answer = commands.search(
            model,
            task,
            trials=trials,
            sampler=sampler,
            seed=seed,
            seeds=seeds,
            rules=_list(rules),
            settings=parse_settings(settings or []),
            device=device,
            scale=scale,
            refit=not no_refit,
            workers=workers,
            tick=tick,
        )
    _show(answer, as_json)


@app.command()
def compare(
    model: Model,
    against: Annotated[str, typer.Option(help="The model to compare with.")] = "mmnet",
    task: TaskName = "synth-3",
    trials: Annotated[int | None, typer.Option(help="Search both; without it each runs its own recipe.")] = None,
    sampler: Sampler = "tpe",
    seeds: Seeds = 1,
    rules: Rules = "",
    settings: Sets = None,
    device: Device = "auto",
    scale: ScaleName = "task",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Evaluate two models on the same folds and say who is ahead; --set is for MODEL."""
    from mer_bench import commands

    with progress() as tick:
        found = commands.compare(
            model,
            against,
            task,
            trials=trials,
            sampler=sampler,
            settings=parse_settings(settings or []),
            seeds=seeds,
            rules=_list(rules),
            device=device,
            scale=scale,
            workers=workers,
            tick=tick,
        )
    if as_json:
        typer.echo(json.dumps(found.as_json(), allow_nan=False))
        return
    _tables([found.ours, found.theirs])
    typer.echo(found.verdict)


@app.command()
def report(
    folder: Annotated[Path, typer.Option(help="Where the leaderboard goes.")] = Path("reports"),
    task: Annotated[str | None, typer.Option("--task", "-t", help="Only this task.")] = None,
) -> None:
    """Write the leaderboard (Markdown, HTML, CSV) from everything recorded, and show it."""
    from mer_bench import commands, leaderboard, tracking

    files = commands.report(folder, task)
    _console().print(leaderboard.screen(commands.recorded(tracking.open(), task)))
    for file in files:
        print(file, file=sys.stderr)


@app.command()
def check(
    model: Model,
    seconds: Annotated[float, typer.Option(help="How long any one check may take.")] = 120,
    as_json: Json = False,
) -> None:
    """Examine a model's file: can it be trained here, does it learn, does it leak? Ends with 1 if there are faults."""
    from mer_bench import check as checks

    with progress() as tick:
        findings = checks.check(model, seconds, tick)
    if as_json:
        typer.echo(json.dumps(checks.as_json(model, findings)))
    else:
        _console().print(checks.screen(model, findings))
    if not all(finding.passed for finding in findings):
        sys.exit(1)


@data_app.command("add")
def data_add(name: str, path: Path) -> None:
    """Tell where a corpus was unpacked."""
    from mer_bench import cache

    typer.echo(f"{name}: {cache.add(name, path)}")


@data_app.command("list")
def data_list() -> None:
    """Known corpora, their tasks, and whether they are on this machine."""
    from rich.table import Table

    from mer_bench import cache, catalog

    table = Table("corpus", "tasks", "on this machine", "licence")
    for name in catalog.names("dataset"):
        dataset = catalog.dataset(name)
        try:
            where = "drawn when first used" if dataset.make else str(cache.root(name))
        except MerBenchError:
            where = "no"
        table.add_row(name, ", ".join(dataset.tasks), where, dataset.licence)
    _console().print(table)


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


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_json(), allow_nan=False))
    else:
        _tables([answer])


def _tables(answers: list[Answer]) -> None:
    """The leaderboard of the task, what has just been computed first of all."""
    from mer_bench import commands, leaderboard, tracking

    now = datetime.now(UTC)
    found = [tracking.Finished(answer.run_id, now, answer.result) for answer in answers]
    try:
        others = commands.recorded(tracking.open(), answers[0].result.task)
        found += [other for other in others if other.run_id not in {answer.run_id for answer in answers}]
    except MerBenchError as error:
        print(f"mer-bench: earlier runs are not shown: {error}", file=sys.stderr)
    _console().print(leaderboard.screen(found))


def _console() -> Any:
    from rich.console import Console

    return Console()


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main() -> None:
    """Entry point: one clear line for an error or a remark, and the right exit code."""
    try:
        with warnings.catch_warnings():
            shown = warnings.showwarning
            warnings.simplefilter("always", Remark)
            warnings.showwarning = lambda said, category, *place: (
                _remark(said) if issubclass(category, Remark) else shown(said, category, *place)
            )
            ended = app(standalone_mode=False)
    except UsageError as error:
        _stop(str(error), 2)
    except MerBenchError as error:
        _stop(str(error), 1)
    except KeyboardInterrupt:
        _stop("stopped", 1)
    except OSError as error:
        _stop(f"{error.filename or 'the disk'}: {error.strerror or error}; make it readable, writable or larger", 1)
    except Exception as error:
        _click_error(error)
    else:
        # typer answers Ctrl-C with a code of its own instead of letting the interrupt through
        if isinstance(ended, int) and ended:
            _stop("stopped", 1)


def _remark(said: object) -> None:
    print(f"mer-bench: {said}", file=sys.stderr)


def _stop(line: str, code: int) -> NoReturn:
    if line:
        print(f"mer-bench: {line}", file=sys.stderr)
    sys.exit(code)


def _click_error(error: Exception) -> None:
    """Errors of the command line itself (unknown option, missing argument) in one line; anything else as it is."""
    if type(error).__name__ == "Abort":
        _stop("stopped", 1)
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        raise error
    context = getattr(error, "ctx", None)
    known = ""
    if context is not None and type(error).__name__ == "NoSuchOption":
        options = sorted(o for p in context.command.params for o in p.opts if o.startswith("--"))
        known = f"; known: {', '.join(options)}"
    elif context is not None and type(error).__name__ == "UsageError" and hasattr(context.command, "commands"):
        known = f"; known: {', '.join(context.command.commands)}"
    said = format_message()
    _stop(f"{said}{known}" if said else "", 2)
