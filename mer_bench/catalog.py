"""Name -> plug-in: the file name is the registry.

Datasets live in `mer_bench/datasets/` and, a user's own, in `$MER_BENCH_HOME/datasets/`; methods in `baselines/`,
spaces in `search_spaces/`; in an installed wheel the last two are packed inside `mer_bench`. A path to a user's own
`.py` file is a method like any other. Plug-ins are loaded by path under one module name
(`mer_bench.plugins.<kind>.<stem>`), in workers too, so that their objects pickle.

    casme2, casme2:2019, smic:flow-peak       a corpus, an edition of it, with another rule for blank apexes
    casme2-5, casme2-5:no-mends               a task, the same on sheets as released
    casme2-5:own-mends                        the same with corrections of one's own (`data add --mends`)
    casme2-3>samm-3                           trained on the clips of one task, tested on those of another
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mer_bench import vision
from mer_bench.contracts import APEX_RULES, Baseline, Dataset, Mend, MerBenchError, Task, UsageError

HERE = Path(__file__).resolve().parent
SOURCE = "__mer_bench_source__"
DEFAULT_HOME = "~/.cache/mer-bench"
NO_MENDS, OWN_MENDS = "no-mends", "own-mends"
FOLDERS = {"dataset": "datasets", "baseline": "baselines", "space": "search_spaces"}


def home() -> Path:
    """The cache folder, `$MER_BENCH_HOME`; it need not exist yet."""
    return Path(os.environ.get("MER_BENCH_HOME") or DEFAULT_HOME).expanduser().absolute()


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
    return sorted(_files(kind))


def _files(kind: str) -> dict[str, Path]:
    """Name -> file; a user's own corpora lie in the cache folder and cannot take a name of the project's."""
    return {p.stem: p for place in _places(kind) for p in place.glob("*.py") if not p.stem.startswith("_")}


def _file(kind: str, name: str) -> Path | None:
    """The file of that name, if there is one."""
    places = () if name.startswith("_") or "/" in name else reversed(_places(kind))
    return next((path for place in places if (path := place / f"{name}.py").is_file()), None)


def _places(kind: str) -> list[Path]:
    return [home() / FOLDERS[kind], folder(kind)] if kind == "dataset" else [folder(kind)]


def dataset(name: str) -> Dataset:
    """The corpus of that name: `NAME[:EDITION][:no-mends][:own-mends][:APEX RULE]`."""
    stem, *options = name.split(":")
    found: Dataset = _constant("dataset", stem, "DATASET", Dataset)
    editions = found.editions
    for option in options:
        if option in editions:
            found = editions[option]
        elif option == NO_MENDS:
            found = replace(found, mends=())
        elif option == OWN_MENDS:
            found = replace(found, mends=(*found.mends, *_own_mends(stem, [o for o in options if o in editions])))
        elif option in APEX_RULES:
            found = replace(found, apex=option)
        else:
            known = ", ".join([*editions, NO_MENDS, OWN_MENDS, *APEX_RULES])
            raise UsageError(f"{stem} has no edition or option {option!r}; known: {known}")
    return found


def mends_file(name: str) -> Path:
    """Where a user's own corrections of `NAME[:EDITION]` lie; they need not."""
    return home() / "mends" / f"{name.replace(':', '-')}.csv"


def _own_mends(stem: str, editions: list[str]) -> tuple[Mend, ...]:
    from mer_bench import own

    name = ":".join([stem, *editions])
    if not mends_file(name).is_file():
        raise UsageError(f"{name} has no mends of your own; run `mer-bench data add {name} PATH --mends FILE`")
    return own.mends(mends_file(name))


def baseline(name: str) -> Baseline:
    """The method of that name (`mmnet`, `mmnet:paper-3class` without its preset), or of a user's `.py` file."""
    found: Baseline = _constant("baseline", split(name)[0], "BASELINE", Baseline)
    return found


def task(name: str) -> Task:
    """The task of that name: `NAME[:OPTION...]`, options as of its corpora, or `TRAIN>TEST`."""
    if ">" in name:
        return _cross(*name.split(">", 1))
    stem, *options = name.split(":")
    for known in names("dataset"):
        tasks = dataset(known).tasks
        if stem in tasks:
            return _with_options(tasks[stem], options)
    raise UsageError(f"unknown task {name!r}; known: {', '.join(names('task'))}")


def _with_options(found: Task, options: list[str]) -> Task:
    corpora = tuple(":".join([corpus, *options]) for corpus in found.corpora)
    for corpus in corpora:
        dataset(corpus)
    return replace(found, corpora=corpora)


def _cross(train: str, test: str) -> Task:
    """Every clip of `train` is trained on and no other; every clip of `test` is tested, one fold a corpus.

    Raises:
        UsageError: the classes differ, or a corpus stands on both sides, or its people do under another name.
    """
    first, second = task(train), task(test)
    if first.classes != second.classes:
        said = f"{', '.join(first.classes)} against {', '.join(second.classes)}"
        raise UsageError(f"{train} and {test} have different classes: {said}; choose tasks with the same")
    ours, theirs = ([corpus.split(":")[0] for corpus in side.corpora] for side in (first, second))
    if set(ours) & set(theirs):
        raise UsageError(f"{train} and {test} share {sorted(set(ours) & set(theirs))[0]}; train on another corpus")
    if both := sorted(_people(ours) & _people(theirs)):
        raise UsageError(f"{train} and {test} show the same people, those of {both[0]}; train on another corpus")
    return Task(
        corpora=first.corpora + second.corpora,
        classes=first.classes,
        class_map={**_by_corpus(first), **_by_corpus(second)},
        clips=first.clips + second.clips if first.clips and second.clips else 0,
        subjects=first.subjects + second.subjects if first.subjects and second.subjects else 0,
        counts=tuple(map(sum, zip(first.counts, second.counts, strict=True))) if first.counts and second.counts else (),
        drop={**first.drop, **second.drop},
        scale=second.scale,
        version=max(first.version, second.version),
        banner=second.banner or first.banner,
        fold="corpus",
        tested=tuple(theirs),
    )


def _people(corpora: list[str]) -> set[str]:
    """Whose faces these corpora show: one name for every recording of the same people."""
    return {people for corpus in corpora for people in dataset(corpus).people or (corpus,)}


def _by_corpus(found: Task) -> dict[str, str]:
    """The class map with `corpus/emotion` keys, so that two tasks can be laid together."""
    corpora = [corpus.split(":")[0] for corpus in found.corpora]
    return {
        key if "/" in key else f"{corpus}/{key}": value for key, value in found.class_map.items() for corpus in corpora
    }


def space(name: str, file: str = "") -> Callable[[Any], Mapping[str, Any] | None]:
    """`suggest(trial)` of a method: from the given file, else from its own if it defines one, else `search_spaces/`.

    Args:
        name: a method's, or a user's method file.
        file: a `.py` file that holds a space.

    Raises:
        UsageError: there is none.
    """
    stem = split(name)[0]
    if file:
        if not Path(file).is_file():
            raise UsageError(f"no file {file}; give a path to a .py file that defines suggest(trial)")
        own = getattr(load("space", Path(file).resolve()), "suggest", None)
        if own is None:
            raise UsageError(f"{Path(file).name} should define suggest(trial)")
    else:
        own = baseline(stem).suggest
        if own is None and stem.endswith(".py"):
            own = getattr(load("baseline", Path(stem).resolve()), "suggest", None)
    if own is not None:
        known: Callable[[Any], Mapping[str, Any] | None] = own
        return known
    if stem not in names("space"):
        raise UsageError(f"{stem} has no search space; known: {', '.join(names('space'))}")
    found: Callable[[Any], Mapping[str, Any] | None] = load("space", folder("space") / f"{stem}.py").suggest
    return found


def searchable(name: str) -> bool:
    """Whether a method has a space of its own or in `search_spaces/`."""
    try:
        return space(name) is not None
    except UsageError:
        baseline(name)
        return False


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
        path: Path | None = own.resolve()
    else:
        path = _file(kind, name)
    if path is None:
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
