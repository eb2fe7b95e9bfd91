"""Every search space: the published setting lies inside, and whatever it suggests can be built."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from mer_bench import catalog
from mer_bench.contracts import Recipe, Scale, Setting, model_options, resolve
from mer_bench.pixels import frames
from mer_bench.training import batches

SPACES = catalog.names("space")
SMALL = Scale(image_size=32, width=0.125)


def _defaults(name: str, preset: str = "") -> dict[str, Any]:
    """Option and recipe names of a setting with their values, as `suggest` names them."""
    setting = resolve(name, catalog.baseline(name), preset)
    assert setting.recipe is not None
    return {**setting.options, **{f.name: getattr(setting.recipe, f.name) for f in fields(Recipe)}}


def _random(name: str, trials: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    for _ in range(trials):
        trial = study.ask()
        constants = catalog.space(name)(trial) or {}
        found.append({**trial.params, **constants})
    return found


def test_every_method_that_learns_by_gradients_has_a_space_and_every_space_a_method() -> None:
    learnt = {name for name in catalog.names("baseline") if catalog.baseline(name).recipe is not None}
    assert learnt <= set(SPACES) <= set(catalog.names("baseline"))


@pytest.mark.parametrize(
    ("name", "preset"), [(name, preset) for name in SPACES for preset in ("", *catalog.baseline(name).presets)]
)
def test_the_published_setting_lies_inside(name: str, preset: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a fixed value outside its range is only a warning to Optuna
        trial = optuna.trial.FixedTrial(_defaults(name, preset))
        catalog.space(name)(trial)
    assert trial.params


@pytest.mark.parametrize("name", SPACES)
def test_the_check_notices_a_default_outside(name: str) -> None:
    outside = {**_defaults(name), "lr": 10.0}
    with pytest.warns(UserWarning, match="lr"):
        catalog.space(name)(optuna.trial.FixedTrial(outside))


@pytest.mark.parametrize("name", SPACES)
def test_suggestions_are_settings_that_build(name: str) -> None:
    baseline = catalog.baseline(name)
    known = {*model_options(baseline), *(f.name for f in fields(Recipe))}
    different = {}  # many suggestions are one network with different recipes
    for params in _random(name, 40):
        assert set(params) <= known
        setting = resolve(name, baseline, "", params, SMALL)
        different[setting.view, str(sorted(setting.options.items()))] = setting
    for setting in different.values():
        with torch.device("meta"):  # shapes without numbers: some networks stay large
            model = baseline.model(num_classes=3, **setting.options).eval()
        shapes = frames.parse_view(setting.view).shapes
        stored = {key: np.zeros((2, *shape), np.uint8) for key, shape in shapes.items()}
        data = batches.load(stored, np.zeros(2), np.zeros((2, 3), np.int64), "cpu")
        shown = {key: value.to("meta") for key, value in batches.batch(data, torch.arange(2)).items()}
        assert model(**shown).shape == (2, 3)


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_a_pure_function_of_the_trial(name: str) -> None:
    assert _random(name, 5) == _random(name, 5)


def test_mmnet_opens_what_the_scripts_and_the_paper_vary() -> None:
    seen: set[str] = set().union(*_random("mmnet", 200))
    assert seen >= {
        "lr", "weight_decay", "batch_size", "schedule", "gamma", "label_smoothing", "class_weights", "flip", "rotate",
        "shift", "motion", "image_size", "width", "blocks", "prior", "map_pool", "head", "fusion", "fusion_after",
        "patch_size", "pc_depth", "pc_heads", "pc_mlp_ratio", "pc_drop_path",
    }  # fmt: skip


def test_mmnet_asks_for_a_part_only_where_it_exists() -> None:
    for params in _random("mmnet", 100):
        position = {"fusion_after", "patch_size", "pc_depth", "pc_heads", "pc_mlp_ratio", "pc_drop_path"} & set(params)
        assert bool(position) == (params["fusion"] != "none")
        assert ("map_pool" in params) == params["prior"]
        assert ("gamma" in params) == (params["schedule"] == "exponential")
        assert ("pc_drop_path" in params) == (params.get("pc_depth", 0) > 1)


def _cost(setting: Setting) -> float:
    """Multiplications of one clip, counted by torch on tensors without data."""
    from torch.utils.flop_counter import FlopCounterMode

    size = setting.options["image_size"]
    keys = ("flow",) if setting.view.startswith("flow") else ("onset", "apex")
    with torch.device("meta"):
        model = catalog.baseline("mmnet").model(num_classes=3, **setting.options).eval()
        inputs = {key: torch.empty(1, 3, size, size) for key in keys}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**inputs)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("scale", [Scale(), Scale(48, 0.25)], ids=["paper", "small"])
def test_no_corner_of_mmnet_is_much_dearer_than_the_published_network(scale: Scale) -> None:
    baseline = catalog.baseline("mmnet")
    published = _cost(resolve("mmnet", baseline, scale=scale))
    if scale == Scale():
        assert published == pytest.approx(7.2e9, rel=0.05)
    dearest = {"blocks": "1-1-2-2", "fusion": "concat", "fusion_after": 3, "pc_depth": 3, "pc_mlp_ratio": 4.0}
    costs = [_cost(resolve("mmnet", baseline, "", params, scale)) for params in [dearest, *_random("mmnet", 30)]]
    assert max(costs) < 1.55 * published
    assert sorted(costs)[len(costs) // 2] < 0.8 * published
