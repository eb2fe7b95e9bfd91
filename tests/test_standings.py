"""Boards: order, reference, paired differences, corrections and labels, against slow or outside oracles."""

from dataclasses import replace

import numpy as np
import pytest
from invented_results import counted, finished, measured, result, rule, searched
from sklearn.metrics import f1_score

from mer_bench.contracts import MerBenchError
from mer_bench.reports import standings


def board(*results, **options):
    (found,) = standings.boards(finished(*results), **options)
    return found


def test_best_first_and_partial_runs_last():
    found = board(measured("a", 0.5), measured("lucky", 0.95, folds_done=3), measured("b", 0.8))
    assert [e.label for e in found.entries] == ["b", "a", "lucky"]
    assert found.entries[-1].ranks is None and found.entries[-1].difference is None


def test_every_task_and_clip_list_has_a_board_of_its_own():
    others = measured("a", task_version=2), measured("a", task_sha256="ffff"), measured("a", task="samm-5")
    found = standings.boards(finished(measured("a"), *others))
    assert [(b.task, b.version, b.sha256) for b in found] == [
        ("samm-5", 1, "ab12cd34ef"), ("synth-3", 1, "ab12cd34ef"), ("synth-3", 1, "ffff"), ("synth-3", 2, "ab12cd34ef"),
    ]  # fmt: skip


def test_the_difference_is_that_of_the_scores_and_the_reference_has_none():
    found = board(measured("mmnet", 0.5), measured("good", 0.9), measured("same", 0.5))
    of = {e.label: e for e in found.entries}
    assert found.reference is not None and found.reference.label == "mmnet" and of["mmnet"].difference is None
    gap = of["good"].difference
    assert gap.value == pytest.approx(of["good"].result.rules["last"].uf1 - of["mmnet"].result.rules["last"].uf1)
    assert gap.ends[0] < gap.value < gap.ends[1] and gap.ends[0] > 0 and gap.verdict.startswith("better by")
    same = of["same"].difference
    assert same.value == 0 and same.p == 1 and same.verdict.startswith("no difference: both say the same")


def test_p_is_corrected_for_the_number_of_challengers():
    models = [measured(f"m{i}", 0.5 + 0.04 * i, noise=i) for i in range(5)]
    found = board(measured("mmnet", 0.5), *models)
    gaps = [e.difference for e in found.entries if e.difference]
    raw = sorted(g.found.p for g in gaps)
    slow, most = [], 0.0
    for place, p in enumerate(raw):
        most = max(most, p * (len(raw) - place))
        slow.append(min(most, 1.0))
    assert sorted(g.p for g in gaps) == pytest.approx(slow)


def test_counts_of_an_entry_give_its_uf1():
    entry = board(measured(seeds=1)).entries[0]
    pooled = entry.counts.sum((0, 1))
    truth, said = np.repeat(np.indices((3, 3)).reshape(2, -1), pooled.ravel(), axis=1)
    assert f1_score(truth, said, average="macro") == pytest.approx(entry.result.rules["last"].uf1)


def test_the_reference_is_chosen_by_name_and_budget_never_by_score():
    runs = (
        measured("mmnet", 0.9),
        searched("mmnet", 0.4, trials=50),
        searched("mmnet", 0.8, trials=8),
        measured("x", 0.7),
    )
    assert board(*runs).reference.label == "mmnet · 50 trials"
    assert board(*runs[::-1]).reference.label == "mmnet · 50 trials"
    assert board(*runs, against="x").reference.label == "x"
    assert board(*runs, against="nobody").reference is None
    assert board(measured("mmnet:flow"), measured("x")).reference.label == "mmnet:flow"


def test_unequal_budgets_are_marked():
    found = {
        e.label: e.difference
        for e in board(searched("mmnet", trials=8), searched("a", trials=8), measured("b")).entries
    }
    assert found["a · 8 trials"].equal_budget and not found["b"].equal_budget


def test_labels_tell_entries_apart():
    runs = measured("a"), measured("a", seeds=3), measured("b", setting_name="x"), measured("b", setting_name="y")
    twins = measured("c", question={"lr": 1}), measured("c", question={"lr": 2})
    labels = [e.label for e in board(*runs, *twins).entries]
    assert len(set(labels)) == 6
    assert {"a · 2 seeds", "a · 3 seeds", "b · x", "b · y"} <= set(labels)
    assert sum(label.startswith("c · ") for label in labels) == 2


def test_ranks_hold_the_place_and_know_the_first():
    found = board(measured("mmnet", 0.4), measured("best", 0.95), measured("near", 0.94, noise=1))
    for place, entry in enumerate(found.entries, 1):
        assert entry.ranks.low <= place <= entry.ranks.high
    assert found.entries[0].ranks.tied_with_first and not found.entries[2].ranks.tied_with_first


def test_old_runs_without_counts_and_self_reported_ones_are_shown_and_not_compared():
    old, told = result("old"), measured("told", 0.9, kind="score", rules={"self-reported": counted(0.9)})
    found = board(measured("mmnet"), old, told, measured("a"))
    of = {e.label: e for e in found.entries}
    assert of["old"].difference is None and of["told"].ranks is None and of["told"].reported
    assert of["a"].ranks.high <= 2 and found.entries[-1].label == "told"


def test_given_weights_are_shown_last_and_not_compared():
    given = measured("mmnet (weights: w)", 0.95, rules={"given-weights": counted(0.95)})
    found = board(measured("mmnet"), given, measured("a", 0.4), against="mmnet (weights")
    last = found.entries[-1]
    assert last.label == "mmnet (weights: w)" and last.ranks is None and last.difference is None
    assert found.reference is None and found.entries[0].ranks.high <= 2


def test_a_run_of_oracles_alone_is_no_reference_and_stands_last():
    leaky = measured("mmnet", rules={"oracle-epoch": counted(0.9, leaky=True)})
    found = board(leaky, measured("a", 0.4))
    assert found.reference is None and [e.label for e in found.entries] == ["a", "mmnet"]


def test_the_headline_is_the_first_honest_rule_whatever_the_order_on_disk():
    rules = {"oracle-epoch": rule(0.9, leaky=True), "inner": rule(0.4), "last": rule(0.5)}
    assert result(rules=rules).headline == "last"
    assert searched().headline == "nested"


def test_newer_runs_of_one_question_replace_older_ones():
    found = board(measured("a", 0.5), measured("a", 0.6))
    assert [(e.run_id[-1], e.older) for e in found.entries] == [("0", 1)]
    assert found.entries[0].result.rules["last"].uf1 == measured("a", 0.6).rules["last"].uf1


def test_seed_noise_is_told():
    noisy = replace(measured("a", 0.6, noise=5), seeds=2)
    found = board(measured("mmnet", 0.6), noisy)
    gap = next(e.difference for e in found.entries if e.difference)
    assert ("within seed noise" in gap.verdict) == gap.found.within_seed_noise


def test_no_results_name_the_first_command():
    with pytest.raises(MerBenchError, match="mer-bench run"):
        standings.boards([])
