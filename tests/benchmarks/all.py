"""Run every speed benchmark and rewrite reports/PERFORMANCE.md.

    python tests/benchmarks/all.py                         # everything: about 35 minutes of an idle machine
    python tests/benchmarks/all.py --only step,ridge      # these sections anew, the others as they are
    python tests/benchmarks/all.py --device cuda           # the rows of a GPU

Each script runs in a process of its own, one thread each, and prints its section. A section names the commit it was
measured at and how busy the machine was; a script that fails leaves the section that was there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import measuring

HERE = Path(__file__).resolve().parent
REPORT = measuring.ROOT / "reports" / "PERFORMANCE.md"
SECTIONS = {
    "reference": ("reference.py", "--only", "mmnet"),
    "small": ("reference.py", "--only", "net"),
    "step": ("step.py",),
    "ridge": ("linear.py", "--only", "ridge_flow"),
    "svm": ("linear.py", "--only", "svm"),
    "compiled": ("compiled.py",),
    "preparation": ("preparation.py",),
    "startup": ("startup.py",),
    "memory": ("memory.py",),
    "machinery": ("machinery.py",),
    "report_scale": ("report_scale.py", "--studies", "5", "--trials", "100"),
    "scale": ("scale.py",),
    "whole": ("whole.py",),
}
"""Section -> its script and options; each takes ten minutes at most."""
ON_CPU = tuple(name for name in SECTIONS if name != "whole")
ON_GPU = ("whole", "reference", "small", "step", "compiled")
BUSY = 0.2
"""Processors kept busy by others from which on a section says that it was not alone."""

HEAD = """# Performance

Made by `python tests/benchmarks/all.py`. Ratios come first: medians over runs taken in turn, so that a slow moment of
the machine meets both sides. One thread per process. Drawn pictures; nothing here says anything about accuracy.

Machine: {machine}.
"""
NO_GPU = """## On a GPU

Not measured: no GPU was at hand. `python tests/benchmarks/all.py --device cuda` fills these rows.

| what | plain / ours | wanted |
|---|---|---|
| LOSO of mmnet:paper-5class at 224 px, one H200 |  | at most 120 s (limit 26 s), at least 50 times the plain loop |
| ststnet, 68 folds x 500 epochs, one H200 |  | at least 20 times its serial eager loop |
"""


def sections() -> dict[str, str]:
    """The report's sections as they are, by name."""
    text = REPORT.read_text() if REPORT.is_file() else ""
    return {name: body.strip() for name, body in re.findall(r"<!-- (\S+) -->\n(.*?)<!-- end -->", text, re.S)}


def commit() -> str:
    """What is measured; asked before the report is rewritten, which would make it another."""
    asked = ["git", "describe", "--always", "--dirty"]
    said = subprocess.run(asked, cwd=measuring.ROOT, capture_output=True, text=True).stdout.strip()
    return said or "unknown"


def busy(seconds: float = 2.0) -> float:
    """Processors kept busy by other processes just now, as Linux counts them; elsewhere the load."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return os.getloadavg()[0]

    def idle() -> int:
        return sum(int(field) for field in stat.read_text().split("\n", 1)[0].split()[4:6])

    before = idle()
    time.sleep(seconds)
    return max(0.0, (os.cpu_count() or 1) - (idle() - before) / (seconds * os.sysconf("SC_CLK_TCK")))


def run(name: str, device: str, measured: str) -> str | None:
    """A script's section with its provenance, or None if it failed."""
    script, *options = SECTIONS[name]
    options += ["--device", device] if device != "cpu" else []
    load, began = busy(), datetime.now(UTC)
    around = {**os.environ, **measuring.ALONE}
    done = subprocess.run([sys.executable, HERE / script, *options], env=around, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    alone = (
        "nothing else was running"
        if load < BUSY
        else f"**other jobs were running** ({load:.1f} processors busy before it began)"
    )
    said = done.stdout.strip()
    if not said.startswith("## "):
        said = f"## {name}\n\n`tests/benchmarks/{script} {' '.join(options)}` says:\n\n```\n{said}\n```"
    took = (datetime.now(UTC) - began).total_seconds()
    return f"{said}\n\n_Commit {measured}, {began:%Y-%m-%d}, {took:.0f} s; {alone}._"


def main() -> None:
    """Run and write."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", default="", help="names, comma-separated")
    asked.add_argument("--device", default="cpu")
    given = asked.parse_args()
    wanted = [name for name in given.only.split(",") if name] or list(ON_GPU if given.device != "cpu" else ON_CPU)
    if unknown := set(wanted) - set(SECTIONS):
        sys.exit(f"no benchmark {sorted(unknown)[0]}; known: {', '.join(SECTIONS)}")
    found, failed, measured = sections(), [], commit()
    suffix = "" if given.device == "cpu" else f"-{given.device}"
    for name in wanted:
        print(f"== {name}", file=sys.stderr, flush=True)
        made = run(name, given.device, measured)
        if made is None:
            failed.append(name)
        else:
            found[name + suffix] = made
            write(found, given.device)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; their sections are as they were")


def write(found: dict[str, str], device: str = "cpu") -> None:
    """Rewrite the report, sections in their order, those of a GPU last."""
    order = [*SECTIONS, *(f"{name}-cuda" for name in ON_GPU)]
    parts = [HEAD.format(machine=measuring.machine(device))]
    parts += [f"<!-- {name} -->\n{found[name]}\n<!-- end -->\n" for name in order if name in found]
    if not any(name.endswith("-cuda") for name in found):
        parts.append(NO_GPU)
    REPORT.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
