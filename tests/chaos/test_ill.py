"""Trials that raise, run out of memory, give NaN, hang, or take their worker with them: on record, and on it goes."""

import itertools

import crowd
import pytest

from mer_bench.contracts import MerBenchError
from mer_bench.searching import trials, tune
from mer_bench.searching.cluster import Cluster

pytestmark = pytest.mark.chaos


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study with proposals of these illnesses on record, which a driver takes up."""

    def make(*ills, **changes):
        place = crowd.settle(tmp_path, monkeypatch, ills=len(crowd.ILL))
        found = crowd.study(place, len(ills), **changes)
        for number, ill in enumerate(ills):
            trials.propose(found, number, {"lr": 0.01, "hidden": 4, "ill": ill})
        return found

    return make


def test_an_ill_trial_is_on_record_with_its_reason_and_the_search_goes_on(study):
    ills = ("raises", "memory", "nan", "hangs", "no", "holds", "no", "dies")
    asked, late = study(*ills, timeout=12.0), "no end after 12 s, the limit of a trial"
    ends = tune.search(asked, Cluster(2), lambda end: None)
    assert [end.state for end in ends] == ["COMPLETE" if ill == "no" else "FAIL" for ill in ills]
    reasons = {ill: end.reason for ill, end in zip(ills, ends, strict=True)}
    assert reasons["raises"] == "RuntimeError: a layer of 7 channels was given 3"
    assert reasons["memory"] == "MemoryError" and "loss is nan" in reasons["nan"]
    assert reasons["hangs"] == reasons["holds"] == late
    # a worker's start may take so long that the limit comes before the third death
    assert "the worker died 3 times in fold" in reasons["dies"] or reasons["dies"] == late
    told = (trials.folder(asked, ills.index("hangs")) / "error.txt").read_text()
    assert "small.py" in told and "forward" in told, "where it hung"


def test_three_errors_alike_in_a_row_stop_the_search_with_the_error_on_top(study):
    asked, told = study("no", *["raises"] * 7), []
    with pytest.raises(MerBenchError, match="same error: RuntimeError: a layer of 7 channels"):
        tune.search(asked, Cluster(2), told.append)
    # two may have failed before the good one ended; the other one under way may end before it is stopped
    row = list(itertools.takewhile(lambda end: end.state == trials.FAIL, reversed(told)))
    assert 3 <= len(row) <= 4 and len(trials.everything(asked)) < 8
