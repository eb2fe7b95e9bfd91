"""The table of methods: up to date, and only what was recorded."""

import polars as pl
import pytest

from mer_bench import catalog, selection
from mer_bench.answering import overview
from mer_bench.reports import reading


def test_the_committed_file_is_up_to_date():
    current = overview.FILE.read_text(encoding="utf-8") == overview.text()
    assert current, "run `python -m mer_bench.answering.overview` and commit baselines/README.md"


def test_every_method_has_its_row_and_every_rule_is_a_known_one():
    rows = [line for line in overview.text().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == catalog.names("baseline")
    assert all(row.count(" | ") == 7 for row in rows)
    for name in catalog.names("baseline"):
        paper = catalog.baseline(name).paper
        assert {printed.rule for printed in paper.printed if paper} <= {*reading.RULES, "unstated"} if paper else True


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "macs"),
    [
        ("ststnet", 3, 1683, 30 * 30 * 27 * 16 - (30 * 30 - 30 * 30) + 400 * 3),
        ("mmnet", 5, 9_438_841, 7.2e9),
        ("mmnet:paper-3class", 5, 9_442_425, 7.25e9),
        ("resnet18", 1000, 11_689_512, 1.814e9),
    ],
)
def test_costs_are_those_of_the_papers(name, classes, parameters, macs):
    """Counts of the sources; 1.81 G multiply-accumulates are what the ResNet paper's layers come to."""
    found = overview.cost(name, classes)
    assert found[0] == parameters and found[1] == pytest.approx(macs, rel=0.05)


def test_a_method_without_gradients_has_no_such_cost():
    assert overview.cost("ridge_flow") == (None, None)


def invented(*rows):
    names = ("model", "task", "rule", "uf1", "leaky", "started")
    return pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows])


def test_ours_is_the_newest_run_of_every_rule_and_never_the_best():
    found = invented(
        ("mmnet", "synth-3", "last", 0.9, False, "2026-01-01 00:00:00"),
        ("mmnet", "synth-3", "last", 0.2314, False, "2026-01-02 00:00:00"),
        ("mmnet", "synth-3", "oracle-epoch", 0.5, True, "2026-01-02 00:00:00"),
        ("mmnet:flow", "synth-3", "nested", 0.7, False, "2026-01-01 00:00:00"),
        ("mmnet", "megc2019-flow-3", "last", 0.4, False, "2026-01-01 00:00:00"),
        ("mmnet_two", "synth-3", "last", 0.6, False, "2026-01-03 00:00:00"),
        ("mmnet.py", "synth-3", "last", 0.6, False, "2026-01-03 00:00:00"),
    )
    assert overview.ours("mmnet", "synth-3", found) == "last .231; `:flow` nested .700; *oracle-epoch .500*"
    assert overview.ours("ststnet", "synth-3", found) == "" == overview.ours("mmnet", "synth-3", None)


def test_weights_from_files_are_not_among_a_methods_own_numbers():
    given = ("ststnet (weights: public)", "synth-3", selection.GIVEN, 0.9, False, "2026-01-01 00:00:00")
    assert overview.ours("ststnet", "synth-3", invented(given)) == ""


def test_without_records_the_cells_are_empty(tmp_path):
    rows = [line for line in overview.text(tmp_path / "none.csv").splitlines() if line.startswith("| `")]
    assert all(row.endswith(" |  |  |") for row in rows)


def test_it_writes_where_it_is_told(tmp_path, capsys):
    overview.main([str(tmp_path / "README.md")])
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == overview.text()
    assert capsys.readouterr().out.strip() == str(tmp_path / "README.md")
