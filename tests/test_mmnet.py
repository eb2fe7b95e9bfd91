"""MMNet: parity with the published network in float64, and the options that vary it.

The reference numbers were computed with the published code from the weights and inputs that `weights` and `clips`
below write down, so a slip in order, epsilon, resize or attention shows in the tenth digit.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench import catalog
from mer_bench.contracts import MerBenchError, Recipe, Scale, UsageError, resolve

EVAL_LOGITS = (
    (-0.001032169310744277, 0.016881605835990098, 0.0220251191071881, 0.012708548998430623, -0.006534728223888545),
    (-0.0007269347570536544, 0.017283372479547036, 0.02246781385604748, 0.013130903471308332, -0.006191167341174586),
)
TRAIN_LOGITS = (
    (0.02942699472182807, 0.031183011529479072, 0.01818947038132538, -0.008733305316546647, -0.042615263176946555),
    (-0.014892819591342005, -0.016665108381979807, -0.026564837117909662, -0.044199862035145226, -0.06388554346370577),
)
TRAIN_LOSS = 1.6023502197670956
GRADIENT_NORMS = {
    "stem.0.weight": 10.262465820895628,
    "stem.1.bias": 1.0152541210710397,
    "position.positions": 0.06697819971238406,
    "position.patch.weight": 0.017441851458504985,
    "position.blocks.0.norm1.weight": 0.0035232963555409244,
    "position.blocks.0.qkv.weight": 0.10242583741312133,
    "position.blocks.1.fc1.bias": 0.0003710258519340394,
    "position.norm.weight": 0.01296923972648374,
    "stem.3.weight": 294.0573499949406,
    "stages.0.0.conv1.weight": 119.19850201160044,
    "stages.0.0.gate.mix.weight": 0.001034376174988689,
    "stages.1.0.bn2.bias": 0.07366337824017317,
    "stages.2.0.gate.norm.weight": 0.043278957506889,
    "stages.2.0.shortcut.0.weight": 1.1763699443097568,
    "stages.3.0.conv2.weight": 1.1010211508099972,
    "stages.3.0.gate.norm.bias": 0.0002625222244875443,
    "head.2.weight": 174.5634050471934,
    "head.2.bias": 0.5463025673768257,
}
# Mean and standard deviation of each stage's features, mean and maximum of its map.
STAGES = (
    (0.05538822636018205, 0.06620661317550344, 0.5698672427459869, 0.6616436321071409),
    (0.02117355636905692, 0.0273828902234664, 0.32609448191811474, 0.38613217114578635),
    (0.014946370381430705, 0.0209987059325991, 0.11525863554275474, 0.13285353353083704),
    (0.009883056594852113, 0.012290655940649296, 0.055816557859364305, 0.06356818346918931),
)
TOKENS = (0.001291270582930674, 1.0044454148660686)
# Parts in the order in which the published network registers its tensors.
ORDER = ("stem.0.", "stem.1.", "position.", "stem.3.", "stem.4.", "stages.", "head.")
SMALL = {"image_size": 32, "width": 0.125}


def mmnet(num_classes: int = 5, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = catalog.baseline("mmnet").model(num_classes=num_classes, **options)
    return model


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def weights(name: str, k: int, shape: torch.Size) -> Tensor:
    """The reference's value of its k-th tensor: a cosine over the flat index, at a usual size for its role."""
    c = torch.cos(0.618034 * torch.arange(math.prod(shape), dtype=torch.float64) + 0.1 * k).view(shape)
    if name.endswith("running_var"):
        return (1.0 if ".gate." in name else 0.3) * (1 + 0.1 * c)
    if name.endswith("positions"):
        return 0.02 * c
    if len(shape) > 1:
        return c * math.sqrt(2 / math.prod(shape[1:]))
    return 1 + 0.1 * c if name.endswith("weight") else 0.05 * c


def clips() -> tuple[Tensor, Tensor]:
    b, c, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (2, 3, 224, 224)), indexing="ij")
    onset = 0.5 * torch.sin(0.02 * x * (c + 1) + 0.03 * y + b)
    return onset, onset + torch.cos(0.05 * x - 0.04 * y + c + b)


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    model = mmnet().double()
    state = {k: v for k, v in model.trunk.state_dict().items() if not k.endswith("num_batches_tracked")}
    names = sorted(state, key=lambda name: next(i for i, part in enumerate(ORDER) if name.startswith(part)))
    assert len(names) == 116
    for k, name in enumerate(names):
        state[name].copy_(weights(name, k, state[name].shape))
    return model


def close(found: Tensor | float, expected: Any) -> None:
    torch.testing.assert_close(
        torch.as_tensor(found, dtype=torch.float64),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-6,
        atol=0.0,
    )


def test_parity_of_the_evaluated_network(reference: nn.Module) -> None:
    reference.eval()
    onset, apex = clips()
    features: list[Tensor] = []
    hooks = [stage.register_forward_hook(_keep(features)) for stage in (s[-1] for s in reference.trunk.stages)]
    with torch.no_grad():
        logits = reference(onset, apex)
        for hook in hooks:
            hook.remove()
        maps = reference.attention_maps(onset, apex)
        tokens = reference.trunk.position.tokens(onset)
    close(logits, EVAL_LOGITS)
    for feature, attention, (mean, std, attention_mean, attention_max) in zip(features, maps, STAGES, strict=True):
        close(feature.mean(), mean)
        close(feature.std(), std)
        close(attention.mean(), attention_mean)
        close(attention.max(), attention_max)
    assert tokens.shape == (2, 196, 512)
    close(tokens.mean(), TOKENS[0])
    close(tokens.std(), TOKENS[1])


def test_parity_of_a_training_step(reference: nn.Module) -> None:
    state = {k: v.clone() for k, v in reference.state_dict().items()}
    reference.train()
    logits = reference(*clips())
    loss = F.cross_entropy(logits, torch.tensor([1, 3]))
    loss.backward()
    close(logits.detach(), TRAIN_LOGITS)
    close(loss.detach(), TRAIN_LOSS)
    gradients = {name: p.grad for name, p in reference.trunk.named_parameters()}
    assert all(g is not None for g in gradients.values()), "a parameter that never trains"
    for name, norm in GRADIENT_NORMS.items():
        close(gradients[name].norm(), norm)
    reference.load_state_dict(state)


def _keep(into: list[Tensor]) -> Any:
    return lambda module, inputs, outputs: into.append(outputs[0])


def test_active_parameters_of_both_published_networks() -> None:
    assert parameters(mmnet()) == 9_438_841
    assert parameters(mmnet(pc_depth=3, pc_mlp_ratio=2.0, pc_drop_path=0.3)) == 9_442_425


POSITION, GATES, FLAT = 6_408_192, 4 * 4, 5 * 100_352 + 5


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("paper-5class", 9_438_841),
        ("paper-3class", 9_442_425),
        ("no-prior", 9_438_841),
        ("no-attention", 9_438_841 - GATES),
        ("no-pc", 9_438_841 - POSITION),
        ("gap", 9_438_841 - FLAT + 5 * 512 + 5),
        ("flow", 9_438_841 - POSITION),
    ],
)
def test_a_preset_takes_away_what_it_names_and_nothing_else(preset: str, count: int) -> None:
    """Parameters at the published size; an ablation keeps the published recipe and input."""
    baseline = catalog.baseline("mmnet")
    setting = resolve("mmnet", baseline, preset)
    with torch.device("meta"):
        model = baseline.model(num_classes=5, **setting.options)
    assert parameters(model) == count
    if preset in ("no-prior", "no-attention", "no-pc", "gap"):
        published = resolve("mmnet", baseline)
        assert (setting.recipe, setting.view) == (published.recipe, published.view)
        assert len({k for k in setting.options if setting.options[k] != published.options[k]}) == 1


def test_the_ablations_compute_what_their_names_say() -> None:
    """On the same features: pooling before the classifier, weights without a prior, features without weights."""
    pooled = mmnet(3, **SMALL, head="gap").trunk.head.eval()
    features = pictures(2, pooled[-1].in_features, 2, 2)
    torch.testing.assert_close(pooled(features), pooled[-1](features.mean((2, 3))))
    published, lonely, bare = (mmnet(3, **SMALL, **o) for o in ({}, {"prior": False}, {"attention": False}))
    prior = pictures(2, 1, 16, 16, seed=1).sigmoid()
    blocks = [model.trunk.stages[2][0].eval() for model in (published, lonely, bare)]
    for block in blocks[1:]:
        block.load_state_dict({k: v for k, v in blocks[0].state_dict().items() if k in block.state_dict()})
    x = pictures(2, blocks[0].conv1.in_channels, 16, 16)
    (with_prior, both), (without, own), (plain, nothing) = (block(x, prior) for block in blocks)
    torch.testing.assert_close(both, own * F.max_pool2d(prior, 3, 2, 1))
    torch.testing.assert_close(with_prior, plain * both)
    torch.testing.assert_close(without, plain * own)
    assert nothing is None


def test_presets_carry_the_scripts_recipes() -> None:
    baseline = catalog.baseline("mmnet")
    five, three = (resolve("mmnet", baseline, preset) for preset in ("paper-5class", "paper-3class"))
    schedule = {"schedule": "exponential", "gamma": 0.987, "decay_epochs": 50}
    assert five.recipe == Recipe(
        epochs=74, batch_size=32, lr=8e-4, weight_decay=0.6, flip=0.5, rotate=3.0, shift=15 / 224, jitter=0.15,
        **schedule,
    )  # fmt: skip
    assert three.recipe == Recipe(
        epochs=99, batch_size=24, lr=8e-4, weight_decay=0.7, flip=0.5, rotate=4.0, shift=4 / 224, jitter=0.2,
        jitter_after_apex=True, **schedule,
    )  # fmt: skip
    assert (three.options["pc_depth"], three.options["pc_mlp_ratio"], three.options["pc_drop_path"]) == (3, 2.0, 0.3)
    assert five.options == resolve("mmnet", baseline).options
    assert five.view == "onset_apex@224+near"


@pytest.mark.parametrize(
    "options",
    [
        {"prior": False}, {"attention": False}, {"map_pool": "avg"}, {"blocks": "1-1-2-2"}, {"blocks": "2-3-1-1"},
        {"fusion": "none"}, {"fusion": "concat"}, {"fusion": "gated", "fusion_after": 3}, {"fusion_after": 1},
        {"patch_size": 4}, {"pc_depth": 0}, {"pc_depth": 1, "pc_drop_path": 0.3}, {"pc_heads": 8},
        {"head": "gap"}, {"dropout": 0.5}, {"image_size": 24}, {"image_size": 28}, {"image_size": 47}, {"width": 0.3},
    ],
    ids=str,
)  # fmt: skip
def test_every_option_builds_and_trains(options: dict[str, Any]) -> None:
    model = mmnet(3, **{**SMALL, **options})
    size = model.trunk.image_size
    logits = model(pictures(4, 3, size, size), pictures(4, 3, size, size, seed=1))
    assert logits.shape == (4, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_options_change_the_function() -> None:
    onset, apex = pictures(2, 3, 32, 32), pictures(2, 3, 32, 32, seed=1)
    outputs = [
        mmnet(3, **SMALL, **options).eval()(onset, apex)
        for options in ({}, {"prior": False}, {"attention": False}, {"map_pool": "avg"}, {"fusion": "none"})
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


@pytest.mark.parametrize("prior", [True, False])
def test_attention_maps_shrink_with_the_stages_and_multiply_the_prior(prior: bool) -> None:
    model = mmnet(3, **SMALL, blocks="1-1-1-2", prior=prior).eval()
    maps = model.attention_maps(pictures(2, 3, 32, 32), pictures(2, 3, 32, 32, seed=1))
    assert [tuple(m.shape) for m in maps] == [(2, 1, s, s) for s in (16, 8, 4, 2, 2)]
    steps = pairwise(maps[:4])  # each of these is half as large as the one before
    bounded = all((after <= F.max_pool2d(before, 3, 2, 1) + 1e-6).all() for before, after in steps)
    assert bounded is prior
    assert mmnet(3, **SMALL, attention=False).attention_maps(pictures(2, 3, 32, 32), pictures(2, 3, 32, 32)) == []


def test_without_position_branch_only_the_difference_counts() -> None:
    model = mmnet(3, **SMALL, fusion="none").double().eval()
    onset, apex = pictures(2, 3, 32, 32).double(), pictures(2, 3, 32, 32, seed=1).double()
    torch.testing.assert_close(model(onset, apex), model(onset + 1, apex + 1))
    with_position = mmnet(3, **SMALL).double().eval()
    assert not torch.allclose(with_position(onset, apex), with_position(onset + 1, apex + 1))


@pytest.mark.parametrize("size", [28, 56])
@pytest.mark.parametrize("fusion", ["none", "add"])
def test_flow_is_one_picture(size: int, fusion: str) -> None:
    setting = resolve("mmnet", catalog.baseline("mmnet"), "flow", {"fusion": fusion}, Scale(size, 0.125))
    assert setting.view == f"flow@{size}"
    model = mmnet(3, **setting.options)
    flow = torch.randint(0, 256, (4, 3, size, size), generator=torch.Generator().manual_seed(0)).float()
    assert model(flow=flow).shape == (4, 3)
    assert len(model.attention_maps(flow)) == 4


def test_drop_path_is_for_training_only() -> None:
    model = mmnet(3, **SMALL, pc_drop_path=0.9)
    onset, apex = pictures(4, 3, 32, 32), pictures(4, 3, 32, 32, seed=1)
    tokens = model.trunk.position.tokens
    assert not torch.equal(tokens(onset), tokens(onset))
    model.eval()
    assert torch.equal(model(onset, apex), model(onset, apex))


def test_channels_last_and_bfloat16_compute_the_same_function() -> None:
    model = mmnet(3, **SMALL).eval()
    onset, apex = pictures(2, 3, 32, 32), pictures(2, 3, 32, 32, seed=1)
    plain = model(onset, apex)
    model = model.to(memory_format=torch.channels_last)
    onset, apex = (p.to(memory_format=torch.channels_last) for p in (onset, apex))
    torch.testing.assert_close(model(onset, apex), plain, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(onset, apex).float(), plain, rtol=0.1, atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"motion": "rgb"}, "difference, flow"),
        ({"fusion": "sum"}, "add, concat, gated, none"),
        ({"map_pool": "min"}, "max, avg"),
        ({"head": "fc"}, "flatten, gap"),
        ({"blocks": "1-1-1"}, "four stages"),
        ({"blocks": "1-1-1-x"}, "four stages"),
        ({"blocks": "1-1-0-1"}, "four stages"),
        ({"fusion_after": 5}, "1 to 4"),
        ({"pc_heads": 3}, "heads must divide"),
    ],
)
def test_impossible_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mmnet(3, **SMALL, **options)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(MerBenchError, match="built for 32 pixels and was shown 40x40"):
        mmnet(3, **SMALL)(pictures(2, 3, 40, 40), pictures(2, 3, 40, 40))


def own_module() -> Any:
    return catalog.load("baseline", catalog.folder("baseline") / "mmnet.py")


@pytest.mark.parametrize("kind", ["distinct", "tied", "zero"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_summary_s_own_gradient_is_torchs(kind: str, layout: torch.memory_format) -> None:
    """In float64, on values that all differ, on many that are equal, and on channels that are all dead."""
    module, generator = own_module(), torch.Generator().manual_seed(0)
    features = torch.rand(3, 7, 5, 4, generator=generator, dtype=torch.float64).contiguous(memory_format=layout)
    if kind == "tied":
        features = (features * 3).floor()
    if kind == "zero":
        features[:, :, ::2] = 0
    back = torch.rand(3, 2, 5, 4, generator=generator, dtype=torch.float64)
    answers = []
    for of in (module.summary, module.Summary.apply):
        asked = features.clone().requires_grad_()
        said = of(asked)
        (gradient,) = torch.autograd.grad(said, asked, back)
        answers.append((said.detach(), gradient))
    assert torch.equal(answers[0][0], answers[1][0])
    torch.testing.assert_close(answers[0][1], answers[1][1], rtol=1e-12, atol=1e-14)


def test_the_summary_s_gradient_in_bfloat16_is_that_of_float32_rounded() -> None:
    module, generator = own_module(), torch.Generator().manual_seed(1)
    features = torch.rand(2, 16, 9, 9, generator=generator).bfloat16()
    back = torch.rand(2, 2, 9, 9, generator=generator)
    fine, coarse = features.float().requires_grad_(), features.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(module.summary(fine), fine, back)
    (found,) = torch.autograd.grad(module.Summary.apply(coarse), coarse, back)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=1e-2, atol=1e-3)


def test_a_step_is_the_same_whichever_gradient_its_gates_take(monkeypatch: pytest.MonkeyPatch) -> None:
    module, losses = own_module(), []
    for few in (0, 2**30):
        monkeypatch.setattr(module, "FEW", few)
        torch.manual_seed(0)
        model = module.mmnet(3, image_size=32, width=0.125).double()
        onset, apex = torch.rand(2, 4, 3, 32, 32, dtype=torch.float64)
        F.cross_entropy(model(onset, apex), torch.tensor([0, 1, 2, 0])).backward()
        losses.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-9, atol=1e-12)
