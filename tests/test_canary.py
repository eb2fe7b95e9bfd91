"""The two tests that guard the science: the held-out subject is never asked, and nothing is found where nothing is."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import toy

from mer_bench import metrics, predictions, selection
from mer_bench.contracts import PAPER_SCALE
from mer_bench.records import grading
from mer_bench.searching import studies, trials, tune
from mer_bench.searching.space import Space, draw
from mer_bench.training import loso

SUBJECT = "toy/02"
TRIALS = 4


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(toy.MODEL)
    return str(path)


def study(model, folder, sampler="qmc", sizes=toy.SIZES, inner=1):
    folds = studies.shuffled(sorted({f"toy/{i:02d}" for i in range(len(sizes))}), 0)
    return studies.Study(Space(model, {}), "toy", PAPER_SCALE, sampler, TRIALS, 0, folder, folds, inner_folds=inner)


def tried(question, number, values):
    """One trial, all its folds, in this process; its pass."""
    trials.propose(question, number, values)
    for place in range(len(question.folds)):
        trials.run_fold(question, number, place)
    assert trials.close(question, number, trials.COMPLETE).state == trials.COMPLETE
    return trials.passed(question, number)


def searched(monkeypatch, model, folder, data, inner=1):
    """A strict study on `data`, in this process: trial folders, choices, refit folder."""
    toy.install(monkeypatch, data)
    question = study(model, folder, sizes=range(data.clips["subject"].n_unique()), inner=inner)
    proposals = draw(question.space, "qmc", 0, TRIALS)
    folders = {n: tried(question, n, values) for n, values in enumerate(proposals)}
    choices = selection.nested(folders)
    again = folder / "refit"
    loso.run_pass(studies.refit(question, choices, studies.values_of(folders), 1), again, {})
    return folders, choices, again


def weights(folder):
    return {part["fold"]: part["weights"] for part in predictions.record(folder)["folds"]}


def said(folder, fold, table=predictions.TEST):
    rows = pl.read_parquet(folder / table).filter(pl.col("fold") == fold)
    return rows.drop("label")


@pytest.fixture(scope="module")
def monkeymodule():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module", params=[1, 3], ids=["one hold-out", "three inner folds"])
def triplets(tmp_path_factory, monkeymodule, request):
    """The same strict study thrice: as it is, with one subject's labels scrambled in every role, and its pictures."""
    base = tmp_path_factory.mktemp("triplets")
    (base / "tiny.py").write_text(toy.MODEL)
    # models of three inner folds see fewer clips, so they are shown more
    data = toy.corpus(signal=40 if request.param == 1 else 60)
    labels = toy.relabelled(data, SUBJECT)
    assert (np.bincount(labels.clips["label"]) != np.bincount(data.clips["label"])).any()
    corpora = {"true": data, "labels": labels, "pictures": toy.repainted(data, SUBJECT)}
    model = str(base / "tiny.py")
    return {name: searched(monkeymodule, model, base / name, corpus, request.param) for name, corpus in corpora.items()}


@pytest.mark.parametrize("scrambled", ["labels", "pictures"])
def test_strict_canary_candidates_choice_and_weights_do_not_move_by_a_bit(triplets, scrambled):
    (folders, choices, refit), (folders_2, choices_2, refit_2) = triplets["true"], triplets[scrambled]
    for trial in folders:
        assert weights(folders[trial])[SUBJECT] == weights(folders_2[trial])[SUBJECT]
        validation = [said(f[trial], SUBJECT, predictions.VALIDATION) for f in (folders, folders_2)]
        assert validation[0].equals(validation[1]) and len(validation[0])
    assert choices[0, SUBJECT] == choices_2[0, SUBJECT]
    assert weights(refit)[SUBJECT] == weights(refit_2)[SUBJECT]


def test_strict_canary_test_logits_do_not_move_by_a_bit(triplets):
    (folders, _, refit), (folders_2, _, refit_2) = triplets["true"], triplets["labels"]
    for trial in folders:
        assert said(folders[trial], SUBJECT).equals(said(folders_2[trial], SUBJECT))
    assert said(refit, SUBJECT).equals(said(refit_2, SUBJECT))


@pytest.mark.parametrize("scrambled", ["labels", "pictures"])
def test_the_canary_can_die(triplets, scrambled):
    """Other folds do train on the scrambled subject, so they must move: else the tests above prove nothing."""
    (folders, _, _), (folders_2, _, _) = triplets["true"], triplets[scrambled]
    moved = [fold for fold in weights(folders[0]) if weights(folders[0])[fold] != weights(folders_2[0])[fold]]
    assert len(moved) > len(weights(folders[0])) / 2


PICKY = """
import numpy as np

from mer_bench.contracts import Baseline


class Picky:
    def __init__(self, num_classes: int, *, bold: bool = False) -> None:
        self.num_classes, self.bold = num_classes, bold

    def fit(self, inputs, labels):
        if self.bold and len(np.unique(labels)) < self.num_classes:
            raise ValueError("a class has no clip")
        self.said = np.eye(self.num_classes)[np.bincount(labels).argmax()] * 0.6 + 0.1 + 0.05 * self.bold
        self.said /= self.said.sum()

    def predict_proba(self, inputs):
        return np.tile(self.said, (len(inputs["flow"]), 1))


def suggest(trial):
    trial.suggest_categorical("bold", [False, True])


BASELINE = Baseline(model=Picky, view="flow@28", suggest=suggest)
"""


def test_strict_canary_an_error_in_another_fold_takes_no_candidate_away(monkeypatch, tmp_path):
    """Relabelled, the subject leaves another fold without a class, where the model raises: its own fold stays."""
    (tmp_path / "picky.py").write_text(PICKY)
    true = toy.corpus(signal=0, sizes=(6, 6, 6, 6, 6))
    alone = {SUBJECT: 2, "toy/04": 2}
    rare = pl.col("subject").replace_strict(alone, default=None).fill_null(pl.col("label") % 2)
    true = replace(true, clips=true.clips.with_columns(rare.cast(pl.Int8).alias("label")))
    found = {}
    for name, data in (("true", true), ("scrambled", toy.relabelled(true, SUBJECT))):
        toy.install(monkeypatch, data)
        question = study(str(tmp_path / "picky.py"), tmp_path / name, sizes=range(5))
        for number, bold in enumerate((False, True)):
            trials.propose(question, number, {"bold": bold})
            ended = worked(question, number)
        folders = trials.candidates(question)
        held = {n: predictions.read(f / predictions.VALIDATION)["fold"].unique() for n, f in folders.items()}
        found[name] = {number for number, folds in held.items() if SUBJECT in folds}, selection.nested(folders)
    assert "folds lost: ValueError: a class has no clip" in ended.reason and ended.inner_uf1 == 0
    assert found["true"][0] == found["scrambled"][0] == {0, 1}
    assert found["true"][1][0, SUBJECT] == found["scrambled"][1][0, SUBJECT]


def worked(question, number):
    """A trial as a worker runs it, without Ray."""
    for place in range(len(question.folds)):
        if tune._attempt(question, number, place, "me") is None:
            break
    return trials.close(question, number, trials.COMPLETE)


def test_adaptive_canary_one_trial(monkeypatch, tmp_path, model):
    """Under an adaptive sampler the same holds for one trial's fold."""
    data, runs = toy.corpus(signal=40), []
    for name, corpus in (("true", data), ("scrambled", toy.relabelled(data, SUBJECT))):
        toy.install(monkeypatch, corpus)
        question = study(model, tmp_path / name, "tpe")
        runs.append(tried(question, 0, question.space.default()))
    assert weights(runs[0])[SUBJECT] == weights(runs[1])[SUBJECT]
    assert said(runs[0], SUBJECT).equals(said(runs[1], SUBJECT))


def test_null_honest_selection_finds_nothing_where_nothing_is(monkeypatch, tmp_path, model):
    """Pictures without signal: `nested` is not above chance; of four corpora at most one may be so by luck."""
    above = 0
    for number in range(4):
        data = toy.corpus(signal=0, sizes=(6, 5, 7, 8, 6, 5, 7, 6, 5, 5), seed=number)
        _, _, refit = searched(monkeypatch, model, tmp_path / f"null-{number}", data)
        honest, chance = grading.grade("nested", selection.last(refit), data.clips, toy.TASK.classes)
        above += honest.uf1_interval[0] > chance
    assert above <= 1


def test_signal_is_found(triplets):
    """The same machinery does find what is there."""
    rows = selection.last(triplets["true"][2]).rows
    counts = metrics.confusion(rows["label"].to_numpy(), rows["prediction"].to_numpy(), 3)
    assert metrics.uf1(counts) > 0.6
