"""The command line's words for numbers that others, or we ourselves, have said: `score`, `audit`, `reproduce`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from mer_bench.contracts import UsageError
from mer_bench.door.progress import progress

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def score(
    file: Annotated[
        Path, typer.Argument(help="A .csv or .parquet (clip, prediction or probabilities), or a MEGC log.")
    ],
    task: Annotated[str, typer.Option("--task", "-t", help="Corpora, class map and pinned list of clips.")],
    partial: Annotated[bool, typer.Option("--partial", help="Score the clips that are there.")] = False,
    add: Annotated[str, typer.Option(metavar="NAME", help="Put it on the leaderboard, as self-reported.")] = "",
    as_json: Json = False,
) -> None:
    """Grade predictions made elsewhere against the task's clips."""
    from mer_bench.answering import scoring

    found = scoring.score(file, task, partial=partial, add=add)
    typer.echo(json.dumps(found.as_json(), allow_nan=False) if as_json else found.words())


def audit(
    classes: Annotated[str, typer.Option(metavar="N,N,...", help="Clips of each class.")] = "",
    uf1: Annotated[str, typer.Option(help="As printed, with all its digits: .5280")] = "",
    uar: Annotated[str, typer.Option(help="As printed.")] = "",
    accuracy: Annotated[str, typer.Option(help="As printed; above 1 it is percent: 95.51")] = "",
    confusion: Annotated[
        str, typer.Option(metavar="N,N;N,N", help="Published counts, rows the truth; alone: what they sum up to.")
    ] = "",
    clips: Annotated[str, typer.Option(metavar="LOW-HIGH", help="Numbers of clips an accuracy may fit.")] = "",
    as_json: Json = False,
) -> None:
    """Can these printed numbers be true? Without options: every number that the catalogue's papers print."""
    from mer_bench.claims import audit
    from mer_bench.claims.printed import scores, window

    texts = {"uf1": uf1, "uar": uar, "accuracy": accuracy}
    numbers = {name: window(text) for name, text in texts.items() if text}
    table = tuple(_whole(row, "--confusion") for row in confusion.split(";")) if confusion else ()
    sizes = _whole(classes, "--classes") if classes else tuple(sum(row) for row in table)
    if table and (any(len(row) != len(table) for row in table) or sizes != tuple(map(sum, table))):
        raise UsageError(f"--confusion {confusion}: {len(table)} rows of {len(table)} counts should sum to --classes")
    if table and not numbers:
        for name, value in scores(table).items():
            typer.echo(f"{name} {float(value):.4f}")
        return
    by_hand = numbers or sizes or clips
    asked = [audit.Claim(numbers, sizes, table)] if by_hand else audit.claims()
    found = [audit.judge(claim, _range(clips) if clips else None) for claim in asked]
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found], allow_nan=False))
        return
    for one in found:
        typer.echo(one.words())
    if not by_hand:
        typer.echo(f"{sum(one.suspicious for one in found)} of {len(found)} claims are not what they say")


def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its folder.")],
    trials: Annotated[bool, typer.Option("--trials", help="Of a study repeat every trial too.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core by default.")] = None,
    as_json: Json = False,
) -> None:
    """Run a recorded evaluation again and compare its predictions clip by clip."""
    from mer_bench.answering import reproduce

    with progress() as tick:
        found = reproduce.reproduce(run, trials=trials, workers=workers, tick=tick)
    typer.echo(json.dumps(found.as_json(), allow_nan=False) if as_json else found.words())


def register(app: Any) -> None:
    """Add these commands to the command line."""
    for command in (score, audit, reproduce):
        app.command()(command)


def _whole(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r} should read like 70,51,43") from None


def _range(text: str) -> range:
    matched = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not matched:
        raise UsageError(f"--clips {text!r} should read like 240-260")
    return range(int(matched[1]), int(matched[2] or matched[1]) + 1)
