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

from mer_bench import checks, data
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
app.add_typer(data.app, name="data")

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


@app.command()
def run(
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
    as_json: Json = False,
) -> None:
    """Evaluate one recipe, leaving one subject out at a time."""
    from mer_bench import commands

    with progress() as tick:
        answer = commands.run(
            model,
            asked(task, train, test, no_mends, apex),
            seeds=seeds,
            rules=_list(rules),
            settings=parse_settings(settings or []),
            device=device,
            scale=scale,
            keep_weights=keep_weights,
            weights_dir=weights_dir,
            workers=workers,
            address=address,
            tick=tick,
        )
    _show(answer, as_json)


@app.command()
def search(
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
    as_json: Json = False,
) -> None:
    """Search a method's space; the held-out subject is never asked. Asked again, it continues its study."""
    from mer_bench import commands

    with progress() as tick:
        answer = commands.search(
            model,
            asked(task, train, test, no_mends, apex),
            trials=trials,
            sampler=sampler,
            seed=seed,
            seeds=seeds,
            rules=_list(rules),
            settings=parse_settings(settings or []),
            device=device,
            scale=scale,
            refit=not no_refit,
            race=race,
            inner_folds=inner_folds,
            space=space,
            budget=duration("--budget", budget),
            trial_timeout=duration("--trial-timeout", trial_timeout),
            resume=resume,
            fresh=fresh,
            address=address,
            gpus_per_trial=gpus_per_trial,
            workers=workers,
            tick=tick,
        )
    _show(answer, as_json)
    print(commands.study_page(answer), file=sys.stderr)


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
    from mer_bench import comparing

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
            rules=_list(rules),
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
    from mer_bench import commands, leaderboard, tracking

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
    from mer_bench import check as examination

    with progress() as tick:
        findings = examination.check(model, seconds, tick)
    if as_json:
        typer.echo(json.dumps(examination.as_json(model, findings)))
    else:
        _console().print(examination.screen(model, findings))
    if not all(finding.passed for finding in findings):
        sys.exit(1)


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


checks.register(app)


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
