"""`mer-bench check`: the contract and the leak canary on one file, in a process of its own.

    here                                          a process of its own
    check(model) ── start ──────────────────────► examine(model): import, structure, behaviour, canary
                 ◄── "begun ...", "found ..." ─── one message a check
                 silence too long, or an end without "done": a fault of the check that was going on

A file that crashes, hangs or calls sys.exit ends that process alone. It is no prison: the file runs with the rights of
whoever checks it, and one that is written to deceive can deceive.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_bench import catalog, processes
from mer_bench.contracts import MerBenchError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

IMPORTED, SETTLED = "can be imported and ends in BASELINE", "its options, small size and view are complete"
DONE = "done"
MOST = 16
"""Checks of a network, for the progress bar."""
Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Finding:
    """One check's outcome: passed, or what is wrong and the cure."""

    check: str
    passed: bool
    said: str = ""


def check(model: str, seconds: float = 120, tick: Tick | None = None) -> list[Finding]:
    """Examine a method's file in a process of its own.

    Args:
        model: `FILE[:PRESET]` or a path to a `.py` file.
        seconds: how long any one check may take.
        tick: called with (done, total, text).

    Raises:
        UsageError: there is no such file or method.
    """
    stem = catalog.split(model)[0]
    if stem.endswith(".py") and not Path(stem).is_file():
        raise UsageError(f"no file {stem}; give a path to a .py file that ends in BASELINE = Baseline(...)")
    if not stem.endswith(".py") and stem not in catalog.names("baseline"):
        raise UsageError(f"unknown baseline {stem!r}; known: {', '.join(catalog.names('baseline'))}, or a .py file")
    if seconds <= 0:
        raise UsageError(f"--seconds {seconds:g}: more than none")
    findings: list[Finding] = []
    for finding in _watched(model, seconds):
        findings.append(finding)
        if tick:
            tick(len(findings), max(len(findings) + 1, MOST), f"checks, {finding.check}")
    if tick:
        tick(len(findings), len(findings), "checks")
    return findings


def examine(name: str, begun: Callable[[str], None] = lambda _: None) -> Iterator[Finding]:
    """Every check of a method, in this process, until nothing further can be asked.

    Args:
        name: as in `check`.
        begun: called with each check's name before it runs.
    """
    from mer_bench.verifying import behaviour, canary, contract

    found: list[Any] = []
    structure: dict[str, Callable[..., Any]] = {
        IMPORTED: lambda: catalog.baseline(name),
        SETTLED: lambda: found.append(contract.case(name)),
    }
    for title, ask in structure.items():
        begun(title)
        yield (finding := _asked(title, ask, name))
        if not finding.passed:
            return
    case = found[0]
    for title, ask in contract.STRUCTURE.items():
        begun(title)
        yield (finding := _asked(title, ask, name, case))
        if not finding.passed:
            return
    steady = True
    for title, ask in (behaviour.NETWORK if case.network else behaviour.CLASSICAL).items():
        begun(title)
        yield (finding := _asked(title, ask, name, case))
        steady = steady and (finding.passed or ask not in behaviour.REPEATABLE)
    # a training that differs from itself tells nothing about leaks, and a first leak moves what the next would ask
    for title, ask in canary.CANARY.items() if steady else ():
        begun(title)
        yield (finding := _asked(title, ask, name, case))
        if not finding.passed:
            return


def _asked(title: str, ask: Callable[..., Any], name: str, *case: Any) -> Finding:
    from mer_bench.training import fold

    try:
        with fold.one_thread():
            ask(*case)
    except BaseException as error:  # a file may raise anything, SystemExit too
        return Finding(title, False, told(error, name))
    return Finding(title, True)


def told(error: BaseException, name: str) -> str:
    """An exception in one line, with the last line of the method's file that took part in it."""
    file = catalog.split(name)[0]
    if isinstance(error, MerBenchError):
        return str(error).removeprefix(name).removeprefix(file).lstrip(": ")
    path, line, trace = Path(file).resolve(), None, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    line = error.lineno if isinstance(error, SyntaxError) else line
    where = f" in line {line}" if line else ""
    if isinstance(error, SystemExit):
        return f"calls sys.exit{where}; raise an error instead"
    said = " ".join(str(error).split())[:300]
    return f"raises {type(error).__name__}{where}: {said}; correct it there"


def _watched(model: str, seconds: float) -> Iterator[Finding]:
    """Findings as they come from a process of their own, and what ended it early."""
    processes.calm()
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(model, theirs))
    with processes.hidden_script():
        process.start()
    theirs.close()
    going, allowed = IMPORTED, seconds + 60  # starting a process and importing torch is no fault of the file
    try:
        while ours.poll(allowed):
            message = json.loads(ours.recv_bytes())
            if message == DONE:
                return
            if isinstance(message, str):
                going, allowed = message, seconds
            else:
                yield Finding(**message)
        cure = "look for an endless loop, give Baseline a smaller `small`, or allow more with --seconds"
        yield Finding(going, False, f"does not end within {seconds:g} seconds; {cure}")
    except EOFError:
        process.join(10)
        yield Finding(going, False, f"ends the whole process ({_ended(process.exitcode)}); run it alone to see where")
    finally:
        _end(process)
        ours.close()


def _work(model: str, pipe: Connection) -> None:
    """The other process: nothing that the file prints may reach the answer, and it leads a group that can be ended."""
    os.setsid()
    processes.end_with_starter()
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(sink, stream)
    import torch  # noqa: F401  (seconds, which are not the file's)

    for finding in examine(model, lambda title: pipe.send_bytes(json.dumps(title).encode())):
        pipe.send_bytes(json.dumps(asdict(finding)).encode())
    pipe.send_bytes(json.dumps(DONE).encode())


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _end(process: Any) -> None:
    """End the process and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()  # it had not yet become the leader of a group
    process.join()


def as_json(model: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The `--json` object."""
    faults = [f"{finding.check}: {finding.said}" for finding in findings if not finding.passed]
    return {"model": model, "clean": not faults, "faults": faults, "checks": [asdict(f) for f in findings]}


def screen(model: str, findings: Sequence[Finding]) -> RenderableType:
    """A table of the checks, and one line a fault."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    faults = [finding for finding in findings if not finding.passed]
    table = Table("", "check", title=Text(model), box=box.SIMPLE_HEAD, show_header=False)
    for finding in findings:
        mark = Text("passed", style="green") if finding.passed else Text("FAULT", style="bold red")
        table.add_row(mark, Text(finding.check))
    lines = [Text(f"{Path(model).name} {finding.said}") for finding in faults]
    verdict = Text("no fault found" if not faults else f"{len(faults)} of {len(findings)} checks failed")
    return Group(table, *lines, verdict)
