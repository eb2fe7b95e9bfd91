"""The `plan` commands: what a run or a search would take, told before it is started."""

from __future__ import annotations

import json
from typing import Any

import typer

from mer_bench.door.progress import progress
from mer_bench.door.terms import Json, evaluation, study, takes

NAME = "plan"
app = typer.Typer(no_args_is_help=True, help="What a run or a search would take: folds, trainings, time.")


@app.command("run")
@takes(evaluation)
def run(question: dict[str, Any], as_json: Json = False) -> None:
    """What `run` would take, with the same options."""
    from mer_bench.answering import planning

    with progress() as tick:
        found = planning.run(**question, tick=tick)
    typer.echo(json.dumps(found.as_json(), allow_nan=False) if as_json else found.words())


@app.command("search")
@takes(study)
def search(question: dict[str, Any], as_json: Json = False) -> None:
    """What `search` would take, with the same options; what is on record is not counted."""
    from mer_bench.answering import planning

    with progress() as tick:
        found = planning.search(**question, tick=tick)
    typer.echo(json.dumps(found.as_json(), allow_nan=False) if as_json else found.words())
