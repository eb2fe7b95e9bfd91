"""A study as it stands on disk, for a second shell: read from the records alone, so that nothing is in its way.

    study.json, about.json          trials asked for, folds
    trial-0007/ended.json           how a trial ended
    trial-0007/folds/<n>/pass.json  folds done of one that has not
    trial-0007/seed-1, refit-*.folds    what comes after the trials

No database is opened, and no module of torch, Ray or MLflow is loaded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import cache
from mer_bench.records import tracking
from mer_bench.reports.prose import duration, number
from mer_bench.training import loso

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

BOOK, ABOUT = "study.json", "about.json"
UNDER_WAY, WAITING = "under way", "waiting"
COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"
MARKS = {COMPLETE: ("●", "green"), PRUNED: ("×", "yellow"), FAIL: ("!", "bold red"), UNDER_WAY: ("▸", "cyan")}
WORDS = {COMPLETE: "complete", PRUNED: "dropped", FAIL: "failed"}
RECENT = 20
"""Trials that the time left is told from: the last ones, because a search drifts."""
SHOWN = 8


@dataclass(frozen=True)
class Line:
    """One trial: its number, state, finished folds, inner UF1 if it ended, training seconds, and why it ended early."""

    number: int
    state: str
    folds: int
    inner_uf1: float | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Standing:
    """A study at one moment.

    Attributes:
        name, model, task: of the study.
        running: whether a process works on it.
        finished: whether every answer sought of it is there.
        folds: of the task; 0 if the record does not say.
        total: trials of the answer that is worked on, or of the largest.
        trials: those proposed, by number.
        after: what follows the trials: a word, how many trainings are done, and of how many (0: not known).
    """

    name: str
    model: str
    task: str
    running: bool
    finished: bool
    folds: int
    total: int
    trials: tuple[Line, ...]
    after: tuple[tuple[str, int, int], ...]

    @property
    def ended(self) -> list[Line]:
        """Trials that have ended."""
        return [line for line in self.trials if line.state in WORDS]

    @property
    def under_way(self) -> list[Line]:
        """Trials that are being trained."""
        return [line for line in self.trials if line.state == UNDER_WAY]

    @property
    def best(self) -> Line | None:
        """The complete trial of highest inner UF1, ties to the lower number."""
        complete = [line for line in self.trials if line.state == COMPLETE]
        return max(complete, key=lambda line: (line.inner_uf1 or 0.0, -line.number), default=None)

    @property
    def left(self) -> float | None:
        """Seconds that the trials still take, by the last ones; None if that is not known."""
        recent = [line.seconds for line in self.ended[-RECENT:]]
        if not self.running or not recent or not self.under_way:
            return None
        each = sum(recent) / len(recent)
        done = sum(line.folds / self.folds for line in self.under_way) if self.folds else 0.0
        return max(0.0, each * (self.total - len(self.ended) - done)) / len(self.under_way)

    @property
    def state(self) -> str:
        """In a word."""
        return "running" if self.running else "finished" if self.finished else "interrupted"

    @property
    def words(self) -> str:
        """In a line."""
        counts = {word: sum(line.state == state for line in self.trials) for state, word in WORDS.items()}
        said = [f"{self.name}: {self.state}, {len(self.ended)}/{self.total} trials"]
        said += [f"{count} {word}" for word, count in counts.items() if count and word != "complete"]
        if self.best:
            said.append(f"best inner UF1 {number(self.best.inner_uf1)} (trial {self.best.number})")
        said += [f"{word} {done}{f'/{of}' if of else ''}" for word, done, of in self.after]
        if self.left is not None:
            said.append(f"trials: about {duration(self.left)} left")
        return ", ".join(said)

    def as_json(self) -> dict[str, Any]:
        """One entry of `--json`."""
        return {
            "study": self.name,
            "state": self.state,
            "trials_done": len(self.ended),
            "trials": self.total,
            "best_inner_uf1": self.best.inner_uf1 if self.best else None,
            "best_trial": self.best.number if self.best else None,
            "seconds_left": self.left,
            "after": [list(part) for part in self.after],
            "per_trial": [vars(line) for line in self.trials],
        }


def studies() -> Iterator[Path]:
    """Folders of studies, by name."""
    yield from sorted(path.parent for path in tracking.tables().glob(f"*/{BOOK}"))


def find(name: str) -> Path | None:
    """The folder of a study: by its name, its path, or the beginning of a run's id.

    Raises:
        UsageError: several studies have such a run.
    """
    for place in (tracking.tables() / name, Path(name)):
        if name and (place / BOOK).is_file():
            return place.resolve()
    runs = {folder: json.loads((folder / BOOK).read_text())["runs"].values() for folder in studies()}
    found = [f for f, answers in runs.items() if name and any(run["run_id"].startswith(name) for run in answers)]
    if len(found) > 1:
        raise UsageError(f"runs of several studies begin with {name!r}: {', '.join(f.name for f in found[:5])}")
    return found[0] if found else None


def facts(folder: Path) -> dict[str, Any]:
    """Model, task and folds of a study, empty where its record does not say."""
    path = folder / ABOUT
    return {"model": "", "task": "", "folds": [], **(json.loads(path.read_text()) if path.is_file() else {})}


def look(folder: Path) -> Standing:
    """How a study stands."""
    about, runs = facts(folder), list(json.loads((folder / BOOK).read_text())["runs"].values())
    open_ones = [run for run in runs if not run["done"]]
    now = max(open_ones or runs, key=lambda run: run["trials"], default={"trials": 0})
    folds = len(about["folds"])
    trials = tuple(_line(path.parent) for path in sorted(folder.glob("trial-*/proposal.json")))
    running = cache.held(folder)
    if not running:
        trials = tuple(line if line.state in WORDS else Line(line.number, WAITING, line.folds) for line in trials)
    return Standing(
        folder.name,
        about["model"],
        about["task"],
        running,
        bool(runs) and not open_ones,
        folds,
        now["trials"],
        trials,
        tuple(_after(folder, folds * now.get("seeds", 1))),
    )


def _line(trial: Path) -> Line:
    at = int(trial.name.removeprefix("trial-"))
    try:
        end = json.loads((trial / "ended.json").read_text())
    except FileNotFoundError:
        done = sum(1 for _ in trial.glob("folds/*/pass.json"))
        return Line(at, UNDER_WAY, done)
    return Line(at, end["state"], end["folds"], end["inner_uf1"], end["seconds"], end["reason"])


def _after(folder: Path, trainings: int) -> Iterator[tuple[str, int, int]]:
    again = sum(1 for _ in folder.glob("trial-*/seed-*/**/pass.json"))
    if again:
        yield "folds of finalists", again, 0
    for part in sorted(folder.glob("refit-*.folds")):
        with suppress(MerBenchError):  # it ends this very moment, and its parts are joined
            done = len(loso.kept_in(part))
            yield " ".join(part.name.removesuffix(".folds").split("-")[:-1]), done, trainings


def drawn(now: Standing, width: int = 100) -> RenderableType:
    """A study for the terminal: a line, a mark a trial, what is under way, and the best."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    marks = Text()
    for line in now.trials:
        marks.append(*MARKS.get(line.state, ("·", "dim")))
    marks.append("·" * max(0, now.total - len(now.trials)), "dim")
    key = Text("● complete  × dropped  ! failed  ▸ under way  · to come", "dim")
    table = Table("trial", "state", "folds", "inner UF1", "seconds", "why", box=None, padding=(0, 2, 0, 0))
    for line in now.under_way:
        bar = ProgressBar(now.folds or 1, line.folds, width=20)
        table.add_row(str(line.number), UNDER_WAY, bar, f"{line.folds}/{now.folds or '?'}", "", "")
    complete = sorted((line for line in now.trials if line.state == COMPLETE), key=lambda one: -(one.inner_uf1 or 0.0))
    others = [line for line in now.ended if line.state != COMPLETE]
    for line in [*complete[:SHOWN], *others[-SHOWN:]]:
        score = number(line.inner_uf1) if line.state == COMPLETE else ""
        table.add_row(
            str(line.number),
            WORDS[line.state],
            str(line.folds),
            score,
            f"{line.seconds:.0f}",
            Text(line.reason[:width]),
        )
    head = Text(f"{now.model} on {now.task}\n" if now.model else "") + Text(now.words, "bold")
    return Group(head, marks, key, table)


def watch(folder: Path, console: Console, every: float = 1.0, look: Callable[[Path], Standing] = look) -> Standing:
    """Show a study until nobody works on it any more; on a terminal it moves, elsewhere lines follow each other.

    Args:
        folder: the study's.
        console: where to show it.
        every: seconds between two looks.
        look: how to look.

    Returns:
        How it stood in the end.
    """
    from rich.live import Live

    now = look(folder)
    if not console.is_terminal:
        said = ""
        while True:
            if now.words.split(", trials: about")[0] != said:
                said = now.words.split(", trials: about")[0]
                console.print(now.words, soft_wrap=True, highlight=False)
            if not now.running:
                return now
            time.sleep(every)
            now = look(folder)
    with Live(drawn(now), console=console, auto_refresh=False) as live:
        while now.running:
            time.sleep(every)
            now = look(folder)
            live.update(drawn(now), refresh=True)
    return now
