"""How far a long command is: a bar with the time left on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVERY = 10.0
"""Seconds between plain lines."""


@contextmanager
def progress() -> Iterator[Any]:
    """A `tick(done, total, text)`: a bar with time left on a terminal, plain lines elsewhere; always on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def tick(done: int, total: int, text: str) -> None:
            stage = text.split(",")[0]
            if stage not in tasks:
                tasks[stage] = bars.add_task(text, total=total)
            bars.update(tasks[stage], completed=done, total=total, description=text)

        yield tick


def _plain_lines() -> Any:
    start = time.monotonic()
    began: dict[str, float] = {}
    last: dict[str, float] = {}

    def tick(done: int, total: int, text: str) -> None:
        stage, now = text.split(",")[0], time.monotonic()
        # a stage is first heard of when its first part is done: it began when the one before was last heard of
        began.setdefault(stage, max(last.values(), default=start))
        if done < total and now - last.get(stage, 0.0) < EVERY:
            return
        last[stage] = now
        spent = now - began[stage]
        left = f", {spent / done * (total - done) / 60:.1f} min left" if 0 < done < total else ""
        print(f"{done}/{total} {text}, {spent / 60:.1f} min{left}", file=sys.stderr, flush=True)

    return tick
