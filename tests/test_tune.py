"""What a search's worker does around a fold, without Ray: errors on record, limits kept. With Ray: `chaos`."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import crowd
import pytest

from mer_bench.searching import trials, tune

LIMITED = """
import re, sys, time
from pathlib import Path
import crowd
from mer_bench.searching import trials, tune

tune.GRACE = 0.5
study = crowd.study(Path(sys.argv[2]), 1, timeout=0.5)
trials.propose(study, 0, {})
with tune._limited(study, 0):
    time.sleep(60) if sys.argv[1] == "hangs" else re.match("(a+)+$", "a" * 64 + "b")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    return crowd.settle(tmp_path, monkeypatch, ills=len(crowd.ILL))


@pytest.mark.parametrize("ill, reason", [("raises", "RuntimeError: a layer of 7 channels"), ("memory", "MemoryError")])
def test_an_error_ends_a_racing_trial_with_the_reason_and_not_the_worker(place, ill, reason):
    study = replace(crowd.study(place, 2), racing=True)
    trials.propose(study, 0, {"lr": 0.01, "hidden": 4, "ill": ill})
    assert tune._attempt(study, 0, 0, "me") is None
    end = trials.ended(study, 0)
    assert end.state == trials.FAIL and end.reason.startswith(reason) and "\n" not in end.reason
    assert "Traceback" in (trials.folder(study, 0) / "error.txt").read_text()
    assert tune._attempt(study, 0, 1, "me") is None, "an ended trial trains nothing more"


@pytest.mark.parametrize("ill, reason", [("raises", "RuntimeError: a layer of 7 channels"), ("memory", "MemoryError")])
def test_without_racing_an_error_loses_its_fold_alone_and_a_trial_of_nothing_else_fails(place, ill, reason):
    study = crowd.study(place, 1)
    trials.propose(study, 0, {"lr": 0.01, "hidden": 4, "ill": ill})
    for fold in range(len(study.folds)):
        assert trials.ended(study, 0) is None
        assert tune._attempt(study, 0, fold, "me").diverged.startswith(reason)
    end = trials.finish(study, 0)
    assert end.state == trials.FAIL and end.reason.startswith(reason)
    assert "Traceback" in (trials.folder(study, 0) / "error.txt").read_text()


def test_a_method_edited_meanwhile_ends_no_trial_and_stops_the_search(place, monkeypatch):
    study, told = crowd.study(place, 2, code="of another file"), []
    trials.propose(study, 0, {"lr": 0.01, "hidden": 4, "ill": "no"})
    monkeypatch.setattr("ray.tune.report", told.append)
    tune.trainable({"trial_number": 0, "place": tune.ALL, "worker": "me"}, study)
    assert len(told) == 1 and "small.py was edited while it is trained; put it back" in told[0]["edited"]
    control = tune.Control(study, told.append, None)
    assert control.next() == 0
    control.edited = told[0]["edited"]
    control.end(0)
    assert control.over and control.next() is None and control.spare() is None
    assert trials.ended(study, 0) is None and len(told) == 1, "it goes on when the file is put back"


def test_a_model_that_gives_nan_is_on_record(place):
    study = crowd.study(place, 1)
    trials.propose(study, 0, {"lr": 0.01, "hidden": 4, "ill": "nan"})
    assert tune._attempt(study, 0, 0, "me").diverged
    assert trials.close(study, 0, trials.COMPLETE).state == trials.FAIL


def limited(place, how):
    """A worker whose fold never ends, in a process of its own."""
    run = [sys.executable, "-c", LIMITED, how, str(place)]
    assert subprocess.run(run, cwd=crowd.HERE, capture_output=True, timeout=50).returncode == 1
    return crowd.study(place, 1, timeout=0.5)


def test_a_trial_past_its_limit_ends_with_its_worker(place):
    study = limited(place, "hangs")
    assert trials.ended(study, 0).reason == "no end after 0.5 s, the limit of a trial"
    assert "most recent call first" in (trials.folder(study, 0) / "error.txt").read_text(), "where it hung"


def test_one_that_never_lets_go_of_the_interpreter_is_put_on_record_by_the_next_worker(place):
    study = limited(place, "holds")
    assert trials.ended(study, 0) is None
    with tune._limited(study, 0):
        assert trials.ended(study, 0).reason == "no end after 0.5 s, the limit of a trial"


@pytest.mark.parametrize("deaths, again", [(1, True), (tune.RETRIES, True), (tune.RETRIES + 1, False)])
def test_a_worker_that_dies_between_two_trials_costs_neither(place, deaths, again):
    study, told = crowd.study(place, 2), []
    control = tune.Control(study, told.append, None)
    proposals, _, watcher, _ = tune._adapters(control)
    asked = proposals.suggest("first")
    died = SimpleNamespace(num_failures=deaths, config=asked, error_file=None)
    watcher.on_trial_error(0, [], died)
    assert [end.state for end in told] == ([] if again else [trials.FAIL])
    if again:
        assert not control.idle and proposals.suggest("second") == asked, (
            "in the first one's name, whose folds it goes on"
        )
    assert proposals.suggest("third") == {"trial_number": 1, "place": tune.ALL, "worker": "third"}
