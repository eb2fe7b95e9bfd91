import json
from dataclasses import FrozenInstanceError, replace

import pytest

from mer_bench.contracts import (
    PAPER_SCALE,
    RECIPE_FIELDS,
    Baseline,
    Dataset,
    Mend,
    MerBenchError,
    Recipe,
    Scale,
    Setting,
    Task,
    UsageError,
    model_options,
    resolve,
)


def network(num_classes, *, image_size=224, width=1.0, depth=2, head="flat", kernels=(3, 5), prior=True, extra=None):
    return (num_classes, image_size, width, depth, head, kernels, prior, extra)


def flow_network(num_classes, *, dropout=0.2):
    return (num_classes, dropout)


METHOD = Baseline(
    model=network,
    view=lambda options: "flow" if options["head"] == "flow" else "onset_apex",
    recipe=Recipe(epochs=74, jitter=0.15),
    presets={"deep": {"depth": 5, "lr": 1e-3}, "calm": {"jitter": 0.0}},
)
FLOW = Baseline(model=flow_network, view="flow@28", recipe=Recipe(epochs=74))
CLASSICAL = Baseline(model=flow_network, view="flow")
SMALL = Scale(image_size=56, width=0.25, epochs=15)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Recipe(learning_rate=1e-3),
        lambda: Task(corpora=(), classes=(), class_map={}, clips=1, subjects=1, seed=3),
        lambda: Baseline(model=network, view="flow", epochs=3),
        lambda: Dataset(title="", read_annotations=print, license=""),
    ],
)
def test_an_unknown_key_is_a_type_error(build):
    with pytest.raises(TypeError):
        build()


@pytest.mark.parametrize("thing", [Recipe(), Scale(), METHOD, Mend("a", "b", 1, "c")])
def test_contracts_are_frozen(thing):
    with pytest.raises(FrozenInstanceError):
        thing.model = None


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"optimizer": "lion"}, "adamw, adam, sgd"),
        ({"schedule": "linear"}, "cosine"),
        ({"class_weights": "sqrt"}, "balanced"),
        ({"epochs": 0}, "epochs=0 should lie between 1"),
        ({"batch_size": 1}, "batch_size=1 should lie between 2"),
        ({"lr": -1.0}, "lr=-1.0 should lie between 0"),
        ({"flip": 7.0}, "flip=7.0 should lie between 0 and 1"),
    ],
)
def test_a_recipe_names_what_it_knows(settings, word):
    with pytest.raises(UsageError, match=word):
        Recipe(**settings)


def test_options_are_the_models_keywords():
    assert model_options(FLOW) == {"dropout": 0.2}
    assert list(model_options(METHOD)) == ["image_size", "width", "depth", "head", "kernels", "prior", "extra"]


def test_the_plain_setting_is_the_published_one():
    setting = resolve("m", METHOD)
    assert setting == Setting("m", model_options(METHOD), METHOD.recipe, "onset_apex@224+near")


def test_preset_then_override_and_the_part_may_be_named():
    setting = resolve("m", METHOD, "deep", {"model.depth": 7, "recipe.lr": 2e-3, "head": "gap", "weight_decay": 1})
    assert setting.model == "m:deep"
    assert (setting.options["depth"], setting.options["head"]) == (7, "gap")
    assert setting.recipe == replace(METHOD.recipe, lr=2e-3, weight_decay=1.0)
    assert isinstance(setting.recipe.weight_decay, float)
    assert resolve("m", METHOD, "deep").recipe.lr == 1e-3


@pytest.mark.parametrize(
    "overrides",
    [{"depht": 3}, {"recipe.depth": 3}, {"model.lr": 1e-3}, {"net.depth": 3}, {"model.": 3}, {"num_classes": 4}],
)
def test_an_unknown_setting_lists_the_known_ones(overrides):
    with pytest.raises(UsageError, match=r"m has no setting .*model\.depth.*recipe\.lr"):
        resolve("m", METHOD, "", overrides)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UsageError, match="known: calm, deep"):
        resolve("m", METHOD, "wide")
    with pytest.raises(UsageError, match="known: none"):
        resolve("f", FLOW, "wide")


def test_a_method_without_recipe_has_no_recipe_settings():
    assert resolve("c", CLASSICAL).recipe is None
    with pytest.raises(UsageError, match="has no setting 'lr'"):
        resolve("c", CLASSICAL, "", {"lr": 1.0})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("depth", 2.5),
        ("depth", True),
        ("depth", "2"),
        ("width", "wide"),
        ("width", True),
        ("head", 1),
        ("kernels", 3),
        ("prior", 1),
        ("lr", "fast"),
        ("epochs", 3.0),
        ("jitter_after_apex", 0),
    ],
)
def test_a_value_must_be_like_its_default(key, value):
    with pytest.raises(UsageError, match=rf"{key}=.* should be like its default"):
        resolve("m", METHOD, "", {key: value})


def test_whole_numbers_lists_and_none():
    setting = resolve("m", METHOD, "", {"width": 2, "kernels": [7], "decay_epochs": 5, "extra": "anything"})
    assert setting.options["width"] == 2.0 and isinstance(setting.options["width"], float)
    assert setting.options["kernels"] == (7,)
    assert setting.recipe.decay_epochs == 5
    assert setting.options["extra"] == "anything"


def test_scale_shrinks_sizes_widths_and_schedules():
    setting = resolve("m", METHOD, "", {"image_size": 112, "width": 2.0}, SMALL)
    assert (setting.options["image_size"], setting.options["width"]) == (28, 0.5)
    assert setting.recipe.epochs == 15
    assert setting.view == "onset_apex@28+near"
    assert resolve("m", METHOD, "", {"image_size": 16}, SMALL).options["image_size"] == 8
    assert resolve("m", METHOD, "", {"epochs": 9}, SMALL).recipe.epochs == 9
    assert resolve("m", METHOD, "", {}, PAPER_SCALE) == resolve("m", METHOD)


def test_values_given_by_hand_are_not_scaled_and_come_last():
    setting = resolve(
        "m", METHOD, "deep", {"lr": 5e-3, "depth": 6}, SMALL, {"image_size": 112, "epochs": 40, "model.depth": 8}
    )
    assert (setting.options["image_size"], setting.options["width"], setting.options["depth"]) == (112, 0.25, 8)
    assert (setting.recipe.epochs, setting.recipe.lr) == (40, 5e-3)
    assert setting.view == "onset_apex@112+near"
    with pytest.raises(UsageError, match="has no setting 'depht'"):
        resolve("m", METHOD, "", {}, SMALL, {"depht": 1})


def test_scale_leaves_models_with_an_input_of_their_own_alone():
    assert resolve("f", FLOW, "", {}, SMALL) == resolve("f", FLOW)
    assert resolve("f", FLOW).view == "flow@28"
    assert resolve("c", CLASSICAL, "", {}, SMALL).view == "flow@56"


def test_near_frames_are_loaded_only_to_jitter_colours():
    assert resolve("m", METHOD, "calm").view == "onset_apex@224"
    assert resolve("m", METHOD, "", {"head": "flow"}).view == "flow@224"
    for view, wanted in (("apex@64", "apex@64+near"), ("clip@64", "clip@64"), ("flow_clip@64", "flow_clip@64")):
        assert resolve("m", replace(METHOD, view=view)).view == wanted


@pytest.mark.parametrize("setting", [resolve("m", METHOD, "deep", {}, SMALL), resolve("c", CLASSICAL)])
def test_a_setting_survives_json(setting):
    again = Setting.from_dict(json.loads(json.dumps(setting.as_dict())))
    assert again.as_dict() == json.loads(json.dumps(setting.as_dict()))
    assert (again.recipe, again.view, again.model) == (setting.recipe, setting.view, setting.model)
    assert set(setting.as_dict()["recipe"] or RECIPE_FIELDS) == set(RECIPE_FIELDS)


def test_stored_settings_with_unknown_recipe_keys_are_an_error():
    data = resolve("f", FLOW).as_dict()
    data["recipe"]["learning_rate"] = 1.0
    with pytest.raises(TypeError):
        Setting.from_dict(data)


def test_resolving_changes_nothing_in_the_method():
    before = model_options(METHOD), METHOD.recipe, {k: dict(v) for k, v in METHOD.presets.items()}
    resolve("m", METHOD, "deep", {"depth": 9, "lr": 1.0}, SMALL)
    assert before == (model_options(METHOD), METHOD.recipe, METHOD.presets)


def test_usage_errors_are_errors_for_people():
    assert issubclass(UsageError, MerBenchError)
