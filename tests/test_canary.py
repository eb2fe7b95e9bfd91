"""The two tests that guard the science: the held-out subject is never asked, and nothing is found where nothing is."""

import functools
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


SUBJECTS = (SUBJECT, "toy/05", "toy/06")
CASES = [
    *((1, "labels", subject) for subject in SUBJECTS), (1, "pictures", SUBJECT), (3, "labels", SUBJECT),
    (3, "pictures", SUBJECT),
]  # fmt: skip
"""Inner folds, what is scrambled, and whose."""
scrambles = {"argvalues": CASES, "ids": lambda case: "-".join(map(str, case))}


@pytest.fixture(scope="module")
def searches(tmp_path_factory, monkeymodule):
    """Makes strict studies, each once: as it is, or with one subject's labels (in every role) or pictures scrambled."""
    base = tmp_path_factory.mktemp("searches")
    (base / "tiny.py").write_text(toy.MODEL)

    @functools.cache
    def made(inner, kind="nothing", subject=""):
        # models of three inner folds see fewer clips, so they are shown more
        data = true = toy.corpus(signal=40 if inner == 1 else 60)
        if kind == "labels":
            data = toy.relabelled(true, subject)
            assert (np.bincount(data.clips["label"]) != np.bincount(true.clips["label"])).any()
        if kind == "pictures":
            data = toy.repainted(true, subject)
        place = base / f"{inner}-{kind}-{subject.replace('/', '-')}"
        return searched(monkeymodule, str(base / "tiny.py"), place, data, inner)

    return made


@pytest.mark.parametrize("case", **scrambles)
def test_strict_canary_candidates_choice_and_weights_do_not_move_by_a_bit(searches, case):
    inner, _, subject = case
    (folders, choices, refit), (folders_2, choices_2, refit_2) = searches(inner), searches(*case)
    assert folders.keys() == folders_2.keys()
    for trial in folders:
        assert weights(folders[trial])[subject] == weights(folders_2[trial])[subject]
        validation = [said(f[trial], subject, predictions.VALIDATION) for f in (folders, folders_2)]
        assert validation[0].equals(validation[1]) and len(validation[0])
    assert choices[0, subject] == choices_2[0, subject]
    assert weights(refit)[subject] == weights(refit_2)[subject]


@pytest.mark.parametrize("case", **{**scrambles, "argvalues": [case for case in CASES if case[1] == "labels"]})
def test_strict_canary_test_logits_do_not_move_by_a_bit(searches, case):
    inner, _, subject = case
    (folders, _, refit), (folders_2, _, refit_2) = searches(inner), searches(*case)
    for trial in folders:
        assert said(folders[trial], subject).equals(said(folders_2[trial], subject))
    assert said(refit, subject).equals(said(refit_2, subject))


@pytest.mark.parametrize("case", **scrambles)
def test_the_canary_can_die(searches, case):
    """Other folds do train on the scrambled subject, so they must move: else the tests above prove nothing."""
    (folders, _, _), (folders_2, _, _) = searches(case[0]), searches(*case)
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


@pytest.mark.parametrize("inner", [1, 3])
def test_signal_is_found(searches, inner):
    """The same machinery does find what is there."""
    rows = selection.last(searches(inner)[2]).rows
    counts = metrics.confusion(rows["label"].to_numpy(), rows["prediction"].to_numpy(), 3)
    assert metrics.uf1(counts) > 0.6
