"""The simulation behind `reports/calibration.md`: what it draws is what it says, and its truth is its draws' mean."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from mer_bench import intervals

ROOT = Path(__file__).resolve().parent
TABLE = (ROOT.parent / "reports" / "calibration.md").read_text()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("calibration", ROOT / "benchmarks" / "calibration.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calibration"]


def test_sizes_have_the_quartiles_of_the_corpora(script):
    for name, quartiles in script.QUARTILES.items():
        assert tuple(script.sizes(name, np.linspace(0, 1, 5))) == quartiles
    assert script.sizes("casme2", (np.arange(26) + 0.5) / 26).sum() == pytest.approx(255, abs=8)


def test_the_population_is_the_mean_of_many_draws(script):
    rng = np.random.default_rng(0)
    for folds in script.FOLDS:
        for spread in (1.0, script.UNLIKE):
            drawn = np.mean([script.draw(folds, rng).answers(0.7, rng, spread).sum((0, 1)) for _ in range(300)], 0)
            told = script.population(folds, 0.7)
            assert np.trace(told) / told.sum() == pytest.approx(0.7)
            assert drawn == pytest.approx(told, rel=0.1, abs=1)


def test_the_whole_table_is_made(script):
    words = script.report(2, 40)
    assert words.count("| UF1 |") == 6 and words.count("| alike |") == 6 and words.count("0.50, 0.60") == 2
    assert f"**{intervals.METHOD}**" in words


def test_the_committed_table_shows_what_was_promised():
    """UF1's intervals of the chosen method cover .92 to .97, and the paired test's false alarms are .03 to .07."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("|")
    ]
    chosen = intervals.METHODS.index(intervals.METHOD) + 3
    covered = [float(row[chosen].split()[0]) for row in rows if len(row) == 7 and row[2] == "UF1"]
    alarms = [float(row[3]) for row in rows if len(row) == 5 and row[2] == "alike"]
    assert len(covered) == len(alarms) == 6
    assert all(0.92 <= share <= 0.97 for share in covered)
    assert all(0.03 <= share <= 0.07 for share in alarms)
    assert "--repetitions 1000" in TABLE
