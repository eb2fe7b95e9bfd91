"""The two tests that guard the science: the held-out subject is never asked, and nothing is found where nothing is."""

import numpy as np
import polars as pl
import pytest
import toy

from mer_bench import grading, loso, metrics, predictions, selection, tune
from mer_bench.contracts import PAPER_SCALE
from mer_bench.space import Space, draw

SUBJECT = "toy/02"
TRIALS = 4


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(toy.MODEL)
    return str(path)


def study(model, folder, sampler="qmc"):
    return tune.Study(Space(model, {}), "toy", PAPER_SCALE, sampler, TRIALS, 0, folder, False, False, "cpu")


def searched(monkeypatch, model, folder, data):
    """A strict study on `data`, in this process: trial folders, choices, refit folder."""
    toy.install(monkeypatch, data)
    question = study(model, folder)
    proposals = draw(question.space, "qmc", 0, TRIALS)
    folders = {n: tune.run_trial(question, n, values).folder for n, values in enumerate(proposals)}
    choices = selection.nested(folders)
    again = folder / "refit"
    loso.run_pass(tune.refit(question, choices, tune.values_of(folders), 1), again, {})
    return folders, choices, again


def weights(folder):
    return {part["fold"]: part["weights"] for part in predictions.record(folder)["folds"]}


def said(folder, fold):
    rows = pl.read_parquet(folder / predictions.TEST).filter(pl.col("fold") == fold)
    return rows.drop("label")


@pytest.fixture(scope="module")
def monkeymodule():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def twins(tmp_path_factory, monkeymodule):
    """The same strict study twice: as it is, and with one subject's labels scrambled in every role."""
    base = tmp_path_factory.mktemp("twins")
    (base / "tiny.py").write_text(toy.MODEL)
    data = toy.corpus(signal=40)
    found = [
        searched(monkeymodule, str(base / "tiny.py"), base / name, corpus)
        for name, corpus in (("true", data), ("scrambled", toy.relabelled(data, SUBJECT)))
    ]
    return found


def test_strict_canary_candidates_choice_weights_and_logits_do_not_move_by_a_bit(twins):
    (folders, choices, refit), (folders_2, choices_2, refit_2) = twins
    for trial in folders:
        assert weights(folders[trial])[SUBJECT] == weights(folders_2[trial])[SUBJECT]
        assert said(folders[trial], SUBJECT).equals(said(folders_2[trial], SUBJECT))
    assert choices[0, SUBJECT] == choices_2[0, SUBJECT]
    assert weights(refit)[SUBJECT] == weights(refit_2)[SUBJECT]
    assert said(refit, SUBJECT).equals(said(refit_2, SUBJECT))


def test_the_canary_can_die(twins):
    """Other folds do train on the scrambled subject, so they must move: else the test above proves nothing."""
    (folders, _, _), (folders_2, _, _) = twins
    moved = [fold for fold in weights(folders[0]) if weights(folders[0])[fold] != weights(folders_2[0])[fold]]
    assert len(moved) > len(weights(folders[0])) / 2


def test_adaptive_canary_one_trial(monkeypatch, tmp_path, model):
    """Under an adaptive sampler the same holds for one trial's fold."""
    data, runs = toy.corpus(signal=40), []
    for name, corpus in (("true", data), ("scrambled", toy.relabelled(data, SUBJECT))):
        toy.install(monkeypatch, corpus)
        question = study(model, tmp_path / name, "tpe")
        runs.append(tune.run_trial(question, 0, question.space.default()).folder)
    assert weights(runs[0])[SUBJECT] == weights(runs[1])[SUBJECT]
    assert said(runs[0], SUBJECT).equals(said(runs[1], SUBJECT))


def test_null_honest_selection_finds_nothing_where_nothing_is(monkeypatch, tmp_path, model):
    """Pictures without signal: `nested` scores at chance, while the oracle over the same predictions does not."""
    data = toy.corpus(signal=0, sizes=(6, 5, 7, 8, 6, 5, 7, 6, 5, 5))
    folders, _, refit = searched(monkeypatch, model, tmp_path / "null", data)
    honest, chance = grading.grade("nested", selection.last(refit), data.clips, toy.TASK.classes)
    assert honest.uf1_interval[0] < chance < honest.uf1_interval[1]
    leaky, _ = grading.grade("oracle-epoch", selection.oracle_epoch(folders[0]), data.clips, toy.TASK.classes)
    last, _ = grading.grade("last", selection.last(folders[0]), data.clips, toy.TASK.classes)
    assert leaky.uf1 > last.uf1


def test_signal_is_found(twins, monkeymodule):
    """The same machinery does find what is there."""
    (_, _, refit), _ = twins
    rows = selection.last(refit).rows
    counts = metrics.confusion(rows["label"].to_numpy(), rows["prediction"].to_numpy(), 3)
    assert metrics.uf1(counts) > 0.6
    assert np.isfinite(counts).all()
