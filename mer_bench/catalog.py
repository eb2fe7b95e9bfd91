"""Name -> plug-in: the file name is the registry.

Datasets live in `mer_bench/datasets/`, methods in `baselines/`, spaces in `search_spaces/`; in an installed wheel the
last two are packed inside `mer_bench`. A path to a user's own `.py` file is a method like any other. Plug-ins are
loaded by path under one module name (`mer_bench.plugins.<kind>.<stem>`), in workers too, so that their objects pickle.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mer_bench import vision
from mer_bench.contracts import Baseline, Dataset, MerBenchError, Task, UsageError

HERE = Path(__file__).resolve().parent
SOURCE = "__mer_bench_source__"
FOLDERS = {"dataset": "datasets", "baseline": "baselines", "space": "search_spaces"}


def folder(kind: str) -> Path:
    """The folder that holds a kind of plug-in: inside the package, or beside it in a checkout."""
    for place in (HERE / FOLDERS[kind], HERE.parent / FOLDERS[kind]):
        if place.is_dir():
            return place
    raise MerBenchError(f"the installation is incomplete: no folder {FOLDERS[kind]}/; install mer-bench again")


def names(kind: str) -> list[str]:
    """Known names of a kind: dataset, task, baseline or space."""
    if kind == "task":
        return sorted(task for name in names("dataset") for task in dataset(name).tasks)
    if kind not in FOLDERS:
        raise UsageError(f"unknown kind {kind!r}; one of dataset, task, baseline, space")
    return sorted(p.stem for p in folder(kind).glob("*.py") if not p.stem.startswith("_"))


def dataset(name: str) -> Dataset:
    """The corpus of that name."""
    found: Dataset = _constant("dataset", name, "DATASET", Dataset)
    return found


def baseline(name: str) -> Baseline:
    """The method of that name (`mmnet`, `mmnet:paper-3class` without its preset), or of a user's `.py` file."""
    found: Baseline = _constant("baseline", split(name)[0], "BASELINE", Baseline)
    return found


def task(name: str) -> Task:
    """The task of that name."""
    for known in names("dataset"):
        tasks = dataset(known).tasks
        if name in tasks:
            return tasks[name]
    raise UsageError(f"unknown task {name!r}; known: {', '.join(names('task'))}")


def space(name: str) -> Callable[[Any], Mapping[str, Any] | None]:
    """`suggest(trial)` of a method: from its own file if it defines one, else from `search_spaces/`.

    Raises:
        UsageError: there is none.
    """
    stem = split(name)[0]
    own = baseline(stem).suggest
    if own is not None:
        return own
    if stem not in names("space"):
        raise UsageError(f"{stem} has no search space; known: {', '.join(names('space'))}")
    found: Callable[[Any], Mapping[str, Any] | None] = load("space", folder("space") / f"{stem}.py").suggest
    return found


def fingerprint(name: str) -> str:
    """A hash of a method's source file: edited code is another question."""
    stem, _ = split(name)
    path = Path(stem) if stem.endswith(".py") else folder("baseline") / f"{stem}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def split(name: str) -> tuple[str, str]:
    """`FILE[:PRESET]` -> (file, preset)."""
    stem, _, preset = name.partition(":")
    return stem, preset


def _constant(kind: str, name: str, constant: str, of: type) -> Any:
    own = Path(name)
    if kind == "baseline" and own.suffix == ".py":
        if not own.is_file():
            raise UsageError(f"no file {name}; give a path to a .py file that ends in BASELINE = Baseline(...)")
        path = own.resolve()
    elif name in names(kind):
        path = folder(kind) / f"{name}.py"
    else:
        raise UsageError(f"unknown {kind} {name!r}; known: {', '.join(names(kind))}")
    found = getattr(load(kind, path), constant, None)
    if not isinstance(found, of):
        raise UsageError(f"{path.name} must end in {constant} = {of.__name__}(...)")
    return found


def load(kind: str, path: Path) -> types.ModuleType:
    """Import a plug-in by path, again only if its text has changed; an error inside it is raised as it is."""
    name = f"mer_bench.plugins.{kind}.{path.stem}"
    source = hashlib.sha256(path.read_bytes()).hexdigest()
    module = sys.modules.get(name)
    if module is not None and (module.__file__, module.__dict__.get(SOURCE)) == (str(path), source):
        return module
    sys.modules.setdefault("mer_bench.plugins", types.ModuleType("mer_bench.plugins"))
    sys.modules.setdefault(f"mer_bench.plugins.{kind}", types.ModuleType(f"mer_bench.plugins.{kind}"))
    try:
        return _execute(name, path, source)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        vision.ready()  # the file imported timm or torchvision without asking for it
        return _execute(name, path, source)


def _execute(name: str, path: Path, source: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__[SOURCE] = source
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
