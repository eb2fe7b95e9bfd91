"""Trials that raise, run out of memory, give NaN, hang, or take their worker with them: on record, and on it goes."""

import crowd
import pytest

from mer_bench import trials, tune
from mer_bench.cluster import Cluster
from mer_bench.contracts import MerBenchError

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
    asked = study("raises", "memory", "no", "nan", "hangs", "holds", "dies", "no", timeout=8.0)
    ends = tune.search(asked, Cluster(2), lambda end: None)
    assert [end.state for end in ends] == ["FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL", "FAIL", "FAIL", "COMPLETE"]
    reasons = [end.reason for end in ends]
    assert reasons[0] == "RuntimeError: a layer of 7 channels was given 3" and reasons[1] == "MemoryError"
    assert "not finite" in reasons[3] or "nan" in reasons[3]
    assert reasons[4] == reasons[5] == "no end after 8 s, the limit of a trial"
    assert "the worker died 3 times in fold" in reasons[6] or reasons[6] == reasons[5]
    told = (trials.folder(asked, 4) / "error.txt").read_text()
    assert "small.py" in told and "forward" in told, "where it hung"


def test_three_errors_alike_in_a_row_stop_the_search_with_the_error_on_top(study):
    asked, told = study("no", *["raises"] * 7), []
    with pytest.raises(MerBenchError, match="same error: RuntimeError: a layer of 7 channels"):
        tune.search(asked, Cluster(2), told.append)
    failed = [end for end in told if end.state == trials.FAIL]
    assert 3 <= len(failed) <= 4 and len(trials.everything(asked)) < 8
