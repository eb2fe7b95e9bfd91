"""What README says is true: its commands parse, its names exist, its order is the import order, its model runs."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import typer
from test_order import ROWS

from mer_bench import catalog
from mer_bench.contracts import resolve
from mer_bench.door import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted({m[1] for _, text in BLOCKS for m in re.finditer(r"\b(mer-bench [a-z][^#\n&']*)", text)})


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_parses_and_names_what_exists(line):
    words = shlex.split(line)[1:]
    command = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    values = command.make_context(command.name, words).params
    if values.get("task"):
        catalog.task(values["task"])
    against = values.get("against") or []
    others = [against] if isinstance(against, str) else against
    for model in filter(None, (values.get("model"), *others)):
        if not model.endswith(".py"):
            stem, preset = catalog.split(model)
            settings = cli.parse_settings(list(values.get("settings") or []))
            resolve(stem, catalog.baseline(stem), preset, settings)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 10


def test_the_map_is_the_import_order():
    drawn: dict[str, list[str]] = {}
    floor = ""
    for line in ("words      " + README.split("\nwords      ")[1].split("```")[0]).splitlines():
        floor = line.split()[0] if not line.startswith(" ") else floor
        names = line.split()[1:] if not line.startswith(" ") else line.split()
        drawn.setdefault(floor, []).extend(name for name in names if name != "·")
    assert drawn == {row: list(names) for row, names in ROWS.items()}


def test_the_tasks_are_the_ones_that_exist():
    rows = re.findall(r"^\| `([a-z0-9-]+)`[^|]*\| ([\d,]+) \| (\d+) \|", README, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == catalog.names("task")
    for name, clips, subjects in rows:
        task = catalog.task(name)
        assert (task.clips, task.subjects) == (int(clips.replace(",", "")), int(subjects))


def test_the_model_in_one_file_runs(tmp_path):
    (source,) = [text for kind, text in BLOCKS if kind == "python" and "BASELINE" in text]
    (tmp_path / "flow_resnet.py").write_text(source)
    baseline = catalog.baseline(str(tmp_path / "flow_resnet.py"))
    model = baseline.model(num_classes=3).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
