"""The leaderboard on the screen."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import pytest
from invented_results import BANNER, HELD, result, rule, study
from rich.console import Console

from mer_bench.contracts import MerBenchError
from mer_bench.records import scores
from mer_bench.reports import leaderboard, prose

WILD = "[bold]mine|`x`"


@pytest.fixture
def results():
    found = [
        study(),
        result(),
        result(WILD, folds_done=3),
        result("bi_woof", "megc2019-3", {"last": rule(0.55)}, banner=""),
    ]
    return [(f"{i}" * 32, datetime(2025, 1, 1 + i, tzinfo=UTC), r) for i, r in enumerate(found)]


def shown(results, width=80):
    console = Console(width=width, file=StringIO())
    console.print(leaderboard.screen(results))
    return console.file.getvalue()


def test_screen_fits_a_narrow_terminal_and_names_chance_and_leaks(results):
    text = shown([r for r in results if r[2].kind == "search"])
    assert ".660 [.560, .740]" in text and "chance .331" in text and "SYNTHETIC" in text
    assert re.search(r"nested-no-refit, strict\*", text) and "* trained without" in text
    assert re.search(r"oracle-trial .* leaky", text)
    assert max(map(len, text.splitlines())) <= 80


def test_leaky_rows_stand_below_the_others(results):
    for section in leaderboard.sections(scores.rows(results)):
        assert not any("oracle" in line.cells["rule"] for line in section.honest)
        assert all(line.raw["leaky"] for line in section.leaky)


def test_banner_and_facts_belong_to_their_task(results):
    composite, synthetic = leaderboard.sections(scores.rows(results))
    assert synthetic.banner == BANNER and composite.banner == ""
    assert synthetic.facts == "240 clips, 24 subjects, clip list ab12cd34; chance .331."
    partial = [line.cells["folds"] for line in synthetic.honest if line.cells["model"] == WILD]
    assert partial == ["3/24 PARTIAL"] * 2


def test_a_report_does_not_wait_for_torch():
    heavy = "[m for m in ('torch', 'ray') if m in sys.modules]"
    ours = "from mer_bench.answering import commands; from mer_bench.reports import leaderboard"
    code = f"import sys; {ours}; print({heavy})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_model_of_any_name_is_text(results):
    assert WILD in shown(results, 160)


def test_without_results_the_first_command_is_named():
    with pytest.raises(MerBenchError, match="mer-bench run"):
        leaderboard.screen([])


def test_training_subjects_have_a_short_name():
    assert set(prose.TRAINED_ON) == {rule(0.5).trained_on, HELD}
