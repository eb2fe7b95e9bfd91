"""Finalists: who they are, how one is chosen over seeds, and that the held-out subject has no say in either."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import toy
from sklearn.metrics import confusion_matrix, f1_score, log_loss
from test_canary import SUBJECT, study, tried

from mer_bench import predictions, selection
from mer_bench.contracts import MerBenchError
from mer_bench.searching import finals, studies
from mer_bench.searching.finals import Finals
from mer_bench.searching.space import draw
from mer_bench.training import fold, loso

SIZES = (6, 5, 9, 4, 5)
TOP, SEEDS = 2, 3
NAMES = ("nested", "shared")
pytestmark = pytest.mark.filterwarnings("ignore:The y_prob values")  # they are kept as half floats


def searched(model, folder, top=TOP, names=NAMES):
    """Three trials and their finalists, in this process: study, trial folders, what was asked of finalists."""
    question = study(model, folder, sizes=SIZES)
    folders = {n: tried(question, n, values) for n, values in enumerate(draw(question.space, "qmc", 0, 3))}
    asked = Finals(folder, 0, top, SEEDS)
    finals.train(question, folders, asked, names, 1, None)
    return question, folders, asked


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finals")
    (folder / "tiny.py").write_text(toy.MODEL)
    return folder


@pytest.fixture(scope="module")
def monkeymodule():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def done(base, monkeymodule):
    toy.install(monkeymodule, toy.corpus(signal=25, sizes=SIZES))
    return searched(str(base / "tiny.py"), base / "study")


def said(folders, asked, trial, name):
    """Validation rows of a finalist's fold under each seed, seed -> rows."""
    parts = {0: folders[trial], **{seed: asked.place(trial, seed, name) for seed in asked.further}}
    rows = {seed: predictions.read(part / predictions.VALIDATION) for seed, part in parts.items()}
    return {seed: found.filter(pl.col("fold") == name) for seed, found in rows.items()}


def mean_losses(rows):
    """Log-loss of each epoch, averaged over seeds and then over neighbouring epochs, by scikit-learn and by hand."""
    each = []
    for found in rows.values():
        at = [found.filter(pl.col("epoch") == e) for e in range(found["epoch"].max() + 1)]
        each.append([log_loss(p["label"], predictions.probabilities(p).astype(float), labels=[0, 1, 2]) for p in at])
    mean = np.mean(each, 0)
    return [np.mean(mean[max(0, e - 1) : e + 2]) for e in range(len(mean))]


def test_nested_finalists_are_each_folds_own_and_shared_ones_the_studys(done):
    question, folders, _ = done
    own = finals.finalists("nested", folders, TOP)
    assert set(own) == set(question.folds)
    for name, best in own.items():
        losses = {trial: selection.inner(folder)[0, name].loss for trial, folder in folders.items()}
        assert list(best) == sorted(losses, key=lambda t: (losses[t], t))[:TOP]
    scores = {trial: selection.inner_uf1(folder) for trial, folder in folders.items()}
    best = tuple(sorted(scores, key=lambda t: (-scores[t], t))[:TOP])
    assert finals.finalists("shared", folders, TOP) == dict.fromkeys(question.folds, best)
    assert finals.finalists("nested", folders, 99)[SUBJECT][:TOP] == own[SUBJECT]


def test_one_finalist_is_what_the_rule_chooses_without_finalists(done):
    _, folders, _ = done
    first = finals.finalists("nested", folders, 1)
    assert {fold: trial for fold, (trial,) in first.items()} == {
        fold: choice.trial for (_, fold), choice in selection.nested(folders).items()
    }
    assert set(finals.finalists("shared", folders, 1).values()) == {
        (choice.trial,) for choice in selection.shared(folders).values()
    }


def test_finalists_alone_are_trained_and_only_with_further_seeds(done):
    question, folders, asked = done
    wanted = {
        (trial, seed, name)
        for rule in NAMES
        for name, best in finals.finalists(rule, folders, TOP).items()
        for trial in best
        for seed in (1, 2)
    }
    there = {
        (trial, seed, name)
        for trial in folders
        for seed in range(5)
        for name in question.folds
        if (asked.place(trial, seed, name) / predictions.DONE).is_file()
    }
    assert there == wanted
    trial, seed, name = max(wanted)
    again = fold.train(replace(question.training(name, studies.values_of(folders)[trial]), seed=seed))
    assert again.weights == predictions.record(asked.place(trial, seed, name))["folds"][0]["weights"]


def test_nested_takes_the_finalist_and_epoch_of_least_loss_averaged_over_seeds(done):
    _, folders, asked = done
    chosen = finals.choose("nested", folders, asked)
    for name, best in finals.finalists("nested", folders, TOP).items():
        losses = {trial: mean_losses(said(folders, asked, trial, name)) for trial in best}
        trial = min(best, key=lambda t: (round(min(losses[t]), 9), t))
        choice = chosen.choices[0, name]
        assert (choice.trial, choice.epoch) == (trial, int(np.argmin(np.round(losses[trial], 9))))
        assert choice.loss == pytest.approx(min(losses[trial]), abs=1e-6)
        assert {key for key in chosen.again if key[1] == name} == {(1, name), (2, name)}


def test_shared_takes_the_finalist_of_best_pooled_uf1_averaged_over_seeds(done):
    question, folders, asked = done
    scores = {}
    for trial in finals.finalists("shared", folders, TOP)[SUBJECT]:
        epochs = {name: int(np.argmin(mean_losses(said(folders, asked, trial, name)))) for name in question.folds}
        rows = [
            found.filter(pl.col("epoch") == epochs[name]).with_columns(pl.lit(seed).alias("under"))
            for name in question.folds
            for seed, found in said(folders, asked, trial, name).items()
        ]
        table = pl.concat(rows)
        guess = predictions.probabilities(table).argmax(1)
        under = [(table["under"] == seed).to_numpy() for seed in range(SEEDS)]
        scores[trial] = np.mean([f1_score(table["label"].to_numpy()[at], guess[at], average="macro") for at in under])
    (chosen,) = {choice.trial for choice in finals.choose("shared", folders, asked).choices.values()}
    assert scores[chosen] == pytest.approx(max(scores.values()))


def test_rules_without_refit_speak_under_every_seed(done):
    question, folders, asked = done
    final = finals.choose("nested", folders, asked)
    refits = studies.Refits(question, SEEDS, 1, lambda rule: None)
    rows = studies.conclude("nested-no-refit", folders, refits, {"nested": final}).rows
    assert rows.group_by("seed").len().sort("seed").rows() == [(seed, sum(SIZES)) for seed in range(SEEDS)]
    choice = final.choices[0, SUBJECT]
    stored = predictions.open_test(asked.place(choice.trial, 2, SUBJECT)).filter(pl.col("epoch") == choice.epoch)
    mine = rows.filter((pl.col("seed") == 2) & (pl.col("fold") == SUBJECT))
    assert mine.drop("prediction").equals(stored.sort("clip"))
    # a rule that has no finalists is not changed by those of another
    assert studies.conclude("shared-no-refit", folders, refits, {"nested": final}).rows["seed"].unique().to_list() == [
        0
    ]


def test_the_refit_repeats_the_choice_under_every_seed(done):
    question, folders, asked = done
    final = finals.choose("nested", folders, asked)
    rows = studies.conclude(
        "nested", folders, studies.Refits(question, SEEDS, 1, lambda r: None), {"nested": final}
    ).rows
    assert rows.group_by("seed").len()["len"].to_list() == [sum(SIZES)] * SEEDS
    ends = {fold: epoch for fold, epoch in rows.select("fold", "epoch").unique().iter_rows()}
    assert ends == {fold: choice.epoch for (_, fold), choice in final.choices.items()}
    drawn = studies.Searched(question, folders, ["nested", "nested-no-refit"], {"nested": final}).choices
    assert drawn == {"nested": {fold: (c.trial, c.epoch) for (_, fold), c in sorted(final.choices.items())}}


def test_finalists_go_on_where_they_were_stopped(done):
    question, folders, asked = done
    places = sorted(asked.study.glob("trial-*/seed-*/toy/*"))
    before = {path: (path / predictions.VALIDATION).read_bytes() for path in places}
    stamps = {path: (path / predictions.DONE).stat().st_mtime_ns for path in places[1:]}
    places[0].rename(asked.study / "gone")
    told = []
    finals.train(question, folders, asked, NAMES, 1, lambda done, total, text: told.append((done, total)))
    assert told == [(len(places), len(places))]
    assert {path: (path / predictions.DONE).stat().st_mtime_ns for path in places[1:]} == stamps
    assert (places[0] / predictions.VALIDATION).read_bytes() == before[places[0]]


def diverged(question, folders, asked, trial, name):
    """Put on record that a finalist's fold diverged under seed 1; what undoes it."""
    place = asked.place(trial, 1, name)
    kept = place.rename(place.with_name("kept"))
    training = replace(question.training(name, studies.values_of(folders)[trial]), seed=1)
    loso.write(place, [fold.Finished(training, {}, "", 0.1, diverged="loss is nan")], {})

    def undo():
        (place / predictions.DONE).unlink()
        place.rmdir()
        kept.rename(place)

    return undo


def test_a_finalist_that_diverges_under_a_further_seed_is_no_candidate_there(done):
    question, folders, asked = done
    best = finals.choose("nested", folders, asked).choices
    undo = [diverged(question, folders, asked, best[0, SUBJECT].trial, SUBJECT)]
    try:
        now = finals.choose("nested", folders, asked)
        assert now.choices[0, SUBJECT].trial != best[0, SUBJECT].trial
        assert {k: c for k, c in now.choices.items() if k[1] != SUBJECT} == {
            k: c for k, c in best.items() if k[1] != SUBJECT
        }
        undo.append(diverged(question, folders, asked, now.choices[0, SUBJECT].trial, SUBJECT))
        left = finals.choose("nested", folders, asked)
        assert left.choices[0, SUBJECT] == selection.nested(folders)[0, SUBJECT]
        refits = studies.Refits(question, SEEDS, 1, lambda rule: None)
        rows = studies.conclude("nested-no-refit", folders, refits, {"nested": left}).rows.filter(
            pl.col("fold") == SUBJECT
        )
        parts = [rows.filter(pl.col("seed") == seed).drop("seed") for seed in range(SEEDS)]
        assert parts[1].equals(parts[0]), "the first seed stands in for the one that diverged"
        assert len(parts[2]) == len(parts[0])
    finally:
        for one in undo:
            one()


def test_where_every_finalist_of_the_study_diverged_the_first_seed_decides(done):
    question, folders, asked = done
    undo = [diverged(question, folders, asked, t, SUBJECT) for t in finals.finalists("shared", folders, TOP)[SUBJECT]]
    try:
        assert finals.choose("shared", folders, asked).choices == selection.shared(folders)
    finally:
        for one in undo:
            one()


def test_strict_canary_finalists_choice_and_logits_do_not_move_by_a_bit(done, base, monkeymodule):
    """The held-out subject's labels scrambled in every role: its fold's finalists and answers are the same bits."""
    _, folders, asked = done
    data = toy.corpus(signal=25, sizes=SIZES)
    toy.install(monkeymodule, toy.relabelled(data, SUBJECT))
    try:
        _, folders_2, asked_2 = searched(str(base / "tiny.py"), base / "scrambled", names=("nested",))
        finalists = [finals.finalists("nested", f, TOP) for f in (folders, folders_2)]
        chosen = [finals.choose("nested", f, a) for f, a in ((folders, asked), (folders_2, asked_2))]
    finally:
        toy.install(monkeymodule, data)
    assert finalists[0][SUBJECT] == finalists[1][SUBJECT]
    assert chosen[0].choices[0, SUBJECT] == chosen[1].choices[0, SUBJECT]
    for seed in (1, 2):
        rows = [predictions.open_test(one.again[seed, SUBJECT]).drop("label") for one in chosen]
        assert rows[0].equals(rows[1])
    assert chosen[0].choices != chosen[1].choices, "other folds train on the scrambled subject"


def test_the_pooled_counts_are_the_confusion_of_the_rows(done):
    _, folders, _ = done
    rows = selection.curves(folders[0]).filter(pl.col("fold") == SUBJECT)
    (choice,) = finals.averaged(rows, 0, 1).values()
    assert choice == selection.inner(folders[0])[0, SUBJECT]
    table = predictions.read(folders[0] / predictions.VALIDATION)
    at = table.filter((pl.col("fold") == SUBJECT) & (pl.col("epoch") == choice.epoch))
    counts = confusion_matrix(at["label"], predictions.probabilities(at).argmax(1), labels=[0, 1, 2])
    hits, sums = np.diag(counts), counts.sum(0) + counts.sum(1)
    f1 = np.divide(2 * hits, sums, out=np.zeros(3), where=sums > 0)
    assert finals.averaged_uf1(rows, {SUBJECT: choice}) == pytest.approx(f1.mean())


def test_what_another_machine_kept_to_itself_is_told(tmp_path, monkeypatch):
    training = SimpleNamespace(setting=SimpleNamespace(recipe=None), device="cpu", fold="toy/01")
    monkeypatch.setattr(loso, "_keep", lambda job: job[1].fold)
    with pytest.raises(MerBenchError, match="was trained but is not there; work in a folder that all nodes share"):
        loso.keep([(tmp_path / "seed-1", training)])
