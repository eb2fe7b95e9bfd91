"""What an evaluation ran on: the code's commit, the machine and every installed package."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

from mer_bench import catalog

HERE = Path(__file__).resolve().parent
NAMED = ("mer-bench", "torch", "numpy", "scikit-learn")


def commit() -> str:
    """The checkout's commit, `+changes` if tracked files differ from it; empty for an installed package."""
    if not (HERE.parent / ".git").exists() or shutil.which("git") is None:
        return ""
    asked = (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    said = [subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True) for words in asked]
    if said[0].returncode:
        return ""
    return said[0].stdout.strip() + ("+changes" if said[1].stdout.strip() else "")


def source() -> str:
    """A hash of the project's source files: what was trained by other code is not gone on with."""
    places = [HERE, *(catalog.folder(kind) for kind in ("baseline", "space"))]
    files = {file for place in places for file in place.rglob("*.py")}
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def versions() -> dict[str, str]:
    """The packages that matter most, and the commit where there is one."""
    found = {name: importlib.metadata.version(name) for name in NAMED}
    return {**found, **({"commit": commit()} if commit() else {})}


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
