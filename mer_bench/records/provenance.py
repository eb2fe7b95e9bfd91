"""What an evaluation ran on: the code's commit, the machine and every installed package."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
NAMED = ("mer-bench", "torch", "numpy", "scikit-learn")
DECIDING = (
    "contracts", "seeds", "classical", "pixels/frames", "pixels/faces", "pixels/flow", "pixels/tim", "pixels/apex",
    "pixels/inputs", "splits", "metrics", "selection", "intervals", "bootstrap", "stats", "training/batches",
    "training/trainer", "training/fold", "records/grading", "searching/space", "searching/studies",
    "searching/trials", "searching/finals", "searching/racing", "searching/proposer", "searching/control",
)  # fmt: skip
"""Modules that decide what is trained, chosen and scored."""


def commit() -> str:
    """The checkout's commit, `+changes` if tracked files differ from it; empty for an installed package."""
    if not (HERE.parent / ".git").exists() or shutil.which("git") is None:
        return ""
    asked = (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    said = [subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True) for words in asked]
    if said[0].returncode:
        return ""
    return said[0].stdout.strip() + ("+changes" if said[1].stdout.strip() else "")


def harness() -> str:
    """A hash of the modules that decide numbers: as with a method's file, edited code is another question.

    A version says less: a checkout keeps it over many changes.
    """
    sources = [(HERE / f"{name}.py").read_bytes() for name in DECIDING]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The packages that matter most, the harness's own code, and the commit where there is one."""
    found = {name: importlib.metadata.version(name) for name in NAMED}
    at = commit()
    return {**found, "harness": harness(), **({"commit": at} if at else {})}


@functools.cache
def requirements() -> str:
    """Every installed package as `name==version`, sorted: a file for pip."""
    found = {(d.metadata["Name"] or "").lower(): d.version for d in importlib.metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)


def environment() -> str:
    """The machine, as JSON."""
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ}
    facts = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        **versions(),
    }
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"
