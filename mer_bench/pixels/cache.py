"""Where things lie on disk, and how a folder appears there: whole, once, or not at all.

    $MER_BENCH_HOME (default ~/.cache/mer-bench)
      corpora.json          name -> folder, as told by `mer-bench data add`
      corpora/<name>-<hash> generated corpora
      datasets/<name>.py    corpora of one's own, made by `mer-bench data add`
      mends/<name>.csv      corrections of one's own, told by `mer-bench data add --mends`
      apexes/<name>-<hash>  apexes found by flow
      inputs/<name>-<hash>  prepared arrays
      gathered/<view>-<hash> those of a task's clips alone, where they do not lie together

Everything but `corpora.json`, `datasets` and `mends` may be deleted at any time. A folder is built beside its place,
flushed and renamed, under a lock that the operating system drops when its holder dies, so two processes that want the
same thing build it once and a killed one leaves neither a lock nor half a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mer_bench import catalog
from mer_bench.contracts import Dataset, MerBenchError

Tick = Callable[[int, int, str], None]

FLUSHERS = 16
TRIES = 5
"""How often a lock is asked for before another process is taken to hold it."""


def home() -> Path:
    """The cache folder; it need not exist yet."""
    return catalog.home()


def key(settings: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over JSON of every setting; anything JSON cannot hold is a TypeError."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def add(name: str, path: str | Path) -> Path:
    """Remember where a corpus lies; returns the absolute folder.

    Raises:
        UsageError: no corpus of that name is known, or it is a composite.
        MerBenchError: the path is no folder, or none of its sheets can be read.
    """
    dataset = catalog.dataset(name)
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise MerBenchError(f"{name}: {folder} is no folder; give the folder that the release was unpacked into")
    _read_any(dataset, folder)
    remember(name.split(":")[0], folder)
    return folder


def _read_any(dataset: Dataset, folder: Path) -> None:
    """Read the sheet, or that of another edition where it is missing; raises what the first one raises."""
    try:
        dataset.read_annotations(folder)
    except MerBenchError:
        for edition in dataset.editions.values():
            with suppress(MerBenchError):
                edition.read_annotations(folder)
                return
        raise


def remember(name: str, folder: Path) -> None:
    """Write down where a corpus lies."""
    home().mkdir(parents=True, exist_ok=True)
    with locked(home() / "corpora.json"):
        write_text(home() / "corpora.json", json.dumps({**registry(), name: str(folder)}, indent=1, sort_keys=True))


def registry() -> dict[str, str]:
    """Corpus name -> folder, as told by `add`.

    Raises:
        MerBenchError: the file is damaged.
    """
    file = home() / "corpora.json"
    if not file.is_file():
        return {}
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise MerBenchError(f"{file} is damaged ({error}); remove it and run `mer-bench data add` again") from None
    return found


def root(name: str, tick: Tick | None = None) -> Path:
    """The folder of a corpus: as added, else below `MER_BENCH_DATA`, else generated on first use.

    Raises:
        UsageError: no corpus of that name is known.
        MerBenchError: the corpus is not on this machine, or its folder is gone.
    """
    dataset = catalog.dataset(name)
    name = name.split(":")[0]
    added = registry().get(name)
    if added is not None:
        if not Path(added).is_dir():
            raise MerBenchError(f"{name}: its folder {added} is gone; run `mer-bench data add {name} PATH`")
        return Path(added)
    for parent in filter(None, os.environ.get("MER_BENCH_DATA", "").split(os.pathsep)):
        if (Path(parent).expanduser() / name).is_dir():
            return (Path(parent).expanduser() / name).absolute()
    if dataset.made_of:
        raise MerBenchError(f"{name} has no release of its own; add {', '.join(dataset.made_of)} instead")
    if dataset.make is None:
        raise MerBenchError(
            f"{name} is not on this machine; run `mer-bench data add {name} PATH` or set MER_BENCH_DATA to the folder "
            f"that holds {name}/ (licence: {dataset.licence})"
        )
    return _generated(name, dataset, tick)


def _generated(name: str, dataset: Dataset, tick: Tick | None) -> Path:
    make = dataset.make
    assert make is not None

    def build(folder: Path) -> None:
        make(folder, lambda done, total: tick(done, total, f"drawing {name}") if tick else None)

    return publish(home() / "corpora" / f"{name}-{key({'signature': dataset.signature})[:16]}", build)


def publish(folder: Path, build: Callable[[Path], None], *, resume: bool = False) -> Path:
    """Make `folder` by `build(empty folder)` unless it exists; whole or not at all, once between processes.

    A second process waits for the first and finds the folder made. What `build` raises passes through and leaves
    nothing behind; with `resume` the hidden folder it was building in stays, and the next attempt is given it again.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if folder.is_dir():
            return folder
        if resume:
            staged = folder.with_name(f".partial-{folder.name}")
            staged.mkdir(exist_ok=True)
            build(staged)
            _flush_tree(staged)
            staged.rename(folder)
            _flush(folder.parent)
            return folder
        prefix = f".writing-{folder.name}-"
        for left_by_the_dead in folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(left_by_the_dead)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as temporary:
            staged = Path(temporary) / "folder"
            staged.mkdir()
            build(staged)
            _flush_tree(staged)
            staged.rename(folder)
        _flush(folder.parent)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to `path`."""
    descriptor = os.open(_lock(path), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Closing alone would leave the lock with a child forked meanwhile.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process got the lock that belongs to `path`, without waiting; held until the block ends."""
    with _lock(path).open("w") as lock:
        for rest in reversed(range(TRIES)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not rest:
                    yield False
                    return
                time.sleep(0.05)  # it may be somebody who only looks, see `held`
        yield True


def held(path: Path) -> bool:
    """Whether a process holds the lock that belongs to `path`; writes nothing."""
    try:
        with _lock(path).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _lock(path: Path) -> Path:
    """The hidden file whose lock belongs to `path`; it stays, because removing it would open a race."""
    return path.with_name(f".{path.name}.lock")


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    staged = _staged(path, text)
    staged.replace(path)
    _flush(path.parent)


def write_new(path: Path, text: str, *, flush: bool = True) -> bool:
    """`write_text` unless the file is there; whether it was written. Of several writers, on any machine, one succeeds.

    The file system must know hard links. Without `flush` the file may be gone after a power cut.
    """
    staged = _staged(path, text, flush)
    try:
        os.link(staged, path)
    except FileExistsError:
        return False
    finally:
        staged.unlink()
    if flush:
        _flush(path.parent)
    return True


def _staged(path: Path, text: str, flush: bool = True) -> Path:
    """The text in a file of its own beside `path`; threads, processes and machines may write the same one at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    staged.write_text(text)
    if flush:
        _flush(staged)
    return staged


def _flush_tree(folder: Path) -> None:
    """Flush every file, side by side: the file system then commits thousands of small ones in a few strokes."""
    with ThreadPoolExecutor(FLUSHERS) as pool:
        list(pool.map(_flush, [*folder.rglob("*"), folder]))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
