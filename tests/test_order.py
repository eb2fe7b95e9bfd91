"""One reading order: a module imports only names before it, and every heavy library has its door."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = (
    "contracts", "processes", "facs", "clips", "sheets", "coding", "folders", "own", "predictions", "seeds", "layers",
    "vision", "catalog", "classical",
)  # fmt: skip
PIXELS = (
    "cache", "fetch", "stores", "frames", "faces", "flow", "tim", "apex", "inputs", "contact", "video", "spotting",
    "footage", "inspection",
)  # fmt: skip
PROTOCOL = ("splits", "metrics", "selection", "hindsight", "intervals", "bootstrap", "stats", "comparisons")
CLAIMS = ("printed", "feasible", "attain", "audit")
TRAINING = ("batches", "trainer", "probes", "fold", "loso", "cost", "pace", "weights")
RECORDS = ("evidence", "scores", "grading", "logged", "provenance", "tracking", "submissions")
REPORTS = (
    "prose", "reading", "standings", "cells", "tables", "svg", "charts", "portraits", "lanes", "landscapes", "figures",
    "pages", "sighting", "leaderboard",
)  # fmt: skip
SEARCHING = (
    "space", "knobs", "studies", "trials", "finals", "racing", "proposer", "control", "cluster", "tune", "importance",
    "ledger", "shelf", "accounts", "particulars", "dossier",
)  # fmt: skip
VERIFYING = ("contract", "behaviour", "canary", "check")
ANSWERING = (
    "overview", "ready", "answers", "attachments", "scoring", "given", "options", "book", "searches", "pending",
    "commands", "comparing", "reproduce", "fitting", "predicting", "probing", "planning", "watching", "recorded",
)  # fmt: skip
DOOR = ("progress", "data", "terms", "checks", "runs", "spaces", "plans", "uses", "cli")
ROWS = {
    "words": WORDS, "pixels": PIXELS, "protocol": PROTOCOL, "claims": CLAIMS, "training": TRAINING, "records": RECORDS,
    "reports": REPORTS, "searching": SEARCHING, "verifying": VERIFYING, "answering": ANSWERING, "door": DOOR,
}  # fmt: skip
FLAT = ("words", "protocol")
"""Rows that lie in `mer_bench` itself: what plug-ins and users import. Every other row is a folder."""
ORDER = [name for row in ROWS.values() for name in row]
DOORS = {
    "dlib": {"faces"},
    "mlflow": {"tracking"},
    "ray": {"cluster", "tune"},
    "optuna": {"space", "proposer", "importance", "search_spaces"},
    "rich": {"leaderboard", "check", "watching", "progress", "data", "runs", "spaces", "plans", "cli"},
    "timm": {"baselines"},
}
SEALS = {"open_test", "open_folds_test"}

FOLDERS = [ROOT / "mer_bench", *(ROOT / "mer_bench" / row for row in ROWS if row not in FLAT)]
MODULES = [p for folder in FOLDERS for p in sorted(folder.glob("*.py")) if p.stem != "__init__"]
PLUGINS = sorted(
    p for folder in ("baselines", "search_spaces", "mer_bench/datasets") for p in (ROOT / folder).rglob("*.py")
)


@functools.cache
def parsed(path):
    """A file's syntax tree."""
    return ast.parse(path.read_text())


def imported(path):
    """Dotted names a file imports anywhere, inside functions too; `from a import b` gives `a.b`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import starts at the file's own folder, or above it.
            above = path.parents[node.level - 1].relative_to(ROOT).parts if node.level else ()
            yield from (".".join([*above, *filter(None, [node.module]), alias.name]) for alias in node.names)


def own(path):
    """The parts below `mer_bench`, its folders left out, of what a file imports from it."""
    parts = [name.split(".")[1:] for name in imported(path) if name.split(".")[0] == "mer_bench"]
    return [part[1:] if part[:1] and part[0] in ROWS else part for part in parts]


def test_a_row_is_a_folder_and_names_are_unique():
    for row, names in ROWS.items():
        home = ROOT / "mer_bench" if row in FLAT else ROOT / "mer_bench" / row
        assert not [name for name in names if not (home / f"{name}.py").is_file()], row
    assert len(MODULES) == len(ORDER) == len(set(ORDER))


def named(path):
    """A file as a fault names it."""
    return str(path.relative_to(ROOT))


def test_a_module_imports_only_names_before_it():
    late = {}
    for path in MODULES:
        assert path.stem in ORDER, f"give {named(path)} its place in ORDER"
        before = ORDER[: ORDER.index(path.stem)]
        late[named(path)] = [".".join(parts) for parts in own(path) if not parts or parts[0] not in before]
    assert not {path: names for path, names in late.items() if names}


def test_a_plugin_imports_only_words_and_shared_parts():
    def fine(parts):
        return parts and (parts[0] in WORDS or any(part.startswith("_") for part in parts[:2]))

    foreign = {named(path): [".".join(parts) for parts in own(path) if not fine(parts)] for path in PLUGINS}
    assert len(foreign) > 20 and not {path: names for path, names in foreign.items() if names}


def test_heavy_libraries_have_one_door():
    elsewhere = {}
    for path in [*MODULES, *PLUGINS]:
        place = path.stem if path in MODULES else path.relative_to(ROOT).parts[0]
        heavy = {name.split(".")[0] for name in imported(path)} & set(DOORS)
        elsewhere[named(path)] = [library for library in heavy if place not in DOORS[library]]
    assert not {path: libraries for path, libraries in elsewhere.items() if libraries}


def test_only_selection_and_hindsight_break_the_seal():
    breaking = set()
    for path in [*MODULES, *PLUGINS]:
        said = set()
        for node in ast.walk(parsed(path)):
            said |= {getattr(node, field, None) for field in ("id", "attr", "name", "value")} & SEALS
        breaking |= {named(path)} if said else set()
    assert breaking == {f"mer_bench/{name}.py" for name in ("predictions", "selection", "hindsight")}
