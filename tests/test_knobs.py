"""A space told knob by knob: what is offered, under which value of another knob, and why."""

import json

import optuna
import pytest
from typer.testing import CliRunner

from mer_bench import catalog
from mer_bench.contracts import UsageError
from mer_bench.door.cli import app
from mer_bench.searching import knobs
from mer_bench.searching.space import Space

METHOD = """
from mer_bench.contracts import Baseline, Recipe


def net(num_classes, *, kind="a", depth=2, heads=4, drop=0.1, extra=True, size=1):
    return None


def suggest(trial):
    # Paper: 1e-3;
    # scripts: 3e-3.
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])  # only here
    if kind != "c":
        _deep(trial)
    trial.suggest_float("drop", 0.0, 0.5, step=0.1)
    if trial.suggest_categorical("extra", [True, False]) and kind == "b":
        trial.suggest_int("size", 1, 9)


def _deep(trial):
    depth = trial.suggest_int("depth", 0, 3)
    # Ours.
    if depth > 1:
        trial.suggest_int("heads", 2, 16, log=True)


BASELINE = Baseline(
    model=net, view="flow@28", recipe=Recipe(lr=1e-3), presets={"plain": {"kind": "c"}}, suggest=suggest
)
"""


@pytest.fixture
def method(tmp_path):
    (tmp_path / "method.py").write_text(METHOD)
    return str(tmp_path / "method.py")


def told(model, **pinned):
    return {knob.name: knob for knob in knobs.tell(Space(model, pinned))}


def test_ranges_and_scales_are_what_the_space_offers(method):
    found = told(method)
    assert list(found) == ["lr", "kind", "depth", "heads", "drop", "extra", "size"]
    assert {name: (knob.ranges[0].words, knob.ranges[0].scale) for name, knob in found.items()} == {
        "lr": ("0.0001 .. 0.01", "log"),
        "kind": ("a, b, c", "choice"),
        "depth": ("0 .. 3", "linear"),
        "heads": ("2 .. 16", "log"),
        "drop": ("0 .. 0.5 by 0.1", "linear"),
        "extra": ("True, False", "choice"),
        "size": ("1 .. 9", "linear"),
    }
    assert found["lr"].published == 1e-3 and found["depth"].published == 2


def test_a_conditional_knob_says_under_which_value_it_exists(method):
    when = {name: knob.when for name, knob in told(method).items()}
    assert when == {
        "lr": "", "kind": "", "drop": "", "extra": "", "depth": "kind is a or b", "heads": "depth is 2 or 3",
        "size": "under some settings",
    }  # fmt: skip


def test_the_reason_is_the_comment_above_the_knob(method):
    why = {name: knob.source for name, knob in told(method).items()}
    assert why["lr"] == "Paper: 1e-3; scripts: 3e-3." and why["kind"] == "only here" and why["heads"] == "Ours."
    assert why["depth"] == ""


def test_what_is_decided_is_no_knob(method):
    assert set(told(f"{method}:plain")) == {"lr", "drop", "extra"}
    assert "depth" not in told(method, depth=3) and told(method, depth=3)["heads"].when == "kind is a or b"
    assert Space(f"{method}:plain", {"recipe.lr": 0.1}).decided == {"kind": "c", "lr": 0.1}


@pytest.mark.parametrize("name", catalog.names("space"))
def test_every_knob_of_the_project_has_its_reason_and_the_published_value_lies_inside(name):
    for knob in knobs.tell(Space(name, {})):
        assert knob.source, f"search_spaces/{name}.py: a comment above {knob.name} should say why this range"
        assert not knob.sometimes
        (offered,) = knob.ranges
        if knob.published is not None:
            inside = knob.published in offered.choices if offered.choices else None
            assert inside if inside is not None else offered.low <= knob.published <= offered.high


def test_ranges_and_conditions_of_mmnet_are_those_that_optuna_meets():
    found = told("mmnet")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(60):
        trial = study.ask()
        catalog.space("mmnet")(trial)
        for name, spread in trial.distributions.items():
            (offered,) = found[name].ranges
            if offered.choices:
                assert offered.choices == spread.choices
            else:
                assert (offered.low, offered.high, offered.log) == (spread.low, spread.high, spread.log)
        for name, knob in found.items():
            if knob.condition:
                there = trial.params.get(knob.condition.knob) in knob.condition.values
                assert (name in trial.params) == there, name
            else:
                assert name in trial.params
    assert found["pc_drop_path"].when == "pc_depth is 2 or 3"


def test_spaces_as_typed(method):
    done = CliRunner().invoke(app, ["spaces", "show", method, "--set", "depth=3", "--json"], catch_exceptions=False)
    answer = json.loads(done.stdout)
    assert answer["decided"] == {"depth": 3}
    heads = next(knob for knob in answer["knobs"] if knob["name"] == "heads")
    assert heads["condition"] == {"knob": "kind", "values": ["a", "b"]} and heads["scale"] == "log"
    assert heads["ranges"] == [{"low": 2, "high": 16, "step": 1, "log": True, "choices": []}]
    shown = CliRunner().invoke(app, ["spaces", "show", method], catch_exceptions=False).stdout
    assert "only if kind is a or b" in shown and "Paper: 1e-3" in shown and "0.0001 .. 0.01 (log)" in shown
    with pytest.raises(UsageError, match="known"):
        CliRunner().invoke(app, ["spaces", "show", method, "--set", "dpth=3"], catch_exceptions=False)


def test_the_list_counts_knobs(monkeypatch):
    monkeypatch.setattr(catalog, "names", lambda kind: ["mmnet", "ststnet"])
    done = CliRunner().invoke(app, ["spaces", "list", "--json"], catch_exceptions=False)
    rows = {row["model"]: row for row in json.loads(done.stdout)}
    assert rows["mmnet"]["knobs"] == 24 and rows["mmnet"]["conditional"] == 8 and "flow" in rows["mmnet"]["presets"]
    assert (rows["ststnet"]["knobs"], rows["ststnet"]["conditional"]) == (8, 0)
