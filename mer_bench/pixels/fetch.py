"""Public files at the user's own wish: from a git repository at a pinned commit, or a folder, each held to its SHA-256.

    URL or clone ─► git, the pinned commit*, the wanted paths alone ┐
    plain folder ─► copied ─────────────────────────────────────────┴─► every sum checked ─► published, then remembered

* A mirror that was imported anew names its commits otherwise: where the pinned one is not, the newest is held to the
  same sums, which decide in any case.

The list of sums names files by a hash of their path, so that a corpus's clips are not listed in the project.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from mer_bench import catalog
from mer_bench.contracts import MerBenchError, Public, UsageError
from mer_bench.pixels import cache
from mer_bench.pixels.cache import Tick

SHORT = 16


def public(name: str) -> Public:
    """Where a corpus's public files lie.

    Raises:
        UsageError: it has none; those that have some are listed.
    """
    found = catalog.dataset(name).public
    if found is None:
        known = [one for one in catalog.names("dataset") if catalog.dataset(one).public is not None]
        raise UsageError(f"{name} cannot be fetched: {catalog.dataset(name).licence}; can be: {', '.join(known)}")
    return found


def fetch(name: str, source: str = "", tick: Tick | None = None) -> Path:
    """Bring a corpus's public files into the cache folder, check every sum, and remember where they lie.

    Args:
        name: the corpus.
        source: a git URL, a local clone, or a plain folder; the published repository if empty.
        tick: called with (done, total, text).

    Raises:
        UsageError: the corpus has no public files.
        MerBenchError: git fails, or a file is missing or differs; nothing is kept then.
    """
    wanted = public(name)

    def build(folder: Path) -> None:
        _bring(name, wanted, source or wanted.url, folder)
        verify(name, wanted, folder, tick)

    place = cache.home() / "fetched" / f"{name}-{cache.key({'sums': _sums(wanted)})[:16]}"
    if place.is_dir():
        try:
            verify(name, wanted, place, tick)
        except MerBenchError as error:
            raise MerBenchError(f"{error} (it was changed since it was fetched: delete {place})") from None
    return cache.add(name, cache.publish(place, build))


def verify(name: str, wanted: Public, folder: Path, tick: Tick | None = None) -> None:
    """Hold every file of a folder against its sum.

    Raises:
        MerBenchError: a file differs, is missing or is not among the published ones; the first is named.
    """
    sums = _sums(wanted)
    files = sorted(p for path in wanted.paths for p in _files(folder / path))
    for done, file in enumerate(files, 1):
        _check(name, file.relative_to(folder).as_posix(), file, sums)
        if tick:
            tick(done, len(files), f"checking {name}")
    if len(files) != len(sums):
        raise MerBenchError(f"{name}: {len(sums) - len(files)} of {len(sums)} published files are missing; fetch again")


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]


def short(path: str) -> str:
    """How the list of sums names a path."""
    return hashlib.sha256(path.encode()).hexdigest()[:SHORT]


def listed(folder: Path, paths: tuple[str, ...]) -> str:
    """The list of sums of a folder: for each file the SHA-256 of its content and the short name of its path."""
    files = [file for path in paths for file in _files(folder / path)]
    lines = (
        f"{hashlib.sha256(file.read_bytes()).hexdigest()} {short(file.relative_to(folder).as_posix())}"
        for file in files
    )
    return "".join(f"{line}\n" for line in sorted(lines))


def _sums(wanted: Public) -> dict[str, str]:
    lines = (line.split() for line in wanted.sums.read_text().splitlines())
    return {name: content for content, name in lines}


def _check(name: str, relative: str, file: Path, sums: dict[str, str]) -> None:
    expected = sums.get(short(relative))
    if expected is None:
        raise MerBenchError(f"{name}: {relative} is not among the published files; give the repository as it is")
    if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
        raise MerBenchError(f"{name}: {relative} differs from the published file (SHA-256); fetch it again")


def _bring(name: str, wanted: Public, source: str, folder: Path) -> None:
    """The wanted paths from a repository at its pinned commit, or its newest without that one; or a plain folder's."""
    local = Path(source).expanduser()
    if local.is_dir() and not (local / ".git").exists() and not (local / "HEAD").is_file():
        for path in wanted.paths:
            if not (local / path).exists():
                raise MerBenchError(f"{name}: {local} holds no {path}; give the folder that holds it")
            copy = shutil.copytree if (local / path).is_dir() else shutil.copy2
            copy(local / path, folder / path)
        return
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        place = str(local.absolute()) if local.exists() else source
        _git(name, "clone", "--quiet", "--no-checkout", "--", place, str(clone))
        commit = wanted.commit if _holds(clone, wanted.commit) else "HEAD"
        as_stored = ("-c", "core.autocrlf=false")
        _git(name, "-C", str(clone), *as_stored, "checkout", "--quiet", commit, "--", *wanted.paths)
        for path in wanted.paths:
            shutil.move(clone / path, folder / path)


def _holds(clone: Path, commit: str) -> bool:
    asked = ["git", "-C", str(clone), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(asked, capture_output=True, env=_environment()).returncode == 0


def _environment() -> dict[str, str]:
    # another repository named by the environment (inside a git hook, say) is not meant; nobody is there to be asked
    elsewhere = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    return {key: value for key, value in os.environ.items() if key not in elsewhere} | {"GIT_TERMINAL_PROMPT": "0"}


def _git(name: str, *words: str) -> None:
    try:
        subprocess.run(["git", *words], check=True, capture_output=True, text=True, env=_environment())
    except FileNotFoundError:
        raise MerBenchError(f"{name}: git is not installed; install it, or give a folder with --from") from None
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split()) or f"git ended with {error.returncode}"
        raise MerBenchError(f"{name}: {said}; give a clone or a folder with --from") from None
