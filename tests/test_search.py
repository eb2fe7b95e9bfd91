"""A whole search through Ray, Optuna and MLflow, on a corpus of specks with a tiny model."""

import shutil

import crowd
import polars as pl
import pytest
import toy

from mer_bench import catalog, predictions, selection
from mer_bench.answering import commands
from mer_bench.contracts import Remark, UsageError
from mer_bench.records import tracking
from mer_bench.searching import cluster, studies, tune
from mer_bench.searching.space import Space, draw


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = crowd.settle(tmp_path_factory.mktemp("search"), patch)
        (folder / "tiny.py").write_text(toy.MODEL)
        yield folder


@pytest.fixture(scope="module")
def running(place):
    """One Ray for all searches of this file, as a caller may have one of their own; elsewhere a search starts it."""
    with cluster.joined(cluster.Cluster(2)):
        yield


@pytest.fixture(scope="module")
def twice(place, running):
    """The same strict search, by two workers of Ray's and without Ray."""
    options = {"trials": 4, "sampler": "qmc", "fresh": True, "settings": {"epochs": 3}}
    first = commands.search(str(place / "tiny.py"), "specks-3", workers=2, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "search", toy.in_this_process)
        return first, commands.search(str(place / "tiny.py"), "specks-3", workers=1, **options)


def passes(folder):
    return {number: folder / f"trial-{number:04d}" / "pass" for number in range(4)}


def refit(folder, rule):
    (found,) = folder.glob(f"refit-{rule}-*")
    return found


def test_a_strict_search_gives_the_same_tables_again(twice):
    first, second = (answer.tables for answer in twice)
    names = sorted(p.relative_to(first) for p in first.rglob("*.parquet"))
    assert len(names) == 4 * (4 + 2)
    for name in names:
        assert pl.read_parquet(first / name).equals(pl.read_parquet(second / name)), name


def test_strict_proposals_are_the_ones_drawn_before_the_start(twice, place):
    folder = twice[0].tables
    folders = passes(folder)
    space = Space(str(place / "tiny.py"), {})
    assert studies.values_of(folders) == dict(enumerate(draw(space, "qmc", 0, 4)))


def test_the_headline_is_what_the_rule_of_its_name_chooses(twice):
    folder = twice[0].tables
    folders = passes(folder)
    for rule, choose in (("nested", selection.nested), ("shared", selection.shared)):
        stored = predictions.record(refit(folder, rule))["choices"]
        assert stored == {fold: [c.trial, c.epoch] for (_, fold), c in choose(folders).items()}


def test_every_rule_of_a_study_is_scored_and_nothing_else(twice):
    result = twice[0].result
    assert set(result.rules) == set(selection.STUDY_RULES)
    assert [rule for rule, score in result.rules.items() if score.leaky] == ["oracle-trial"]
    assert result.strictness == "strict" and result.trials == 4


def test_trial_0_is_the_published_setting(twice, place):
    values = predictions.record(passes(twice[0].tables)[0])["values"]
    recipe = catalog.baseline(str(place / "tiny.py")).recipe
    assert values == {"lr": recipe.lr, "hidden": 6, "class_weights": "none"}


def test_trials_are_child_runs_of_the_study(twice):
    client = tracking.open().client
    study = client.get_run(twice[0].run_id)
    children = client.search_runs([study.info.experiment_id], f"tags.`mlflow.parentRunId` = '{twice[0].run_id}'")
    assert sorted(int(run.data.tags["mer_bench.trial"]) for run in children) == [0, 1, 2, 3]
    assert all("inner_uf1" in run.data.metrics for run in children)


def test_what_was_searched_is_on_record(twice):
    record = twice[0].result.evidence
    folder = twice[0].tables
    assert [trial.number for trial in record.trials] == [0, 1, 2, 3]
    for trial in record.trials:
        tables = passes(folder)[trial.number]
        assert trial.inner_uf1 == selection.inner_uf1(tables)
        assert trial.values == predictions.record(tables)["values"]
    stored = predictions.record(refit(folder, "nested"))["choices"]
    assert {fold: list(choice) for fold, choice in record.choices["nested"].items()} == stored
    votes = [trial for trial, _ in stored.values()]
    assert votes.count(record.costed) == max(map(votes.count, votes))
    hidden = record.trials[record.costed].values["hidden"]
    assert twice[0].result.parameters == (75 + 1 + 2 + 12) * hidden + 3


def test_refits_train_on_every_subject_but_one_and_repeat_the_choice(twice):
    folder = twice[0].tables
    again = refit(folder, "nested")
    assert pl.read_parquet(again / predictions.VALIDATION).is_empty()
    choices = predictions.record(again)["choices"]
    ends = pl.read_parquet(again / predictions.TEST).group_by("fold").agg(pl.col("epoch").max())
    assert {fold: end for fold, end in ends.iter_rows()} == {fold: epoch for fold, (_, epoch) in choices.items()}


@pytest.fixture(scope="module")
def raced(place, running):
    """An adaptive search of twelve trials, of which half cannot learn and some raise; the question it asked."""
    racer = toy.MODEL.replace('"lr", 1e-3, 1e-1, log=True', '"lr", 1e-7, 1e-1, log=True')
    (place / "racer.py").write_text(racer.replace('"hidden", [4, 6, 8]', '"hidden", [4, 6, -1]'))
    options = {"workers": 1, "refit": False, "settings": {"epochs": 6}}
    return commands.search(str(place / "racer.py"), "specks-3", trials=12, **options), options


def test_a_race_drops_bad_trials_and_a_broken_one_does_not_end_it(raced):
    answer, _ = raced
    effort = answer.result.effort
    assert answer.result.strictness == "adaptive" and answer.result.trials == 12
    assert effort["complete"] + effort["pruned"] + effort["fail"] == 12
    assert effort["complete"] > 0 and effort["pruned"] > 0 and effort["fail"] > 0
    assert set(answer.result.rules) == {"nested-no-refit", "shared-no-refit", "oracle-trial"}
    assert effort["fold_epochs"] < effort["fold_epochs_unraced"]
    client = tracking.open().client
    experiment = client.get_run(answer.run_id).info.experiment_id
    failed = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{answer.run_id}' and status = 'FAILED'")
    assert len(failed) == effort["fail"] and all("RuntimeError" in run.data.params["reason"] for run in failed)


def test_a_race_asked_again_answers_and_asked_for_more_goes_on(raced, place):
    """The workers that ran dropped trials go on with others."""
    first, options = raced
    ends = {path: path.read_text() for path in first.tables.glob("trial-*/ended.json")}
    again = commands.search(str(place / "racer.py"), "specks-3", trials=12, **options)
    assert again.run_id == first.run_id and again.result.rules == first.result.rules
    more = commands.search(str(place / "racer.py"), "specks-3", trials=14, **options)
    assert more.tables == first.tables and more.run_id != first.run_id and more.result.trials == 14
    assert all(path.read_text() == text for path, text in ends.items())
    with pytest.warns(Remark, match="14 trials are on record; this answer is of the first 12"):
        few = commands.search(str(place / "racer.py"), "specks-3", trials=12, **options)
    assert few.run_id == first.run_id and few.result.rules == first.result.rules


def test_a_stopped_study_asks_to_be_resumed_and_then_answers_as_if_never_stopped(twice, place, monkeypatch):
    options = {"trials": 4, "sampler": "qmc", "workers": 1, "settings": {"epochs": 3}}
    model, whole = str(place / "tiny.py"), twice[0]

    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tune, "search", toy.in_this_process)
        patch.setattr(studies, "conclude", interrupted)
        with pytest.raises(KeyboardInterrupt):
            commands.search(model, "specks-3", fresh=True, **options)
    with pytest.raises(UsageError, match="--resume"):
        commands.search(model, "specks-3", **options)
    halted = max(tracking.tables().glob("tiny.py-specks-3-*"), key=lambda p: p.stat().st_mtime)
    shutil.rmtree(halted / "trial-0002" / "pass")
    (halted / "trial-0002" / "ended.json").unlink()
    resumed = commands.search(model, "specks-3", resume=True, **options)
    assert resumed.tables == halted != whole.tables
    for name in sorted(p.relative_to(whole.tables) for p in whole.tables.rglob("*.parquet")):
        assert (whole.tables / name).read_bytes() == (halted / name).read_bytes(), name
