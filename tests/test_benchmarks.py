"""The speed benchmarks' own arithmetic and report; what they time is timed elsewhere."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mer_bench import processes

FOLDER = Path(__file__).parent / "benchmarks"


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module(name)


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Any:
    return script("measuring", monkeypatch)


def test_ways_are_run_in_turn_and_warm_ups_are_not_counted(measuring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = itertools.count(), []
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    ways = {"slow": lambda: order.append("slow"), "fast": lambda: order.append("fast")}
    taken = measuring.paired(ways, repeats=3, warm=2)
    assert order == ["slow", "fast"] * 5
    assert {name: len(seconds) for name, seconds in taken.items()} == {"slow": 3, "fast": 3}


def test_a_ratio_is_the_median_of_the_pairs_and_not_of_the_sides(measuring: Any) -> None:
    taken = {"slow": [2.0, 30.0, 4.0], "fast": [1.0, 10.0, 4.0]}
    assert measuring.ratio(taken, "slow", "fast") == 2.0


def test_a_verdict_says_what_is_missed(measuring: Any) -> None:
    assert measuring.verdict(3.6, 3.5) == "at least 3.5: met"
    assert measuring.verdict(3.4, 3.5) == "at least 3.5: **missed**"
    assert measuring.verdict(1.06, 1.05, most=True) == "at most 1.05: **missed**"


def test_a_section_is_a_heading_words_and_a_table(measuring: Any) -> None:
    said = measuring.section("Steps", " words ", ("what", "ratio"), [("a", 3.14159), ("b", 1234.5)])
    assert said == "## Steps\n\nwords\n\n| what | ratio |\n|---|---|\n| a | 3.14 |\n| b | 1234 |\n"


def test_a_section_measured_anew_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    every = script("all", monkeypatch)
    monkeypatch.setattr(every, "REPORT", tmp_path / "PERFORMANCE.md")
    assert every.sections() == {}
    every.write({"startup": "## Start-up\n\nstale", "step": "## Step\n\nkept"})
    found = every.sections()
    assert list(found) == ["step", "startup"], "in the report's order"
    every.write({**found, "startup": "## Start-up\n\nnew"})
    text = (tmp_path / "PERFORMANCE.md").read_text()
    assert "stale" not in text and every.sections() == {"step": "## Step\n\nkept", "startup": "## Start-up\n\nnew"}
    assert "Not measured: no GPU was at hand" in text
    every.write({**found, "step-cuda": "## Step"})
    assert "Not measured" not in (tmp_path / "PERFORMANCE.md").read_text()


def test_a_script_that_fails_leaves_its_section(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    every = script("all", monkeypatch)
    monkeypatch.setattr(every, "HERE", tmp_path)
    (tmp_path / "step.py").write_text("raise SystemExit(3)")
    (tmp_path / "scale.py").write_text("print('## Scale')")
    (tmp_path / "report_scale.py").write_text("print(1)")
    assert every.run("step", "cpu", "abc") is None
    assert every.run("scale", "cpu", "abc").startswith("## Scale\n\n_Commit abc, ")
    assert "says:\n\n```\n1\n```" in every.run("report_scale", "cpu", "abc")


def test_every_script_of_the_report_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    every = script("all", monkeypatch)
    assert [script for script, *_ in every.SECTIONS.values() if not (FOLDER / script).is_file()] == []
    assert set(every.ON_GPU) <= set(every.SECTIONS) and set(every.ON_CPU) | {"whole"} == set(every.SECTIONS)


def test_the_linear_benchmark_s_corpus_has_megc_s_size(monkeypatch: pytest.MonkeyPatch) -> None:
    table = script("linear", monkeypatch).clips()
    assert len(table) == 442 and table["subject"].n_unique() == 68
    assert table["clip"].is_sorted() and table["clip"].n_unique() == 442


def test_a_fit_of_costs_finds_the_coefficients_it_was_drawn_with(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = script("scale", monkeypatch)
    rng, wanted = np.random.default_rng(0), np.array([0.2, 0.003, 0.001, 0.0])
    terms = np.column_stack([np.ones(8), *rng.uniform(10, 1000, (3, 8))])
    found, miss = scale.fitted([(float(term @ wanted), tuple(term)) for term in terms])
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert miss < 1e-9


def test_plain_frames_are_the_nine_of_the_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = script("plain", monkeypatch)
    asked: list[str] = []
    monkeypatch.setattr(
        plain.cv2, "imread", lambda path: (asked.append(Path(path).stem), np.zeros((9, 9, 3), np.uint8))[1]
    )
    row = {"onset": 10, "apex": 30, "offset": 50, "frame_path": "{frame}.jpg"}
    stack = plain.nine_frames(tmp_path, row, 8)
    assert asked == ["10", "11", "12", "13", "30", "50", "49", "48", "47"] and stack.shape == (27, 8, 8)
    assert plain.augmented(stack, np.random.default_rng(0)).shape == stack.shape
    assert sys.path[0] == str(FOLDER)


def test_a_script_started_by_hand_has_one_thread_and_nothing_else_of_ours(
    measuring: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in processes.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with measuring.by_hand(_told) as ask:
        assert dict(os.environ) == before
        ask({"OMP_NUM_THREADS": "1"} | dict.fromkeys(set(processes.ENVIRONMENT) - {"OMP_NUM_THREADS"}))
        with pytest.raises(EOFError):
            ask({"OMP_NUM_THREADS": "2"})


def _told() -> Callable[[dict[str, str | None]], None]:
    """Work that dies unless the environment is what it is told."""

    def work(wanted: dict[str, str | None]) -> None:
        if {name: os.environ.get(name) for name in wanted} != wanted:
            os._exit(1)

    return work
