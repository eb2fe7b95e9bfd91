import json
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from invented_results import result, rule, searched, study

from mer_bench.contracts import MerBenchError
from mer_bench.records import logged, scores, tracking


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """One database for the file: making its schema takes a second or two."""
    folder = tmp_path_factory.mktemp("store")
    tracking.open(f"sqlite:///{folder}/mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def tracker(address):
    """The experiment without the runs of the tests before."""
    tracker = tracking.open(address)
    for run in tracker.client.search_runs([tracker.experiment]):
        tracker.client.delete_run(run.info.run_id)
    return tracker


def record(tracker, found):
    with tracker.run("a name", found.kind, found.model, found.task, found.question) as run_id:
        tracker.finish(run_id, found, Path("/somewhere/tables"))
    return run_id


def test_results_come_back_whole_and_newest_first(tracker):
    first, second = record(tracker, result()), record(tracker, study())
    found = tracker.results()
    assert {f.run_id: f.result for f in found} == {first: result(), second: study()}
    assert [f.started for f in found] == sorted((f.started for f in found), reverse=True)


def test_results_are_paged(tracker):
    made = {record(tracker, result(f"model{i}")) for i in range(5)}
    assert {f.run_id for f in tracker.results(page=2)} == made


def test_what_is_stored_beside_a_run(tracker, address):
    parts = {"casme2": {"uf1": 0.5}}
    found = result(rules={"last": rule(0.703, per_corpus=parts), "oracle-epoch": rule(0.8, leaky=True)})
    run = tracker.client.get_run(record(tracker, found))
    assert run.info.status == "FINISHED"
    assert run.data.metrics["last.uf1"] == 0.703
    assert run.data.metrics["last.casme2.uf1"] == 0.5
    assert run.data.metrics["oracle-epoch.chance"] == 0.331
    assert "trials" not in run.data.metrics
    assert run.data.params["setting.recipe.lr"] == "0.0008"
    assert run.data.params["setting.options.depths"] == "[1, 2]"
    assert run.data.tags["mer_bench.tables"] == "/somewhere/tables"
    artifacts = Path(address.removeprefix("sqlite:///")).parent / "artifacts" / run.info.run_id / "artifacts"
    assert json.loads((artifacts / "question.json").read_text()) == found.question
    assert pl.read_parquet(artifacts / "scores.parquet").equals(scores.table(found))


def test_what_is_kept_beside_a_run_and_its_order(tracker, address):
    found = searched()
    with tracker.run("a name", found.kind, found.model, found.task, found.question) as run_id:
        tracker.finish(run_id, found, None, {"figures/a.svg": "<svg/>"}, {"mer_bench.commit": "c0ffee" * 2000})
    tracker.attach(run_id, "comparisons/b.html", "<p>")
    folder = Path(address.removeprefix("sqlite:///")).parent / "artifacts" / run_id / "artifacts"
    assert (folder / "figures/a.svg").read_text() == "<svg/>" and (folder / "comparisons/b.html").read_text() == "<p>"
    assert tracker.client.get_run(run_id).data.tags["mer_bench.commit"].startswith("c0ffee")
    (back,) = tracker.results()
    assert back.result == found and list(back.result.rules) == list(found.rules)
    assert list(back.result.rules["nested"].per_class) == ["negative", "positive", "surprise"]
    assert back.started == tracker.started(run_id)


def test_results_recorded_before_there_was_evidence_are_read(tracker, address):
    run_id = record(tracker, result())
    path = Path(address.removeprefix("sqlite:///")).parent / "artifacts" / run_id / "artifacts" / "scores.json"
    old = json.loads(path.read_text())
    for name in ("evidence", "macs", "latency", "paper"):
        del old[name]
    for score in old["rules"].values():
        for name in ("by_subject", "per_class", "intervals", "interval_method"):
            del score[name]
    path.write_text(json.dumps(old))
    assert [found.result for found in tracker.results()] == [result()]


def test_trials_are_children_and_no_results(tracker):
    with tracker.run("study", "search", "mmnet", "synth-3", {}) as parent:
        good = tracker.trial(
            parent, 0, {"lr": 1e-3, "head": None}, {"inner_uf1": 0.6, "seconds": None}, "COMPLETE", "/x"
        )
        bad = tracker.trial(parent, 1, {"lr": 9.0}, {"inner_uf1": None}, "FAIL", None)
        tracker.finish(parent, study())
    children = tracker.client.search_runs([tracker.experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert {c.info.run_id: c.info.status for c in children} == {good: "FINISHED", bad: "FAILED"}
    child = tracker.client.get_run(good)
    assert (child.data.metrics, child.data.params) == ({"inner_uf1": 0.6}, {"lr": "0.001", "head": "None"})
    assert child.data.tags["mer_bench.state"] == "COMPLETE" and child.data.tags["mer_bench.trial"] == "0"
    assert [f.run_id for f in tracker.results()] == [parent]


def test_a_trial_that_a_killed_driver_recorded_by_half_is_recorded_anew(tracker, monkeypatch):
    """The kill falls between the run's creation and its numbers."""
    tracker.trial("parent", 0, {}, {"inner_uf1": 0.6}, "COMPLETE", None, study="s")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracking.Tracker, "_log", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        tracker.trial("parent", 1, {}, {"inner_uf1": 0.5}, "COMPLETE", None, study="s")
    assert tracker.trials_of("s") == {0}
    tracker.trial("parent", 1, {}, {"inner_uf1": 0.5}, "COMPLETE", None, study="s")
    assert tracker.trials_of("s") == {0, 1}
    runs = tracker.client.search_runs([tracker.experiment], "tags.`mer_bench.study` = 's'")
    assert sorted(run.data.metrics["inner_uf1"] for run in runs) == [0.5, 0.6]


@pytest.mark.parametrize(("error", "status"), [(ValueError("loss is nan"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_what_ends_a_run_is_recorded_and_raised(tracker, error, status):
    with pytest.raises(type(error)), tracker.run("r", "run", "mmnet", "synth-3", {"seeds": 1}) as run_id:
        raise error
    run = tracker.client.get_run(run_id)
    assert run.info.status == status
    assert type(error).__name__ in run.data.tags["mer_bench.reason"]
    assert tracker.results() == []


def test_a_run_without_a_result_is_no_success(tracker):
    with tracker.run("r", "run", "mmnet", "synth-3", {}) as run_id:
        pass
    assert tracker.client.get_run(run_id).info.status == "FAILED"


def test_lost_scores_name_the_run_and_the_cure(tracker, address):
    run_id = record(tracker, result())
    (Path(address.removeprefix("sqlite:///")).parent / "artifacts" / run_id / "artifacts" / "scores.json").unlink()
    with pytest.raises(MerBenchError, match=f"{run_id}.*mlflow runs delete"):
        tracker.results()


def test_questions_of_any_size_fit(tracker):
    question = {**{f"key {i} (ü)": "x" * 10_000 for i in range(300)}, "k" * 900: 1}
    run = tracker.client.get_run(record(tracker, result(question=question)))
    assert len(run.data.params) == 100
    assert max(map(len, run.data.params.values())) == logged.MAX_PARAM


def test_any_corpus_name_makes_a_metric_mlflow_takes(tracker):
    found = result(rules={"last": rule(0.5, per_corpus={"../süd//x": {"uf1": 0.25}})})
    run = tracker.client.get_run(record(tracker, found))
    assert 0.25 in run.data.metrics.values()


def test_the_default_store_lies_below_the_current_folder(tmp_path, monkeypatch, address):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    with sqlite3.connect(address.removeprefix("sqlite:///")) as made, sqlite3.connect("mlruns/mlflow.db") as copy:
        made.backup(copy)
        copy.execute("delete from experiments where name = ?", (tracking.EXPERIMENT,))
    tracker = tracking.open()
    run_id = record(tracker, result())
    assert (tmp_path / "mlruns" / "artifacts" / run_id / "artifacts" / "scores.json").is_file()
    assert tracking.tables() == tmp_path / "mlruns" / "tables"


def test_a_store_that_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerBenchError, match="MLFLOW_TRACKING_URI") as caught:
        tracking.open("nonsense://me:secret@host/x")
    assert "secret" not in str(caught.value)
