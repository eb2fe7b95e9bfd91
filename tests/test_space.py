"""Search spaces by an invented method: a few knobs of every kind, some of them asked only on one branch."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.contracts import PAPER_SCALE, Scale, UsageError
from mer_bench.searching import space
from mer_bench.searching.space import Drawn, Space

METHOD = """
from mer_bench.contracts import Baseline, Recipe


def net(num_classes, *, image_size=224, width=1.0, motion="{motion}", depth=2, heads=4, drop=0.1, prior=True):
    return None


def suggest(trial):
    trial.suggest_float("lr", 1e-4, {high}, log=True)
    motion = trial.suggest_categorical("motion", ["rgb", "flow"])
    if {always} or motion == "rgb":
        trial.suggest_float("jitter", 0.0, 0.2)
    if {always} or motion == "flow":
        trial.suggest_int("depth", 1, 3)
        trial.suggest_int("heads", 2, 16, log=True)
    trial.suggest_int("batch_size", 16, 64, step=16)
    trial.suggest_float("drop", 0.0, 0.3, step=0.1)
    trial.suggest_float("weight_decay", 0.0, 0.8)
    return {{"schedule": "cosine", "epochs": 40}}


BASELINE = Baseline(
    model=net,
    view=lambda options: "flow" if options["motion"] == "flow" else "onset_apex",
    recipe=Recipe(epochs=74),
    presets={{"still": {{"motion": "flow", "depth": 3}}}},
    suggest=suggest,
)
"""
INSIDE = {
    "lr": lambda v: 1e-4 <= v <= 3e-3,
    "motion": lambda v: v in ("rgb", "flow"),
    "jitter": lambda v: 0 <= v <= 0.2,
    "depth": lambda v: v in (1, 2, 3),
    "heads": lambda v: isinstance(v, int) and 2 <= v <= 16,
    "batch_size": lambda v: v in (16, 32, 48, 64),
    "drop": lambda v: any(math.isclose(v, d, abs_tol=1e-9) for d in (0.0, 0.1, 0.2, 0.3)),
    "weight_decay": lambda v: 0 <= v <= 0.8,
    "schedule": lambda v: v == "cosine",
    "epochs": lambda v: v == 40,
}
BRANCHES = {"rgb": {"jitter"}, "flow": {"depth", "heads"}}
KNOBS = set(INSIDE) - {"schedule", "epochs"}


@pytest.fixture
def write(tmp_path):
    before = set(sys.modules)

    def to(name="searched", always=False, high=3e-3, motion="rgb"):
        path = tmp_path / f"{name}.py"
        path.write_text(METHOD.format(always=always, high=high, motion=motion))
        return str(path)

    yield to
    for name in set(sys.modules) - before:
        if name.startswith("mer_bench.plugins."):
            del sys.modules[name]


@pytest.fixture
def searched(write):
    return Space(write(), {})


def test_trial_0_is_the_published_setting(searched):
    default = searched.default()
    wanted = {"lr": 8e-4, "motion": "rgb", "jitter": 0.0, "batch_size": 32, "drop": 0.1, "weight_decay": 0.05}
    assert default == {**wanted, "schedule": "cosine", "epochs": 40}
    assert all(space.draw(searched, sampler, 3, 2)[0] == default for sampler in space.STRICT)


@pytest.mark.parametrize(("change", "reason"), [({"high": 5e-4}, "'lr'.*out of the range"), ({"motion": "x"}, "rgb")])
def test_a_published_setting_outside_the_space_is_an_error(write, change, reason):
    with pytest.raises(UsageError, match=f"lies outside its space: .*{reason}"):
        Space(write(**change), {}).default()


@pytest.mark.parametrize("sampler", space.STRICT)
def test_proposals_are_a_function_of_seed_and_number(searched, sampler):
    few, many = space.draw(searched, sampler, 7, 8), space.draw(searched, sampler, 7, 64)
    assert few == many[:8] == space.draw(searched, sampler, 7, 64)[:8]
    assert space.draw(searched, sampler, 7, 5) == few[:5]
    assert space.draw(searched, sampler, 7, 1) == few[:1]
    assert len(many) == 64
    other = space.draw(searched, sampler, 8, 64)
    assert all(a["lr"] != b["lr"] for a, b in zip(many[1:], other[1:], strict=True))
    assert len({values["lr"] for values in many}) == 64


@pytest.mark.parametrize("sampler", space.STRICT)
def test_proposals_lie_inside_and_follow_their_branch(searched, sampler):
    for values in space.draw(searched, sampler, 1, 64)[1:]:
        assert all(INSIDE[name](value) for name, value in values.items())
        other = {"rgb": "flow", "flow": "rgb"}[values["motion"]]
        assert set(values) == set(INSIDE) - BRANCHES[other]


@pytest.mark.parametrize("sampler", space.STRICT)
def test_a_conditional_knob_shifts_no_other(write, sampler):
    some = space.draw(Space(write("some"), {}), sampler, 5, 64)
    every = space.draw(Space(write("every", always=True), {}), sampler, 5, 64)
    assert any(set(a) < set(b) for a, b in zip(some, every, strict=True))
    for a, b in zip(some, every, strict=True):
        assert a.items() <= b.items()


def test_qmc_covers_every_knob_evenly(write):
    drawn = space.draw(Space(write(always=True), {}), "qmc", 0, 64)[1:]
    for name, low, high in (("weight_decay", 0.0, 0.8), ("jitter", 0.0, 0.2)):
        eighths = [min(7, int(8 * (values[name] - low) / (high - low))) for values in drawn]
        assert set(np.bincount(eighths, minlength=8)) <= {7, 8}
    assert 29 <= sum(values["motion"] == "rgb" for values in drawn) <= 33
    assert {values["batch_size"] for values in drawn} == {16, 32, 48, 64}
    assert {values["heads"] for values in drawn} >= {2, 16}


def test_only_strict_samplers_draw_in_advance(searched):
    with pytest.raises(UsageError, match="strict samplers: qmc, random"):
        space.draw(searched, "tpe", 0, 4)


def test_every_knob_is_known(searched):
    assert set(space.knobs(searched)) >= KNOBS
    assert space.knobs(searched) == sorted(space.knobs(searched))


@pytest.mark.parametrize("sampler", space.STRICT)
def test_pinned_knobs_are_not_asked(write, sampler):
    pinned = Space(write(), {"recipe.lr": 1.0, "motion": "flow", "model.prior": False, "epochs": 9})
    assert not set(space.knobs(pinned)) & {"lr", "motion", "prior", "epochs", "jitter"}
    for values in space.draw(pinned, sampler, 0, 8):
        assert set(values) == {"depth", "heads", "batch_size", "drop", "weight_decay", "schedule"}
        setting = pinned.setting(values)
        assert (setting.recipe.lr, setting.recipe.epochs, setting.options["motion"]) == (1.0, 9, "flow")
        assert setting.options["prior"] is False and setting.view == "flow@224"


def test_everything_may_be_pinned(write):
    base = Space(write(), {}).default()
    pinned = Space(write(), base)
    for sampler in space.STRICT:
        assert space.draw(pinned, sampler, 0, 4) == [{}] * 4
    assert pinned.setting({}) == Space(write(), {}).setting(base)


def test_a_pin_that_names_nothing_is_an_error(write):
    pinned = Space(write(), {"depht": 3})
    with pytest.raises(UsageError, match="has no setting 'depht'"):
        pinned.setting(pinned.default())


def test_what_a_preset_changes_is_not_searched(write):
    still = Space(f"{write()}:still", {})
    default = still.default()
    assert not set(default) & {"motion", "depth", "jitter"}
    setting = still.setting(default)
    assert (setting.options["motion"], setting.options["depth"], setting.options["heads"]) == ("flow", 3, 4)
    assert {v["heads"] for v in space.draw(still, "random", 0, 32)} > {4}


def test_settings_are_scaled_but_proposals_are_not(searched):
    scale = Scale(image_size=56, width=0.25, epochs=15)
    setting = searched.setting(searched.default(), scale)
    assert (setting.options["image_size"], setting.options["width"], setting.recipe.epochs) == (56, 0.25, 15)
    assert searched.setting(searched.default(), PAPER_SCALE).recipe.epochs == 40
    assert setting.recipe.schedule == "cosine"


def test_views_of_every_branch(searched):
    assert set(space.views(searched, PAPER_SCALE)) >= {"flow@224", "onset_apex@224+near"}


def test_optuna_asks_the_same_space(searched):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        constants = searched(trial)
        assert constants == {"schedule": "cosine", "epochs": 40}
        assert all(INSIDE[name](value) for name, value in trial.params.items())
        # what optuna proposes, a drawn trial accepts, and the other way round
        study.tell(trial, 0.0)
    for values in space.draw(searched, "qmc", 0, 16):
        assert searched(optuna.trial.FixedTrial(values)) == constants


def test_pinned_passes_everything_else_on():
    trial = SimpleNamespace(number=4, suggest_int=lambda name, low, high, step=1: (name, low, high, step))
    pinned = space.Pinned(trial, {"depth": 9})
    assert pinned.number == 4
    assert pinned.suggest_int("depth", 1, 3) == 9
    assert pinned.suggest_int("heads", 1, high=8, step=2) == ("heads", 1, 8, 2)
    with pytest.raises(AttributeError):
        pinned.suggest_float("x", 0, 1)


ends = st.sampled_from([0.0, 2.0**-40, 0.5, 1 - 2.0**-30, 1 - 2.0**-53]) | st.floats(0, 1, exclude_max=True)


@given(ends, st.integers(1, 50), st.integers(0, 60), st.integers(1, 7))
def test_drawn_whole_numbers_lie_on_their_grid(at, low, span, step):
    drawn = Drawn(lambda name: at)
    value = drawn.suggest_int("a", low, low + span, step=step)
    assert value in range(low, low + span + 1, step)
    assert low <= drawn.suggest_int("b", low, low + span, log=True) <= low + span
    assert drawn.params.keys() == {"a", "b"} and drawn.params["a"] == value


@given(ends, st.floats(1e-6, 10), st.floats(1, 1e4), st.integers(1, 20))
def test_drawn_numbers_never_leave_their_range(at, low, factor, steps):
    drawn, high = Drawn(lambda name: at), low * factor
    assert low <= drawn.suggest_float("a", low, high) <= high
    assert low <= drawn.suggest_float("b", low, high, log=True) <= high
    top = low + steps * 0.1
    value = drawn.suggest_float("c", low, top, step=0.1)
    assert low <= value <= top
    assert (value - low) / 0.1 == pytest.approx(round((value - low) / 0.1), abs=1e-6)


@given(ends, st.lists(st.text(), min_size=1))
def test_drawn_choices_are_choices(at, choices):
    assert Drawn(lambda name: at).suggest_categorical("a", choices) in choices


def test_every_value_of_a_whole_number_is_drawn_alike():
    def share(**kind):
        values = [Drawn(lambda name, at=at: at).suggest_int("a", 1, 8, **kind) for at in (np.arange(6400) + 0.5) / 6400]
        return np.bincount(values, minlength=9)[1:] / 6400

    np.testing.assert_allclose(share(), 1 / 8, atol=1e-3)
    np.testing.assert_allclose(share(log=True), np.diff(np.log(np.arange(1, 10))) / np.log(9), atol=1e-3)


def test_another_space_has_another_fingerprint(write):
    first, second = Space(write("first"), {}), Space(write("second", high=2e-3), {})
    prints = [space.fingerprint(s) for s in (first, second, Space(first.model, {"lr": 1e-3}))]
    assert len(set(prints)) == 3 and prints[0] == space.fingerprint(Space(first.model, {}))
