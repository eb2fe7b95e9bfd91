"""The `runs` commands: what is on record, one of it in full, and its removal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.door.terms import Json

if TYPE_CHECKING:
    from mer_bench.answering.recorded import Recorded
    from mer_bench.answering.watching import Standing

NAME = "runs"
app = typer.Typer(no_args_is_help=True, help="Runs and studies on record.")
COLOURS = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red"}
Id = Annotated[str, typer.Argument(metavar="ID", help="A study's name or folder, or the beginning of a run's id.")]


@app.command("list")
def show_list(
    task: Annotated[str, typer.Option("--task", "-t", help="Only this task.")] = "",
    status: Annotated[str, typer.Option(help="Only finished, running, interrupted or failed.")] = "",
    as_json: Json = False,
) -> None:
    """Every run and study, newest first: how it stands, and its UF1 with the rule that it is under."""
    from mer_bench.answering import recorded
    from mer_bench.records import tracking

    if status and status not in COLOURS:
        raise UsageError(f"unknown status {status!r}; known: {', '.join(COLOURS)}")
    found = [
        one for one in recorded.everything(tracking.open()) if task in ("", one.task) and status in ("", one.status)
    ]
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found], allow_nan=False))
    elif not found:
        typer.echo("nothing on record here; mer-bench run MODEL or mer-bench search MODEL starts")
    else:
        _list(found)


@app.command("show")
def show(
    name: Id,
    watching: Annotated[bool, typer.Option("--watch", help="Of a search: follow it until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """One in full: question, numbers, trials, provenance, and how to go on. --watch reads nothing but the records."""
    if watching:
        _watch(name, as_json)
        return
    from mer_bench.answering import recorded
    from mer_bench.answering import watching as standing
    from mer_bench.records import tracking

    tracker = tracking.open()
    found = recorded.find(name, recorded.everything(tracker))
    one = found[0]
    question = dict(recorded.question(tracker, one))
    result = tracker.read(one.run_id).result if one.status == recorded.FINISHED else None
    now = standing.look(one.folder) if one.study and (one.folder / "study.json").is_file() else None
    if as_json:
        told = {**one.as_json(), "question": question, "standing": now.as_json() if now else None}
        told["versions"] = dict(result.versions) if result else None
        told["go_on"] = one.cure
        typer.echo(json.dumps(told, default=str))
        return
    _show(one, found[1:], question, result, now)


@app.command("rm")
def remove(
    names: Annotated[list[str], typer.Argument(metavar="ID...", help="As in `show`; a study's name means all of it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what is being worked on.")] = False,
) -> None:
    """Remove runs and studies: their tables, their artifacts, their entry in MLflow."""
    from mer_bench.answering import recorded
    from mer_bench.records import tracking

    tracker = tracking.open()
    among = recorded.everything(tracker)
    wanted = {name: recorded.find(name, among) for name in names}
    for found in wanted.values():
        for one in found:
            if one.status == recorded.RUNNING and not force:
                raise UsageError(f"{one.name} is running; stop it first, or remove it all the same with --force")
    for found in wanted.values():
        for one in found:
            typer.echo(
                f"{one.run_id[:12] or '-'} {one.kind} {one.model} on {one.task}, {one.status}: {one.folder}", err=True
            )
    if not yes and not typer.confirm("Remove this for good?", err=True):
        raise MerBenchError("nothing was removed")
    for name, found in wanted.items():
        whole = found[0].study == name or len(found) > 1
        typer.echo(f"removed {recorded.remove(tracker, found[0], recorded.everything(tracker), whole)}")


def _watch(name: str, as_json: bool) -> None:
    from rich.console import Console

    from mer_bench.answering import watching

    folder = watching.find(name)
    if folder is None:
        raise UsageError(f"no study {name!r} below mlruns/tables; only a search keeps records to watch")
    if as_json:
        typer.echo(json.dumps(watching.look(folder).as_json()))
        return
    now = watching.watch(folder, Console())
    if not now.finished:
        raise MerBenchError(f"{now.name} is {now.state}; go on with --resume")


def _list(found: list[Recorded]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from mer_bench.reports.prose import DASH, bounds, number

    heads = {"run": 12, "started": 14, "what": None, "status": 12, "UF1 [95 %], rule": 18}
    columns = [Column(head, min_width=width, overflow="fold") for head, width in heads.items()]
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for one in found:
        score = f"{number(one.uf1.get(one.headline))} {bounds(*one.interval)}" if one.interval else DASH
        trials = "" if one.total is None else f"{one.done}/{one.total} trials"
        cells: list[str | Text] = [
            one.run_id[:12] or DASH,
            f"{one.started:%y-%m-%d %H:%M}" if one.started else DASH,
            Text(f"{one.kind} {one.model} on {one.task}{f', {one.study}' if one.study else ''}"),
            Text("\n".join(filter(None, [one.status, trials])), COLOURS[one.status]),
            f"{score}\n{one.rule}" if one.headline else DASH,
        ]
        table.add_row(*cells)
    console = Console()
    console.print(table)
    console.print("mer-bench runs show ID tells where its tables are and how to go on", style="dim")


def _show(one: Recorded, others: list[Recorded], question: dict[str, Any], result: Any, now: Standing | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from mer_bench.answering import watching
    from mer_bench.records.logged import flatten
    from mer_bench.reports import leaderboard

    console = Console()
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {
        "run": one.run_id,
        "what": f"{one.kind} of {one.model} on {one.task}",
        "status": one.status + (f": {one.reason}" if one.reason else ""),
        "started": f"{one.started:%Y-%m-%d %H:%M:%S} UTC" if one.started else "",
        "folder": str(one.folder),
        "also": ", ".join(f"{other.run_id[:12]} ({other.status})" for other in others),
        "go on": one.cure,
    }
    for name, value in rows.items():
        if value:
            facts.add_row(name, value)
    console.print(facts)
    if result is not None and one.started:
        console.print(leaderboard.screen([(one.run_id, one.started, result)]))
    if now:
        console.print(watching.drawn(now, console.width))
    told = Table(show_header=False, box=None, padding=(0, 2, 0, 0), title="question", title_justify="left")
    for name, value in sorted(flatten(question).items()):
        told.add_row(name, value)
    console.print(told)
    if result is not None:
        console.print("ran on " + ", ".join(f"{name} {version}" for name, version in result.versions.items()))
