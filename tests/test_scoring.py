"""Grading predictions made elsewhere, against scikit-learn, and recording them as self-reported."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score
from test_submissions import CLIPS, NAMES

from mer_bench import catalog
from mer_bench.answering import scoring
from mer_bench.contracts import MerBenchError, Task, UsageError
from mer_bench.pixels import inputs
from mer_bench.records import scores, tracking

TASK = Task(("casme2", "samm", "smic"), NAMES, {n: n for n in NAMES}, len(CLIPS), 4, banner="INVENTED")
LABELS = CLIPS["label"].to_numpy()


@pytest.fixture(autouse=True)
def task(monkeypatch, tmp_path):
    known = catalog.task
    monkeypatch.setattr(catalog, "task", lambda name: TASK if name == "invented-3" else known(name))
    monkeypatch.setattr(inputs, "clips_of", lambda name: CLIPS)
    monkeypatch.chdir(tmp_path)


def score(said, name="x.csv", rows=slice(None), **options):
    table = CLIPS.with_columns(pl.Series("prediction", said)).select("clip", "prediction", *options.pop("columns", []))
    table[np.arange(len(table))[rows]].write_csv(name)
    return scoring.score(name, "invented-3", **options)


def guesses(number, right=0.6):
    rng = np.random.default_rng(number)
    return np.where(rng.random(len(LABELS)) < right, LABELS, rng.integers(0, 3, len(LABELS)))


@pytest.mark.parametrize("number", range(4))
def test_scores_agree_with_scikit_learn(number):
    said = guesses(number)
    found = score(said).as_json()
    assert found["pooled_uf1"] == pytest.approx(f1_score(LABELS, said, average="macro", zero_division=0))
    assert found["uar"] == pytest.approx(balanced_accuracy_score(LABELS, said))
    assert found["accuracy"] == pytest.approx(accuracy_score(LABELS, said))
    assert found["confusion"] == confusion_matrix(LABELS, said).tolist()
    folds = [
        f1_score(LABELS[at], said[at], labels=range(3), average="macro", zero_division=0)
        for at in ((CLIPS["subject"] == s).to_numpy() for s in set(CLIPS["subject"]))
    ]
    assert found["mean_of_folds_f1"] == pytest.approx(np.mean(folds))
    assert abs(found["mean_of_folds_f1"] - found["pooled_uf1"]) > 0.01
    for corpus in ("casme2", "samm", "smic"):
        at = (CLIPS["corpus"] == corpus).to_numpy()
        wanted = f1_score(LABELS[at], said[at], labels=range(3), average="macro", zero_division=0)
        assert found["per_corpus"][corpus]["uf1"] == pytest.approx(wanted)
    assert found["uf1_interval"][0] < found["pooled_uf1"] <= found["uf1_interval"][1]
    json.dumps(found, allow_nan=False)


def test_pooled_and_mean_of_folds_are_named_apart():
    found = score(guesses(1))
    lines = found.words().splitlines()
    pooled, folds = (
        next(line for line in lines if line.startswith(name)) for name in ("pooled UF1", "mean-of-folds F1")
    )
    assert f"{found.score.uf1:.4f}"[1:] in pooled and f"{found.score.mean_of_folds_f1:.4f}"[1:] in folds
    assert any(line.startswith("  samm: UF1 ") for line in lines) and "  surprise: F1 " in found.words()


def test_the_files_own_folds_make_the_mean_of_folds():
    folds = np.where(CLIPS["corpus"] == "casme2", "one", "two")
    said = guesses(2)
    found = score(said, columns=[pl.Series("fold", folds)])
    wanted = [
        f1_score(LABELS[folds == f], said[folds == f], labels=range(3), average="macro", zero_division=0)
        for f in ("one", "two")
    ]
    assert found.score.mean_of_folds_f1 == pytest.approx(np.mean(wanted))
    assert found.notes == ("2 folds of several subjects, not one subject at a time.",)
    split = score(said, columns=[pl.Series("fold", [f"f{i % 5}" for i in range(len(said))])])
    assert split.notes[0].startswith("NOT BY SUBJECT: 4 subjects lie in several folds")
    assert split.result.banner == "INVENTED" and split.result.notes == split.notes


def test_a_table_that_lacks_a_clip_is_refused_or_scored_as_partial():
    said = guesses(3)
    with pytest.raises(MerBenchError, match=r"2 clips .*without a prediction"):
        score(said, rows=slice(2, None))
    found = score(said, rows=slice(2, None), partial=True)
    assert found.notes == (f"PARTIAL: {len(CLIPS) - 2} of {len(CLIPS)} clips were predicted.",)
    assert found.score.accuracy == pytest.approx(accuracy_score(LABELS[2:], said[2:]))
    assert (found.result.folds_done, found.result.folds_total) == (3, 4)
    with pytest.raises(MerBenchError, match="class 0 has no true clip"):
        score(said, rows=LABELS != 0, partial=True)


def test_a_recorded_table_is_self_reported():
    found = score(guesses(1), add="their net")
    (again,) = tracking.open().results()
    assert again.run_id == found.run_id and again.result == found.result
    assert (again.result.kind, again.result.model, tuple(again.result.rules)) == (
        "score",
        "their net",
        ("self-reported",),
    )
    assert again.result.setting_name == "self-reported predictions" and again.result.parameters is None
    kept = pl.read_parquet(tracking.tables() / found.run_id / "predictions.parquet")
    assert len(kept) == len(CLIPS)
    beside = tracking.tables().parent / "artifacts" / found.run_id / "artifacts"
    names = {str(path.relative_to(beside)) for path in beside.rglob("*") if path.is_file()}
    assert {"page.html", "figures/confusion.svg", "predictions/self-reported.csv"} <= names
    (row,) = scores.rows([again]).to_dicts()
    assert row["rule"] == "self-reported" and row["trained_on"] == "not known" and not row["leaky"]


def test_nothing_is_recorded_unasked_or_under_a_methods_name(tmp_path):
    score(guesses(1))
    assert not (tmp_path / "mlruns").exists()
    for name in ("mmnet", "mmnet:flow", "MMNet "):
        with pytest.raises(UsageError, match=f"--add {name}"):
            score(guesses(1), add=name)
