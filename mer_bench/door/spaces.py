"""The `spaces` commands: what a search may change, knob by knob."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from mer_bench.door.terms import Json, Model, Sets, SpaceFile, parse_settings

if TYPE_CHECKING:
    from mer_bench.searching.knobs import Knob

NAME = "spaces"
app = typer.Typer(no_args_is_help=True, help="Search spaces: what a search may change.")


@app.command("list")
def show_list(as_json: Json = False) -> None:
    """Methods with a search space."""
    from rich.console import Console
    from rich.table import Table

    from mer_bench import catalog
    from mer_bench.searching import knobs

    found = knobs.listing(catalog.names("space"))
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("model", "knobs", "of these conditional", "presets")
    for row in found:
        table.add_row(row["model"], str(row["knobs"]), str(row["conditional"] or ""), ", ".join(row["presets"]))
    Console().print(table)


@app.command("show")
def show(model: Model, space: SpaceFile = "", settings: Sets = None, as_json: Json = False) -> None:
    """Every knob of a method's space: range, when it is asked, published value, and why."""
    from mer_bench.answering.ready import placed
    from mer_bench.searching import knobs
    from mer_bench.searching.space import Space

    asked = Space(placed(model), parse_settings(settings or []), placed(space))
    asked.setting({})  # an unknown name in --set is told before anything is drawn
    found, decided = knobs.tell(asked), asked.decided
    if as_json:
        told = {"model": model, "knobs": [knob.as_json() for knob in found], "decided": decided}
        typer.echo(json.dumps(told, default=str))
        return
    _print(found, decided)


def _print(found: list[Knob], decided: dict[str, Any]) -> None:
    """A knob a row: what it is offered, below it when and why, and its published value."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from mer_bench.searching import knobs

    offered = Column("range", ratio=1)
    table = Table(Column("knob", no_wrap=True), Column("published", no_wrap=True), offered, box=box.SIMPLE_HEAD)
    for knob in found:
        said = Text(" or ".join(one.words for one in knob.ranges))
        said.append(f" ({knob.ranges[0].scale})" if knob.ranges[0].scale != "choice" else "")
        said.append(f"\nonly if {knob.when}" if knob.condition else f"\n{knob.when}" if knob.when else "", "yellow")
        said.append(f"\n{knob.source}" if knob.source else "", "dim")
        table.add_row(knob.name, "" if knob.published is None else knobs.word(knob.published), said)
    console = Console()
    console.print(table)
    if decided:
        console.print("Decided, so not searched: " + ", ".join(f"{k}={v}" for k, v in sorted(decided.items())))
    console.print("Sizes are those of the published scale; a task's scale shrinks them. --set NAME=VALUE pins a knob.")
