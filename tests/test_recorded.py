"""Runs and studies on record: listed, shown, removed, and watched from a second shell."""

import io
import json
import shutil
import subprocess
import sys
import threading

import pytest
import toy
from rich.console import Console
from typer.testing import CliRunner

from mer_bench.answering import commands, watching
from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.door.cli import app
from mer_bench.pixels import cache
from mer_bench.records import tracking
from mer_bench.searching import tune

FEW = {"sampler": "qmc", "workers": 1, "refit": False, "rules": ("nested-no-refit",), "settings": {"epochs": 2}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "search", toy.in_this_process)
        yield toy.settle(tmp_path_factory.mktemp("recorded"), patch, toy.corpus(signal=40, sizes=(6, 5, 7, 4)))


@pytest.fixture(scope="module")
def model(place):
    return str(place / "tiny.py")


@pytest.fixture(scope="module")
def study(model):
    """A study with two answers: of two trials, and of three."""
    return [commands.search(model, "toy", trials=count, **FEW) for count in (2, 3)]


@pytest.fixture(scope="module")
def ran(model):
    return commands.run(model, "toy", workers=1, rules=("last",), settings={"epochs": 2})


@pytest.fixture(scope="module")
def killed(model, place):
    """A study whose driver died: MLflow believes it to be running."""
    answer = commands.search(model, "toy", trials=2, seed=8, **FEW)
    book = json.loads((answer.tables / "study.json").read_text())
    for run in book["runs"].values():
        run["done"] = False
    (answer.tables / "study.json").write_text(json.dumps(book))
    (answer.tables / "trial-0001" / "ended.json").unlink()
    tracking.open().client.set_tag(answer.run_id, "mer_bench.scored", "no")
    tracking.open().client.update_run(answer.run_id, status="RUNNING")
    return answer


def typed(*words, fails=None, **more):
    done = CliRunner().invoke(app, ["runs", *words], **more)
    if fails:
        assert isinstance(done.exception, fails), done.output
        return str(done.exception)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def rows(*words):
    return {row["run_id"]: row for row in json.loads(typed("list", "--json", *words))}


def test_everything_is_listed_newest_first_with_its_rule_and_how_it_stands(study, ran, killed):
    found = rows()
    assert [row["started"] for row in found.values()] == sorted(
        (row["started"] for row in found.values()), reverse=True
    )
    two, three = (found[answer.run_id] for answer in study)
    assert (two["status"], two["trials_done"], two["trials"]) == ("finished", 2, 2)
    assert (three["trials_done"], three["trials"]) == (3, 3) and two["study"] == three["study"] == study[0].tables.name
    score = study[1].result.rules["nested-no-refit"]
    assert three["headline"] == "nested-no-refit" and three["uf1"] == {"nested-no-refit": score.uf1}
    assert three["uf1_interval"] == pytest.approx(list(score.uf1_interval))
    one = found[ran.run_id]
    assert (one["kind"], one["status"], one["headline"], one["trials"]) == ("run", "finished", "last", None)
    assert one["folder"] == str(ran.tables)
    assert found[killed.run_id]["status"] == "interrupted" and found[killed.run_id]["trials_done"] == 1
    assert set(rows("--status", "interrupted")) == {killed.run_id} and not rows("--task", "synth-3")
    assert three["strictness"] == "strict" and one["strictness"] == ""
    shown = typed("list")
    assert (
        "nested-no-refit," in shown and "strict" in shown and "interrupted" in shown and three["run_id"][:12] in shown
    )
    assert "unknown status" in typed("list", "--status", "dead", fails=UsageError)


def test_what_is_worked_on_is_running_and_nothing_else_is(killed, ran):
    with cache.claimed(killed.tables):
        assert rows()[killed.run_id]["status"] == "running"
        assert "is running" in typed("rm", "--yes", killed.tables.name, fails=UsageError)
    assert rows()[killed.run_id]["status"] == "interrupted"
    tracker = tracking.open()
    with tracker.run("work", "run", "tiny.py", "toy", {}) as run_id, tracking.held(run_id):
        assert rows()[run_id]["status"] == "running"
        tracker.client.set_tag(run_id, "mer_bench.scored", "yes")
        tracker.client.set_terminated(run_id, "FINISHED")
    tracker.client.delete_run(run_id)


def test_looking_does_not_keep_a_driver_out(tmp_path):
    """A look holds the lock for an instant; a driver that meets it tries again."""
    with cache.claimed(tmp_path / "study") as mine:
        assert mine and cache.held(tmp_path / "study")
    assert not cache.held(tmp_path / "study") and not cache.held(tmp_path / "other")
    stop = threading.Event()

    def looking():
        while not stop.is_set():
            cache.held(tmp_path / "study")

    watcher = threading.Thread(target=looking)
    watcher.start()
    try:
        for _ in range(50):
            with cache.claimed(tmp_path / "study") as mine:
                assert mine
    finally:
        stop.set()
        watcher.join()


def test_one_in_full(study, ran, killed):
    shown = typed("show", ran.run_id[:10])
    assert "last" in shown and "torch" in shown and "mer-bench reproduce" in shown
    told = json.loads(typed("show", study[1].run_id[:10], "--json"))
    assert told["question"]["trials"] == 3 and told["question"]["sampler"] == "qmc"
    assert told["standing"]["trials_done"] == 3 and told["versions"]["torch"]
    assert told["go_on"].startswith("mer-bench reproduce") and "with a larger --trials" in told["go_on"]
    stopped = json.loads(typed("show", killed.tables.name, "--json"))
    assert stopped["go_on"].endswith("--resume") and "--seed 8" in stopped["go_on"]
    assert stopped["question"]["seed"] == 8
    assert "waiting" in [trial["state"] for trial in stopped["standing"]["per_trial"]]
    assert "mer-bench runs list" in typed("show", "zzz", fails=UsageError)
    assert study[0].run_id[:12] in typed("show", study[0].tables.name) or study[1].run_id[:12] in typed(
        "show", study[0].tables.name
    )


def test_a_study_is_found_without_the_database(study):
    folder = study[0].tables
    for name in (folder.name, str(folder), study[0].run_id[:9]):
        assert watching.find(name) == folder
    assert watching.find("zzz") is None and watching.find("") is None


def test_removal_asks_and_takes_tables_artifacts_and_entry(model, place):
    answer = commands.run(model, "toy", workers=1, rules=("last",), settings={"epochs": 1})
    artifacts = place / "mlruns" / "artifacts" / answer.run_id
    assert answer.tables.is_dir() and artifacts.is_dir()
    assert typed("rm", answer.run_id[:12], input="n\n", fails=MerBenchError) == "nothing was removed"
    assert answer.tables.is_dir()
    assert answer.run_id[:12] in typed("rm", answer.run_id[:12], input="y\n")
    assert not answer.tables.exists() and not artifacts.exists() and answer.run_id not in rows()
    assert not (answer.tables.parent / f".{answer.tables.name}.lock").exists()
    typed("rm", answer.run_id[:12], "--yes", fails=UsageError)


def test_one_answer_of_a_study_leaves_the_trials_to_the_others(model):
    answers = [commands.search(model, "toy", trials=count, seed=4, **FEW) for count in (1, 2)]
    tracker = tracking.open()
    assert len(tracker.trial_runs(parent=answers[0].run_id)) == 1
    said = typed("rm", answers[0].run_id[:12], "--yes")
    assert "its trials stay with 1 more" in said
    assert answers[0].run_id not in rows() and (answers[1].tables / "trial-0000" / "ended.json").is_file()
    assert len(tracker.trial_runs(parent=answers[1].run_id)) == 2, "trials are shown below an answer that is there"
    with pytest.warns(Remark):
        assert not commands.search(model, "toy", trials=1, seed=4, **FEW).reused
    said = typed("rm", answers[0].tables.name, "--yes")
    assert "2 trials, 2 answers" in said
    assert not answers[0].tables.exists() and not tracker.trial_runs(study=answers[0].tables.name)
    assert not [row for row in rows().values() if row["study"] == answers[0].tables.name]


def test_a_folder_that_the_store_does_not_know_is_listed_and_can_go(study, place):
    copy = study[0].tables.with_name("from-elsewhere")
    shutil.copytree(study[0].tables, copy)
    (row,) = [row for row in json.loads(typed("list", "--json")) if row["study"] == copy.name]
    assert (row["run_id"], row["status"], row["reason"]) == ("", "interrupted", "not in this MLflow store")
    assert row["model"] == "tiny.py" and row["task"] == "toy"
    typed("rm", copy.name, "--yes")
    assert not copy.exists() and study[0].tables.is_dir()


@pytest.fixture
def standing(tmp_path):
    """A study on disk as it is in the middle of a search, made by hand."""
    folder = tmp_path / "mmnet-synth-3-abc"
    runs = {"5 trials": {"run_id": "a1", "done": False, "trials": 5, "seeds": 2, "command": "mer-bench search mmnet"}}
    cache.write_text(folder / "study.json", json.dumps({"question": {}, "runs": runs}))
    cache.write_text(folder / "about.json", json.dumps({"model": "mmnet", "task": "synth-3", "folds": list("abcd")}))
    ends = [
        ("COMPLETE", 4, 0.5, 40.0, ""),
        ("PRUNED", 3, 0.9, 10.0, "worse than trial 0"),
        ("COMPLETE", 4, 0.6, 50.0, ""),
    ]
    for number, (state, folds, uf1, seconds, reason) in enumerate(ends):
        trial = folder / f"trial-{number:04d}"
        cache.write_text(trial / "proposal.json", "{}")
        end = {"number": number, "values": {}, "state": state, "reason": reason}
        cache.write_text(
            trial / "ended.json", json.dumps({**end, "inner_uf1": uf1, "folds": folds, "seconds": seconds})
        )
    cache.write_text(folder / "trial-0003" / "proposal.json", "{}")
    for done in range(2):
        cache.write_text(folder / "trial-0003" / "folds" / f"{done:03d}" / "pass.json", "{}")
    cache.write_text(folder / "trial-0003" / "folds" / "002.begun", ".")
    return folder


def test_a_look_at_the_records(standing):
    with cache.claimed(standing):
        now = watching.look(standing)
    assert (now.state, now.total, now.folds, len(now.ended)) == ("running", 5, 4, 3)
    assert [line.state for line in now.trials] == ["COMPLETE", "PRUNED", "COMPLETE", "under way"]
    assert now.best.number == 2 and now.under_way[0].folds == 2
    # three ended trials took 100 s; one and a half are left, one at a time
    assert now.left == pytest.approx(100 / 3 * 1.5)
    assert "3/5 trials, 1 dropped, best inner UF1 .600 (trial 2)" in now.words and "50 s left" in now.words
    later = watching.look(standing)
    assert later.state == "interrupted" and later.left is None and later.trials[3].state == "waiting"


def test_what_follows_the_trials_is_told(standing):
    for seed, fold in ((1, "a"), (1, "b")):
        cache.write_text(standing / "trial-0002" / f"seed-{seed}" / "corpus" / fold / "pass.json", "{}")
    cache.write_text(standing / "refit-nested-12.folds" / "0000" / "pass.json", json.dumps({"folds": [{}, {}, {}]}))
    now = watching.look(standing)
    assert now.after == (("folds of finalists", 2, 0), ("refit nested", 3, 8))
    assert "refit nested 3/8" in now.words
    assert now.as_json()["per_trial"][1]["reason"] == "worse than trial 0"


def test_watching_shows_every_change_and_ends_with_the_search(standing):
    seen = [watching.look(standing)]
    with cache.claimed(standing):
        seen += [watching.look(standing)] * 2
    looks = iter([seen[1], seen[2], seen[0]])
    lines = io.StringIO()
    last = watching.watch(standing, Console(file=lines), every=0.0, look=lambda folder: next(looks))
    assert last.state == "interrupted"
    said = lines.getvalue().splitlines()
    assert len(said) == 2 and "running" in said[0] and "interrupted" in said[1]
    looks = iter([seen[1], seen[0]])
    screen = io.StringIO()
    shown = Console(file=screen, force_terminal=True, width=100)
    watching.watch(standing, shown, every=0.0, look=lambda folder: next(looks))
    assert "dropped" in screen.getvalue() and "worse than trial 0" in screen.getvalue()


def test_watch_as_typed_says_how_it_ended(study, killed):
    done = typed("show", study[1].tables.name, "--watch")
    assert "finished, 3/3 trials" in done
    assert "go on with --resume" in typed("show", killed.tables.name, "--watch", fails=MerBenchError)
    assert "only a search keeps records" in typed("show", "zzz", "--watch", fails=UsageError)
    assert json.loads(typed("show", killed.tables.name, "--watch", "--json"))["state"] == "interrupted"


def test_watching_opens_no_database_and_loads_no_heavy_library(standing):
    place = standing.parent / "mlruns" / "tables"
    place.mkdir(parents=True)
    standing.rename(place / standing.name)
    code = (
        "import sys; sys.argv = ['mer-bench', 'runs', 'show', 'mmnet-synth-3-abc', '--watch', '--json']\n"
        "from mer_bench.door import cli\ncli.main()\n"
        "print([m for m in ('torch', 'ray', 'mlflow') if m in sys.modules], file=sys.stderr)"
    )
    before = sorted(path for path in standing.parent.rglob("*"))
    done = subprocess.run([sys.executable, "-c", code], cwd=standing.parent, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["trials_done"] == 3, done.stderr
    assert done.stderr.strip().endswith("[]"), "heavy libraries make a second shell wait"
    assert sorted(path for path in standing.parent.rglob("*")) == before
