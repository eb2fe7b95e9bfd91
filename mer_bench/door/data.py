"""The `data` commands: which corpora there are, where they lie, and whether they are what they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mer_bench.contracts import Dataset, MerBenchError, UsageError
from mer_bench.door.progress import progress

if TYPE_CHECKING:
    from mer_bench.pixels.footage import Finding
    from mer_bench.pixels.inspection import Inspection

NAME = "data"
app = typer.Typer(no_args_is_help=True, help="Corpora on this machine.")
SHOWN = 200
"""Notes printed at most; every error is."""


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A known corpus, a new name with --sheet, or your own .py plug-in.")],
    path: Annotated[Path | None, typer.Argument(help="The folder that the release was unpacked into.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="A corpus of your own: CSV with subject, clip, onset, apex, offset, label, folder."),
    ] = None,
    mends: Annotated[
        Path | None,
        typer.Option(help="Corrections of your own: CSV with clip, column, value, reason."),
    ] = None,
) -> None:
    """Tell where a corpus was unpacked, or bring your own."""
    from mer_bench.pixels import cache

    if sheet is not None:
        if path is not None:
            raise UsageError("give a PATH or --sheet, not both: frames are looked for beside the sheet")
        if mends is not None:
            raise UsageError("correct your own sheet: --mends is for corpora of the project")
        name, path = _own_sheet(name, sheet)
    elif path is None:
        raise UsageError(f"mer-bench data add {name} needs the folder of the release, or --sheet FILE")
    elif name.endswith(".py"):
        name = _own_plugin(Path(name))
    typer.echo(f"{name}: {cache.add(name, path)}")
    if mends is not None:
        typer.echo(_own_mends(name, mends.expanduser()))
    typer.echo(f"hold it against what is known of it with: mer-bench data check {name}", err=True)


def _own_mends(name: str, file: Path) -> str:
    """Keep corrections that match the release; returns what to say."""
    from mer_bench import catalog, clips, own
    from mer_bench.pixels import cache

    found, dataset = own.mends(file), catalog.dataset(name)
    clips.mend(clips.mend(dataset.read_annotations(cache.root(name)), dataset.mends), found)
    cache.write_text(catalog.mends_file(name), file.read_text(encoding="utf-8"))
    return f"{len(found)} mends of your own: ask for {name}:{catalog.OWN_MENDS}, or a task of it likewise"


def _own_sheet(name: str, sheet: Path) -> tuple[str, Path]:
    """Write the plug-in of a sheet; returns the corpus's name and folder."""
    from mer_bench import own
    from mer_bench.pixels import cache

    file = sheet.expanduser().resolve()
    _free(name)
    cache.write_text(cache.home() / "datasets" / f"{name}.py", own.plugin(name, file))
    return name, file.parent


def _own_plugin(file: Path) -> str:
    """Copy a user's plug-in among the corpora; returns its name."""
    from mer_bench import catalog
    from mer_bench.pixels import cache

    if not file.is_file():
        raise UsageError(f"no file {file}; give a path to a .py file that ends in DATASET = Dataset(...)")
    if not isinstance(getattr(catalog.load("dataset", file.resolve()), "DATASET", None), Dataset):
        raise UsageError(f"{file.name} must end in DATASET = Dataset(...)")
    _free(file.stem)
    place = cache.home() / "datasets" / file.name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)
    return file.stem


def _free(name: str) -> None:
    from mer_bench import catalog

    if (catalog.folder("dataset") / f"{name}.py").is_file():
        raise UsageError(f"{name} is a corpus of the project; choose another name")


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A corpus with public files: megc2019_flow.")],
    source: Annotated[str, typer.Option("--from", help="A git URL, a clone or a folder; else the published one.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="The terms are known; do not ask.")] = False,
) -> None:
    """Fetch public files at a pinned commit, checked against SHA-256 sums; the terms are told first."""
    from mer_bench.pixels import fetch as fetching

    wanted = fetching.public(name)
    typer.echo(f"{name}: {wanted.state}.", err=True)
    if not yes and not typer.confirm(f"Fetch it from {source or wanted.url}?", err=True):
        raise MerBenchError(f"{name}: not fetched")
    with progress() as tick:
        place = fetching.fetch(name, source, tick)
    typer.echo(f"{name}: {place}")


@app.command("prepare")
def prepare(
    name: Annotated[str, typer.Argument(help="A corpus, NAME[:EDITION].")],
    task: Annotated[str, typer.Option("--task", "-t", help="Only this task's clips and size.")] = "",
    model: Annotated[str, typer.Option(help="Prepare what this model is shown, FILE[:PRESET].")] = "mmnet",
    scale: Annotated[
        str, typer.Option("--scale", help="task: the size the task states; paper: as published.")
    ] = "task",
) -> None:
    """Find faces, cut them out and compute flow, so that the first run need not; a killed one goes on where it was."""
    from mer_bench.answering import ready

    with progress() as tick:
        found = ready.inputs_for(name, task, model, scale, tick)
    for label, data in found.items():
        shown = f"; {len(data.unfound)} without a found face show the middle of the frame:" if data.unfound else ""
        typer.echo(f"{label}: {len(data.clips)} clips as {', '.join(data.arrays)}{shown}")
        for clip in data.unfound:
            typer.echo(f"  {clip}")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A corpus, NAME[:EDITION].")],
    out: Annotated[Path | None, typer.Option(help="Where the picture goes; NAME.png by default.")] = None,
    clips: Annotated[int, typer.Option(help="How many clips, of as many subjects as there are.")] = 12,
    only: Annotated[str, typer.Option(help="Only clips whose name holds this.", metavar="TEXT")] = "",
) -> None:
    """Draw a contact sheet: onset with landmarks and crop, onset and apex as cut out, their flow as colour."""
    from mer_bench.pixels import contact

    file = out or Path(f"{name.replace(':', '-')}.png")
    with progress() as tick:
        drawn = contact.draw(name, file, clips, only, tick)
    typer.echo(f"{file}: {drawn} clips, each onset, onset and apex as cut out, flow (hue is direction)")


@app.command("list")
def show_list() -> None:
    """Known corpora, their tasks, and whether they are on this machine."""
    from rich.console import Console
    from rich.table import Column, Table

    from mer_bench import catalog

    # folded, not cut: a licence is told with its address
    table = Table(*(Column(title, overflow="fold") for title in ("corpus", "tasks", "on this machine", "licence")))
    for name in catalog.names("dataset"):
        dataset = catalog.dataset(name)
        editions = "".join(f"\n{name}:{edition}" for edition in dataset.editions)
        table.add_row(name + editions, ", ".join(dataset.tasks), _where(name, dataset), dataset.licence)
    Console().print(table)


def _where(name: str, dataset: Dataset) -> str:
    from mer_bench.pixels import cache

    if dataset.made_of:
        return f"made of {', '.join(dataset.made_of)}"
    try:
        return "drawn when first used" if dataset.make else str(cache.root(name))
    except MerBenchError:
        return "no"


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A corpus, NAME[:EDITION].")],
    task: Annotated[str, typer.Option("--task", "-t", help="Only this task's clips.")] = "",
    no_mends: Annotated[bool, typer.Option("--no-mends", help="Read the sheet as released.")] = False,
    apex: Annotated[str, typer.Option(help="How blank apexes are filled: middle or flow-peak.")] = "",
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Open every frame, not the key frames alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Hold a corpus against what is known of it; exit 1 if a pinned count is missed or a clip cannot be shown."""
    from mer_bench.pixels import inspection

    with progress() as tick:
        found = inspection.check(with_options(name, no_mends, apex), task, every_frame=every_frame, tick=tick)
    if as_json:
        typer.echo(json.dumps(_plain(found)))
    else:
        _print(found)
    if not found.ok:
        missed = sum(count.missed for count in found.counts)
        errors = len({one.clip for one in found.findings if one.error})
        whole = "is the release complete, and its sheet the one meant?" if missed else "each is listed with its cure"
        raise MerBenchError(f"{name}: {missed} pinned counts missed, {errors} clips in error; {whole}")


def with_options(name: str, no_mends: bool, apex: str) -> str:
    """A corpus's or task's name with what the options ask for."""
    from mer_bench import catalog

    return ":".join([name, *([catalog.NO_MENDS] if no_mends else []), *([apex] if apex else [])])


def _plain(found: Inspection) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(found), "ok": found.ok}


def _print(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("part", "what", "expected", "found", "")
    last = ""
    for count in found.counts:
        if count.part != last and last:
            table.add_section()
        verdict = Text("MISSED", "bold red") if count.missed else Text("ok" if count.expected else "", "green")
        table.add_row(
            count.part if count.part != last else "", count.what, *map(_short, (count.expected, count.found)), verdict
        )
        last = count.part
    console.print(table)
    for task, sha256 in found.sha256.items():
        typer.echo(f"{task} {sha256}")
    for kind, error in (("error", True), ("note", False)):
        lines = [one for one in found.findings if one.error == error]
        _lines(kind, lines, len(lines) if error else SHOWN)


def _lines(kind: str, lines: list[Finding], most: int) -> None:
    for one in lines[:most]:
        typer.echo(f"{kind}: {one}")
    if len(lines) > most:
        typer.echo(f"and {len(lines) - most} more such lines; --json prints them all")


def _short(text: str) -> str:
    """A hash by its beginning; it is printed whole below the table."""
    return f"{text[:12]}..." if len(text) == 64 else text
