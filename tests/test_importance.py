"""Importances: the knob that made the scores is found, luck is called luck, and the journal says what was searched."""

import invented_study as inv
import numpy as np
import pytest
import toy

from mer_bench.searching import importance
from mer_bench.searching.importance import Knob


def settings(count, rng):
    """Random settings: a learning rate, a choice, a depth that is asked with one of the choices alone."""
    rows = []
    for _ in range(count):
        row = {"lr": float(10 ** rng.uniform(-4, -1)), "head": str(rng.choice(["flat", "gap"])), "drop": rng.uniform()}
        rows.append(row | ({"depth": int(rng.integers(0, 6))} if row["head"] == "gap" else {}))
    return rows


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is known of any study; asked for again, the next folder."""
    folders = iter(range(9))

    def empty():
        monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / f"home-{next(folders)}"))

    empty()
    return empty


def test_what_was_weighed_is_kept_and_other_scores_are_weighed_anew(monkeypatch):
    rng = np.random.default_rng(3)
    rows, evaluated = settings(20, rng), importance._evaluated
    searched, scores = importance.knobs(None, rows), rng.normal(size=20)
    asked = []
    monkeypatch.setattr(importance, "_evaluated", lambda study, given: asked.append(1) or evaluated(study, given))
    first = importance.weights(searched, rows, scores)
    assert len(asked) == 1 + importance.SHUFFLES
    assert importance.weights(searched, rows, scores) == first and len(asked) == 1 + importance.SHUFFLES
    importance.weights(searched, rows, scores[::-1])
    assert len(asked) == 2 + 2 * importance.SHUFFLES


def test_the_knob_that_made_the_scores_comes_first_and_the_others_are_luck(home):
    rng = np.random.default_rng(0)
    rows = settings(120, rng)
    searched = importance.knobs(None, rows)
    scores = [-abs(np.log10(row["lr"]) + 2.5) + 0.05 * rng.normal() for row in rows]
    found = importance.weights(searched, rows, scores)
    assert [w.name for w in found][0:1] == ["lr"] and found[0].share > 0.7 and found[0].shown
    assert sum(w.share for w in found) == pytest.approx(1) and {w.name for w in found} == set(searched)
    home()
    assert found == importance.weights(searched, rows, scores), "the same again"


def test_scores_without_a_cause_are_luck():
    """Each knob passes its nineteen shuffles in one study of twenty: of 32 knobs two, give or take."""
    rng, passed = np.random.default_rng(1), 0
    for _ in range(8):
        rows = settings(40, rng)
        passed += sum(w.shown for w in importance.weights(importance.knobs(None, rows), rows, rng.normal(size=40)))
    assert passed <= 6


def test_too_few_trials_or_scores_all_alike_say_nothing():
    rng = np.random.default_rng(2)
    rows = settings(30, rng)
    searched = importance.knobs(None, rows)
    assert importance.weights(searched, rows[:7], list(range(7))) == []
    assert importance.weights(searched, rows, [0.3] * 30) == []
    assert importance.weights({}, rows, rng.normal(size=30)) == []


def test_what_trials_show_is_guessed_where_no_journal_says_it():
    rows = [{"lr": 10.0**-n, "even": 0.1 * n, "whole": n, "kind": ("a", "b")[n % 2], "same": 1} for n in range(1, 7)]
    found = importance.knobs(None, rows)
    assert set(found) == {"lr", "even", "whole", "kind"}
    assert found["lr"].log and not found["even"].log and found["kind"].choices == ("a", "b")
    assert found["whole"].words == "1 to 6, as far as trials went"


def test_words_of_a_range():
    assert Knob("x", 1e-7, 0.1, log=True).words == "1e-07 to 0.1, log"
    assert Knob("x", 0, 3, step=1).words == "0 to 3" and Knob("x", choices=(4, "a", None)).words == "4, a, None"
    assert Knob("x", 0.0, 0.5, step=0.1).words == "0 to 0.5" and Knob("x", choices=(4,)).span is None


def test_the_journal_says_what_was_searched(tmp_path, monkeypatch):
    toy.install(monkeypatch, toy.corpus(signal=0, sizes=(4, 4, 4)))
    study = inv.question(tmp_path, trials=2, sizes=(4, 4, 4))
    inv.run(study, {0: (None, 0, ""), 1: (None, 0, "")}, (4, 4, 4))
    found = importance.knobs(study.folder / "optuna.log", [])
    assert found["lr"] == Knob("lr", 1e-3, 1e-1, log=True) and found["lr"].span == (1e-3, 1e-1, True)
    assert found["hidden"].choices == (4, 6, 8) and found["class_weights"].choices == ("none", "balanced")
    assert importance.knobs(tmp_path / "none.log", []) == {} and not (tmp_path / "none.log").exists()


def test_a_space_that_asked_a_knob_in_two_ranges_is_as_wide_as_both(tmp_path):
    import optuna

    file = tmp_path / "optuna.log"
    backend = optuna.storages.journal.JournalFileBackend(str(file))
    study = optuna.create_study(storage=optuna.storages.JournalStorage(backend))
    for low, high in ((0.1, 1.0), (0.5, 3.0)):
        study.ask().suggest_float("x", low, high)
    assert importance.knobs(file, [])["x"] == Knob("x", 0.1, 3.0)
