"""The command line's words for using a model on footage, `fit` and `predict`, and for settings given by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mer_bench.door.progress import progress
from mer_bench.door.terms import parse_settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def fit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="FILE[:PRESET], or a path to your own .py file.")],
    out: Annotated[Path, typer.Option(help="Where the weights go, FILE.safetensors.")],
    task: Annotated[str, typer.Option("--task", "-t", help="All of its clips are trained on.")] = "synth-3",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A model option or recipe field.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    scale: Annotated[str, typer.Option(help="task: the size the task states; paper: as published.")] = "task",
    as_json: Json = False,
) -> None:
    """Train one model on every subject of a task and keep its weights, for `predict`; nothing is evaluated."""
    from mer_bench.answering import fitting

    with progress() as tick:
        found = fitting.fit(
            model,
            task,
            out,
            seed=seed,
            settings=parse_settings(settings or []),
            device=device,
            scale=scale,
            tick=tick,
        )
    typer.echo(json.dumps(found.as_json(), allow_nan=False) if as_json else found.words())


def predict(
    footage: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file, or a folder of numbered pictures.")],
    weights: Annotated[Path, typer.Option(help="What `mer-bench fit` kept.")],
    out: Annotated[Path | None, typer.Option(help="The page, .html; a .png goes beside it. VIDEO.html here.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second, where the footage does not say it.")] = None,
    onset: Annotated[int | None, typer.Option(help="Its frame number, if known; else it is spotted.")] = None,
    apex: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    offset: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    as_json: Json = False,
) -> None:
    """Spot the movement of a face in footage, say what a kept model makes of it, and draw both on a page."""
    from mer_bench.answering import predicting

    with progress() as tick:
        found = predicting.predict(footage, weights, out=out, fps=fps, onset=onset, apex=apex, offset=offset, tick=tick)
    typer.echo(json.dumps(found.as_json(), allow_nan=False) if as_json else found.words())


def register(app: Any) -> None:
    """Add these commands to the command line."""
    for command in (fit, predict):
        app.command()(command)
