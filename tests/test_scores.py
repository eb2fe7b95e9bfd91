import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from invented_results import HELD, measured, result, rule, searched, study

from mer_bench.contracts import MerBenchError
from mer_bench.records.scores import ROWS, SCHEMA, Result, rows, table
from mer_bench.selection import UNVERIFIED

START = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def finished(*results):
    """Run ids and starts, a day apart, the first one oldest."""
    return [(f"{i:032x}"[::-1], START + timedelta(days=i), found) for i, found in enumerate(results)]


def test_a_result_survives_json():
    parts = {"casme2": {"uf1": 0.5, "uar": 0.4}}
    found = result(rules={"last": rule(0.6, per_corpus=parts, absent=3)}, parameters=None)
    assert Result.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    for whole in (study(), searched(), measured()):
        back = Result.from_dict(json.loads(json.dumps(whole.as_dict())))
        assert back == whole and list(back.rules) == list(whole.rules)
    shuffled = json.loads(json.dumps(searched().as_dict(), sort_keys=True))
    assert list(Result.from_dict(shuffled).rules) == ["nested", "nested-no-refit", "oracle-trial"]
    more = rule(
        0.6,
        interval_method="bootstrap-t",
        intervals={"uar": (0.4, 0.6)},
        per_class={"positive": {"f1": 0.5, "low": 0.3, "high": 0.7}},
        by_subject={"casme2/01": [[[1, 2], [0, 3]]]},
    )
    assert Result.from_dict(json.loads(json.dumps(result(rules={"last": more}).as_dict()))).rules["last"] == more


def test_a_run_recorded_before_intervals_had_a_method_is_still_read():
    old = result().as_dict()
    for score in old["rules"].values():
        for name in ("interval_method", "intervals", "per_class", "by_subject"):
            del score[name]
    last = Result.from_dict(old).rules["last"]
    assert (last.interval_method, last.by_subject) == ("percentile", {})


def test_an_unknown_key_is_an_error():
    with pytest.raises(TypeError):
        Result.from_dict({**result().as_dict(), "f1": 0.9})
    odd = measured().as_dict()
    for part in (odd["evidence"], odd["evidence"]["curves"][0]):
        part["colour"] = "red"
        with pytest.raises(TypeError):
            Result.from_dict(odd)
        del part["colour"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": {"oracle-epoch": rule(0.9)}},
        {"rules": {"last": rule(0.9, leaky=True)}},
        {"rules": {"last": rule(0.9)}, "chance": {}},
    ],
)
def test_no_oracle_passes_as_honest_and_no_number_without_chance(changes):
    with pytest.raises(MerBenchError):
        result(**changes)


def test_table_has_one_row_per_number():
    found = result(rules={"last": rule(0.6, per_corpus={"samm": {"uf1": 0.5, "uar": 0.4}})})
    scores = table(found)
    assert dict(scores.schema) == SCHEMA
    headline = scores.filter(corpus="", metric="uf1").to_dicts()[0]
    assert (headline["value"], headline["low"], headline["high"], headline["chance"]) == (0.6, 0.5, 0.68, 0.331)
    assert len(scores) == 5 + 2
    assert "uf1_sd" not in scores["metric"]
    assert scores.filter(corpus="samm", metric="uar")["value"].to_list() == [0.4]


def test_intervals_stand_beside_uar_and_accuracy_too():
    ends = {"uar": (0.4, 0.7), "accuracy": (0.5, 0.8)}
    found = result(rules={"last": rule(0.6, intervals=ends, per_corpus={"samm": {"uar": 0.4}})})
    scores = {(row["corpus"], row["metric"]): (row["low"], row["high"]) for row in table(found).to_dicts()}
    assert scores["", "uar"] == (0.4, 0.7) and scores["", "accuracy"] == (0.5, 0.8) and scores["", "uf1"] == (0.5, 0.68)
    assert scores["samm", "uar"] == scores["", "weighted_f1"] == (None, None)
    (row,) = rows(finished(found)).to_dicts()
    assert [row[name] for name in ("uar_low", "uar_high", "accuracy_low", "accuracy_high")] == [0.4, 0.7, 0.5, 0.8]
    (old,) = rows(finished(result(rules={"last": rule(0.6)}))).to_dicts()
    assert old["uar_low"] is old["accuracy_high"] is None


def test_rows_one_per_run_and_rule_honest_first_best_first():
    found = rows(finished(result(), study()))
    assert dict(found.schema) == ROWS
    assert found["rule"].to_list() == ["last", "inner", "nested", "nested-no-refit", "oracle-epoch", "oracle-trial"]
    assert found["leaky"].to_list() == [False] * 4 + [True] * 2
    assert found.filter(rule="inner")["trained_on"].to_list() == [HELD]


def test_optimism_stands_on_the_honest_row_of_the_same_run():
    found = dict(rows(finished(result(), study())).select("rule", "optimism").iter_rows())
    assert found["last"] == pytest.approx(0.81 - 0.703)
    assert found["nested-no-refit"] == pytest.approx(0.74 - 0.65)
    assert found["nested"] is None and found["inner"] is None and found["oracle-epoch"] is None


def test_above_chance_is_the_lower_end_above_it():
    rules = {"last": rule(0.44), "inner": rule(0.42)}
    found = rows(finished(result(rules=rules)))
    assert dict(found.select("rule", "above_chance").iter_rows()) == {"last": True, "inner": False}


def test_the_newest_of_equal_questions_is_shown_in_whatever_order_they_come():
    old, new = result(rules={"last": rule(0.5)}), result(rules={"last": rule(0.4)})
    given = finished(old, old, new)
    found = rows(given)
    assert found.equals(rows(given[::-1]))
    assert found.select("uf1", "older_runs").rows() == [(0.4, 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"task_version": 2},
        {"task_sha256": "ffff"},
        {"rules": {"last": replace(rule(0.5), seeds=5)}},
        {"folds_done": 3},
        {"setting_name": "another"},
        {"question": {"setting": {"recipe": {"lr": 0.1}}}},
    ],
)
def test_another_question_never_shares_a_row(changes):
    rules = {"last": rule(0.5)}
    found = rows(finished(result(rules=rules), result(**{"rules": rules, **changes})))
    assert len(found) == 2 and found["older_runs"].sum() == 0


def test_partial_runs_stand_below_complete_ones():
    rules = {"last": rule(0.9)}
    found = rows(finished(result(), result("lucky", rules=rules, folds_done=2)))
    assert found.filter(leaky=False)["model"].to_list() == ["mmnet", "mmnet", "lucky"]


@pytest.mark.parametrize("unverified", UNVERIFIED)
def test_what_was_made_elsewhere_stands_below_what_was_made_here(unverified):
    told = result("told", rules={unverified: rule(0.99)})
    found = rows(finished(told, result(rules={"last": rule(0.4), "oracle-epoch": rule(0.9, leaky=True)})))
    assert found["rule"].to_list() == ["last", unverified, "oracle-epoch"]


def test_nothing_recorded_names_the_first_command():
    with pytest.raises(MerBenchError, match="mer-bench run"):
        rows([])
