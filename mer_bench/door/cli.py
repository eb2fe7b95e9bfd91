"""The command line: words around `commands`. Progress and logs go to stderr, answers to stdout.

Exit 0 if the work is complete, 2 for a usage error, 1 for anything else. torch, Ray and MLflow are imported by the
command that needs them, so `--help` is quick.
"""

from __future__ import annotations

import json
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.door import checks, data, plans, runs, spaces, uses
from mer_bench.door.progress import progress
from mer_bench.door.terms import (
    DEFAULT_TASK,
    Apex,
    Device,
    Folder,
    Json,
    Model,
    NoMends,
    Rules,
    Sampler,
    ScaleName,
    Seeds,
    Sets,
    SpaceFile,
    TaskName,
    TestOn,
    TrainOn,
    Workers,
    asked,
    evaluation,
    listed,
    parse_settings,
    study,
    takes,
)

if TYPE_CHECKING:
    from mer_bench.answering.answers import Answer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (data, runs, spaces, plans):
    app.add_typer(group.app, name=group.NAME)


def _release(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"mer-bench {version('mer-bench')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_release, is_eager=True, help="Which release this is.")]


@app.callback()
def root(version: Version = False) -> None:
    """Micro-expression recognition under one honest leave-one-subject-out protocol."""


@app.command()
@takes(evaluation)
def run(question: dict[str, Any], as_json: Json = False) -> None:
    """Evaluate one recipe, leaving one subject out at a time."""
    from mer_bench.answering import commands

    with progress() as tick:
        answer = commands.run(**question, tick=tick)
    _show(answer, as_json)
    _whole(answer)


@app.command()
@takes(study)
def search(question: dict[str, Any], as_json: Json = False) -> None:
    """Search a method's space; the held-out subject is never asked. Asked again, it continues its study."""
    from mer_bench.answering import commands

    with progress() as tick:
        answer = commands.search(**question, tick=tick)
    _show(answer, as_json)
    print(commands.study_page(answer), file=sys.stderr)
    _whole(answer)


@app.command()
def compare(
    model: Model,
    against: Annotated[list[str] | None, typer.Option(help="The model to compare with (mmnet); repeatable.")] = None,
    task: TaskName = DEFAULT_TASK,
    train: TrainOn = "",
    test: TestOn = "",
    no_mends: NoMends = False,
    apex: Apex = "",
    trials: Annotated[int | None, typer.Option(help="Search both; without it each runs its own recipe.")] = None,
    against_trials: Annotated[int | None, typer.Option(help="Another number for the others; needs --unequal.")] = None,
    unequal: Annotated[bool, typer.Option("--unequal", help="Allow budgets that differ; the verdict says so.")] = False,
    sampler: Sampler = "tpe",
    space: SpaceFile = "",
    seeds: Seeds = 1,
    rules: Rules = "",
    settings: Sets = None,
    device: Device = "auto",
    scale: ScaleName = "task",
    workers: Workers = None,
    folder: Folder = Path("reports"),
    as_json: Json = False,
) -> None:
    """Evaluate a model and others on the same folds and say who is ahead; --set and --space are for MODEL.

    What is on record is not computed again.
    """
    from mer_bench.answering import comparing

    with progress() as tick:
        found = comparing.compare(
            model,
            against or ["mmnet"],
            asked(task, train, test, no_mends, apex),
            trials=trials,
            against_trials=against_trials,
            unequal=unequal,
            sampler=sampler,
            space=space,
            settings=parse_settings(settings or []),
            folder=folder,
            seeds=seeds,
            rules=listed(rules),
            device=device,
            scale=scale,
            workers=workers,
            tick=tick,
        )
    answers = [found.ours, *found.theirs]
    for answer in answers:
        if answer.reused:
            print(f"{answer.result.model}: the same evaluation is on record, run {answer.run_id}", file=sys.stderr)
    print(found.page, file=sys.stderr)
    if as_json:
        typer.echo(json.dumps(found.as_json(), allow_nan=False))
        return
    _tables(answers)
    typer.echo(found.verdict)


@app.command()
def report(
    folder: Folder = Path("reports"),
    task: Annotated[str | None, typer.Option("--task", "-t", help="Only this task.")] = None,
    against: Annotated[str, typer.Option(help="The model that others are compared with.")] = "mmnet",
) -> None:
    """Write the leaderboard (HTML, Markdown, LaTeX, CSV) from everything recorded, and show it."""
    from mer_bench.answering import commands
    from mer_bench.records import tracking
    from mer_bench.reports import leaderboard

    found = commands.recorded(tracking.open(), task)
    files = commands.write(found, folder, task, against)
    if found:
        _console().print(leaderboard.screen(found))
    for file in files:
        print(file, file=sys.stderr)


@app.command()
def check(
    model: Model,
    seconds: Annotated[float, typer.Option(help="How long any one check may take.")] = 120,
    as_json: Json = False,
) -> None:
    """Examine a model's file: can it be trained here, does it learn, does it leak? Ends with 1 if there are faults."""
    from mer_bench.verifying import check as examination

    with progress() as tick:
        findings = examination.check(model, seconds, tick)
    if as_json:
        typer.echo(json.dumps(examination.as_json(model, findings)))
    else:
        _console().print(examination.screen(model, findings))
    if not all(finding.passed for finding in findings):
        sys.exit(1)


checks.register(app)
uses.register(app)


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer.as_json(), allow_nan=False))
    else:
        _tables([answer])


def _whole(answer: Answer) -> None:
    """Leave with 1 if folds are missing: the number stands on record as partial, but the work is not complete."""
    result = answer.result
    if result.folds_done < result.folds_total:
        _stop(f"{result.folds_done} of {result.folds_total} folds: {' '.join(result.notes)}", 1)


def _tables(answers: list[Answer]) -> None:
    """The leaderboard of the task, what has just been computed first of all."""
    from mer_bench.answering import commands
    from mer_bench.records import tracking
    from mer_bench.reports import leaderboard

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
