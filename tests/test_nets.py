"""The learned baselines at published size, and their layers against the layers written out.

Their general contract is `test_baselines.py`; here are counts, shapes, order and the parts with a name of their own.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench import catalog
from mer_bench.contracts import MerBenchError, Setting, UsageError, resolve

CLIPS = 4
# Parameters with three classes; where a public source counts, the count it prints in millions.
PUBLISHED: dict[str, tuple[str, int, float | None]] = {
    "off_apexnet": ("flow@28", 2_664_475, 2.66),
    "dual_inception": ("flow@28", 6_449_867, 6.45),
    "rcn_a": ("flow@60", 55_747, None),
    "sssnet": ("flow@64", 1_349_251, None),
    "micro_attention": ("flow@224", 53_384_195, 53.38),
    "capsulenet": ("apex@224", 13_842_496, None),
    "htnet": ("flow@28", 139_582_982, None),
}
TWO_STREAMS = ("off_apexnet", "dual_inception")
DROPPING = ("off_apexnet", "dual_inception", "rcn_a", "sssnet", "micro_attention", "htnet")


def _setting(name: str, **options: Any) -> Setting:
    baseline = catalog.baseline(name)
    return resolve(name, baseline, "", {**baseline.small, **options})


def _model(name: str, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return catalog.baseline(name).model(num_classes=3, **_setting(name, **options).options)


def _module(name: str) -> Any:
    catalog.baseline(name)
    return importlib.import_module(f"mer_bench.plugins.baseline.{name}")


def _pictures(name: str, seed: int = 0) -> Tensor:
    kind, size = _setting(name).view.split("@")
    bytes_ = np.random.default_rng(seed).integers(0, 256, (CLIPS, 3, int(size), int(size)), dtype=np.uint8)
    values = torch.from_numpy(bytes_).float()
    return values if kind == "flow" else (values - 127.5) / 58


def _settled(model: Any, pictures: Tensor) -> Any:
    """The model in evaluation mode, its batch norms no longer at 0 and 1."""
    for _ in range(3):
        model.train()(pictures)
    return model.eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_size_and_output(name: str) -> None:
    view, parameters, millions = PUBLISHED[name]
    setting = resolve(name, catalog.baseline(name))
    size = int(view.split("@")[1])
    with torch.device("meta"):
        model = catalog.baseline(name).model(num_classes=3, **setting.options).eval()
        logits = model(torch.empty(2, 3, size, size))
        five = catalog.baseline(name).model(num_classes=5, **setting.options).eval()(torch.empty(2, 3, size, size))
    assert setting.view == view
    assert logits.shape == (2, 3) and five.shape == (2, 5)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert millions is None or round(parameters / 1e6, 2) == millions


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_file_states_its_count_and_its_source(name: str) -> None:
    text = _module(name).__doc__
    paper = catalog.baseline(name).paper
    assert f"{PUBLISHED[name][1]:,}" in text
    assert paper is not None and paper.code.startswith("https://") and paper.printed
    assert all(0 < printed.value < 1 and printed.rule for printed in paper.printed)


RECIPES: dict[str, dict[str, Any]] = {
    "off_apexnet": {"optimizer": "adam", "lr": 1e-4, "batch_size": 64, "epochs": 3000, "weight_decay": 0},
    "dual_inception": {"optimizer": "adam", "lr": 1e-4, "batch_size": 3, "epochs": 40, "weight_decay": 0},
    "rcn_a": {"optimizer": "sgd", "lr": 5e-4, "batch_size": 64, "epochs": 100, "schedule": "constant"},
    "sssnet": {"optimizer": "sgd", "lr": 1e-2, "batch_size": 128, "epochs": 200, "weight_decay": 1e-3},
    "micro_attention": {
        "lr": 1e-3,
        "batch_size": 10,
        "epochs": 51,
        "schedule": "step",
        "decay_epochs": 10,
        "gamma": 0.1,
    },
    "capsulenet": {"optimizer": "adam", "lr": 1e-4, "batch_size": 32, "epochs": 30, "gamma": 0.9},
    "htnet": {"optimizer": "adam", "lr": 5e-5, "batch_size": 256, "epochs": 800, "weight_decay": 0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipe(name: str) -> None:
    recipe = catalog.baseline(name).recipe
    assert {field: getattr(recipe, field) for field in RECIPES[name]} == RECIPES[name]


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_two_streams_read_u_and_v_alone(name: str) -> None:
    model, flow = _model(name).eval(), _pictures(name)
    other = _pictures(name, seed=1)
    with torch.no_grad():
        logits = model(flow)
        for channel, read in ((0, True), (1, True), (2, False)):
            changed = flow.clone()
            changed[:, channel] = other[:, channel]
            assert torch.equal(model(changed), logits) != read


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_each_stream_reads_its_own_channel(name: str) -> None:
    """Swapping the two streams' weights and the two halves of the first layer is swapping u and v."""
    model, flow = _model(name).eval(), _pictures(name)
    other = _model(name, seed=1).eval()
    other.load_state_dict(model.state_dict())
    other.u, other.v = other.v, other.u
    first = other.head[0]
    with torch.no_grad():
        first.weight.copy_(first.weight.roll(first.in_features // 2, 1))
        torch.testing.assert_close(other(flow[:, [1, 0, 2]]), model(flow))


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_is_for_training_alone(name: str) -> None:
    pictures = _pictures(name)
    without, with_ = _model(name, dropout=0.0), _model(name, dropout=0.5)
    with_.load_state_dict(without.state_dict())
    with torch.no_grad():
        assert torch.equal(without.eval()(pictures), with_.eval()(pictures))
        assert not torch.equal(with_.train()(pictures), with_(pictures))
        torch.testing.assert_close(without.train()(pictures), without(pictures))


def test_off_apexnet_layer_by_layer() -> None:
    flow = _pictures("off_apexnet")
    for relu in (True, False):
        model = _model("off_apexnet", conv_relu=relu).eval()
        streams = []
        for channel, stream in enumerate((model.u, model.v)):
            x = flow[:, channel, None] / 255
            for layer, filters in ((0, 6), (3, 16)):
                x = F.conv2d(x, stream[layer].weight, stream[layer].bias, padding=2)
                x = F.max_pool2d(x.clamp(min=0) if relu else x, 2)
                assert x.shape[1] == filters
            streams.append(x.reshape(CLIPS, 784))
        hidden = torch.cat(streams, 1)
        for layer in (0, 3):
            hidden = model.head[layer](hidden).clamp(min=0)
        torch.testing.assert_close(model(flow), model.head[6](hidden))


def test_off_apexnet_s_joined_streams_train_as_two() -> None:
    """Gradients of every weight against the streams one after the other, in float64."""
    joined, apart = (_model("off_apexnet", dropout=0.0).double().train() for _ in range(2))
    flow = _pictures("off_apexnet").double()
    streams = [stream(flow[:, i, None] / 255).flatten(1) for i, stream in enumerate((apart.u, apart.v))]
    for answer in (joined(flow), apart.head(torch.cat(streams, 1))):
        F.cross_entropy(answer, torch.arange(CLIPS) % 3).backward()
    for (name, ours), theirs in zip(joined.named_parameters(), apart.parameters(), strict=True):
        assert theirs.grad.any(), name
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)


def test_dual_inception_layer_by_layer() -> None:
    model, flow = _model("dual_inception").eval(), _pictures("dual_inception")

    def layer(conv: Any, x: Tensor) -> Tensor:
        return F.conv2d(x, conv.weight, conv.bias, padding=conv.weight.shape[-1] // 2).clamp(min=0)

    streams = []
    for channel, stream in enumerate((model.u, model.v)):
        x = flow[:, channel, None] / 255
        for block, filters in zip(stream, (6, 16), strict=True):
            paths = [
                layer(block.point[0], x),
                layer(block.small[2], layer(block.small[0], x)),
                layer(block.large[2], layer(block.large[0], x)),
                layer(block.pooled[1], F.max_pool2d(x, 3, 1, 1)),
            ]
            kernels = [block.small[2].weight.shape[-1], block.large[2].weight.shape[-1]]
            assert [path.shape[1] for path in paths] == [filters] * 4 and kernels == [3, 5]
            x = F.max_pool2d(torch.cat(paths, 1), 2)
        assert x.shape == (CLIPS, 64, 7, 7)
        streams.append(x.reshape(CLIPS, 3136))
    hidden = model.head[0](torch.cat(streams, 1)).clamp(min=0)
    torch.testing.assert_close(model(flow), model.head[3](hidden))


def test_dual_inception_starts_from_glorots_weights() -> None:
    model = _model("dual_inception")
    for layer in (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        places = layer.weight[0, 0].numel()
        bound = (6 / (places * (layer.weight.shape[0] + layer.weight.shape[1]))) ** 0.5
        assert layer.weight.abs().max() <= bound
        assert not layer.bias.any()


def test_sssnet_layer_by_layer() -> None:
    flow = _pictures("sssnet")
    model = _settled(_model("sssnet"), flow)
    x = flow / 255
    for block, pool, side in ((model.first, 3, 20), (model.second, 2, 9)):
        x = F.max_pool2d(F.conv2d(x, block[0].weight, block[0].bias).clamp(min=0), pool)
        norm = block[3]
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        assert x.shape[2:] == (side, side)
    hidden = model.head[1](x.reshape(CLIPS, -1)).clamp(min=0)
    torch.testing.assert_close(model(flow), model.head[4](hidden))


def test_sssnet_drops_whole_channels() -> None:
    model = _model("sssnet").train()
    dropped = model.first(_pictures("sssnet") / 255).flatten(2)
    gone = (dropped == 0).all(2)
    assert gone.any() and not gone.all()
    assert not ((dropped == 0).any(2) & ~gone).any()


def test_rcn_a_shares_its_recurrent_convolution() -> None:
    counts = {steps: sum(p.numel() for p in _model("rcn_a", steps=steps).parameters()) for steps in (1, 2, 3)}
    assert len(set(counts.values())) == 1
    model, flow = _model("rcn_a").eval(), _pictures("rcn_a")
    seen: list[tuple[Tensor, Tensor]] = []
    model.recurrent.step.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    model(flow)
    x = model.stem(flow / 255)
    start = model.recurrent.start(x)
    assert len(seen) == 2
    torch.testing.assert_close(seen[0][0], x + start)
    torch.testing.assert_close(seen[1][0], x + seen[0][1])


def test_rcn_a_layer_by_layer() -> None:
    flow = _pictures("rcn_a")
    model = _settled(_model("rcn_a"), flow)

    def layer(block: Any, x: Tensor, padding: int = 0) -> Tensor:
        norm = block[1]
        x = F.conv2d(x, block[0].weight, block[0].bias, padding=padding)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).clamp(min=0)

    x = F.max_pool2d(layer(model.stem, flow / 255), 2)
    assert x.shape == (CLIPS, 16, 28, 28)
    state = layer(model.recurrent.start, x)
    for _ in range(2):
        state = layer(model.recurrent.step, x + state, padding=1)
    features = F.adaptive_avg_pool2d(F.max_pool2d(state, 2), 5)
    looks = _rcn_map(F.adaptive_avg_pool2d(x, 5).detach().numpy(), model.classifier.weight.detach().numpy())
    weighed = features * torch.from_numpy(looks).float()
    torch.testing.assert_close(model(flow), model.classifier(weighed.reshape(CLIPS, -1)), rtol=1e-4, atol=1e-6)


def _rcn_map(features: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """One clip and class at a time, as the paper puts it in words."""
    found = np.zeros((len(features), 1, *features.shape[2:]))
    for clip, picture in enumerate(features):
        for row in weight:
            look = (row.reshape(picture.shape) * picture).mean(0)
            look = look - look.min()
            found[clip, 0] += look / look.max() / len(weight)
    return found


def test_rcn_a_map_lies_between_0_and_1_and_stands_a_flat_picture() -> None:
    attention = _module("rcn_a").attention
    torch.manual_seed(0)
    features, weight = torch.rand(6, 8, 5, 5), torch.randn(3, 200)
    looks = attention(features, weight)
    assert looks.shape == (6, 1, 5, 5)
    assert looks.min() >= 0 and looks.max() <= 1
    flat = attention(torch.zeros(2, 8, 5, 5, requires_grad=True), weight.requires_grad_())
    assert not flat.any()
    flat.sum().backward()
    assert weight.grad is not None and weight.grad.isfinite().all()


def test_micro_attention_sums_to_one_over_places() -> None:
    model, flow = _model("micro_attention").eval(), _pictures("micro_attention")
    x = model.stem(flow / 255)
    for block, pool in zip(model.blocks[::2], model.blocks[1::2], strict=True):
        looks = block.attention(x)
        assert looks.shape == (CLIPS, 1, *x.shape[2:])
        torch.testing.assert_close(looks.sum((1, 2, 3)), torch.ones(CLIPS))
        x = pool(block(x))


def test_micro_attention_layer_by_layer() -> None:
    """With the 1x1 convolution over all layers in full, and its channels averaged afterwards."""
    flow = _pictures("micro_attention")
    model = _settled(_model("micro_attention"), flow)
    stem = model.stem[0]
    x = F.max_pool2d(F.conv2d(flow / 255, stem.weight, stem.bias, 2, 3).clamp(min=0), 3, 2, 1)
    for block in model.blocks[::2]:
        a = block.first[1](F.conv2d(x, block.first[0].weight, block.first[0].bias, padding=1)).clamp(min=0)
        b = block.second[1](F.conv2d(a, block.second[0].weight, block.second[0].bias, padding=1)).clamp(min=0)
        s = block.shortcut(x)
        logits = block.look(torch.cat([a, b, s], 1)).mean(1)
        looks = logits.exp() / logits.exp().sum((1, 2), keepdim=True)
        answer = b + s
        x = F.max_pool2d(answer + answer * looks[:, None], 2, ceil_mode=True)
    hidden = model.head[1](x.reshape(CLIPS, -1)).clamp(min=0)
    torch.testing.assert_close(model(flow), model.head[4](hidden), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [16, 28, 32, 48, 112, 160, 224])
@pytest.mark.parametrize("name", ["micro_attention", "capsulenet"])
def test_any_scale_builds(name: str, size: int) -> None:
    with torch.device("meta"):
        for width in (0.01, 0.25):
            model = catalog.baseline(name).model(num_classes=3, image_size=size, width=width).eval()
            assert model(torch.empty(2, 3, size, size)).shape == (2, 3)


def test_capsule_lengths_stay_below_one() -> None:
    model, apex = _model("capsulenet").eval(), _pictures("capsulenet")
    squash = _module("capsulenet").squash
    for scale in (1e-6, 1.0, 1e3):
        with torch.no_grad():
            model.classes.weight.normal_(0, scale)
            lengths = model.capsules(apex).norm(dim=2)
        assert lengths.shape == (CLIPS, 3) and (lengths < 1 + 1e-6).all()
        torch.testing.assert_close(model(apex), 10 * lengths)
    vectors = torch.randn(50, 8, dtype=torch.float64) * 10
    length = vectors.norm(dim=1)
    torch.testing.assert_close(squash(vectors).norm(dim=1), length**2 / (1 + length**2))
    torch.testing.assert_close(F.cosine_similarity(squash(vectors), vectors), torch.ones(50, dtype=torch.float64))
    zero = torch.zeros(2, 8, requires_grad=True)
    squash(zero).sum().backward()
    assert zero.grad is not None and not zero.grad.any()


def _squashed(vector: np.ndarray) -> np.ndarray:
    length = np.sqrt((vector**2).sum())
    return vector * length / (1 + length**2)


def _routed(capsules: np.ndarray, weight: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """One clip's class capsules and the coupling of the last round, capsule by capsule (Sabour et al., procedure 1)."""
    classes, inputs = weight.shape[:2]
    votes = {(k, i): weight[k, i] @ capsules[i] for k in range(classes) for i in range(inputs)}
    agreement, coupling = np.zeros((classes, inputs)), np.zeros((classes, inputs))
    answers = np.zeros((classes, weight.shape[2]))
    for _ in range(rounds):
        for i in range(inputs):
            powers = np.exp(agreement[:, i])
            coupling[:, i] = powers / powers.sum()
        for k in range(classes):
            answers[k] = _squashed(sum(coupling[k, i] * votes[k, i] for i in range(inputs)))
        for (k, i), vote in votes.items():
            agreement[k, i] += answers[k] @ vote
    return answers, coupling


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_routing_is_the_slow_one(rounds: int) -> None:
    torch.manual_seed(0)
    routing = _module("capsulenet").Routing(6, 3, rounds).double()
    nn.init.normal_(routing.weight)
    capsules = torch.randn(CLIPS, 6, 8, dtype=torch.float64)
    wanted, couplings = zip(
        *(_routed(c.numpy(), routing.weight.detach().numpy(), rounds) for c in capsules), strict=True
    )
    answers = routing(capsules)
    np.testing.assert_allclose(answers.detach().numpy(), np.stack(wanted), rtol=1e-10, atol=1e-12)
    # The gradient is that of the last round alone: votes joined by constant couplings.
    (gradient,) = torch.autograd.grad(answers.norm(dim=2).sum(), routing.weight)
    votes = torch.einsum("kiod,bid->bkio", routing.weight, capsules)
    joined = (torch.from_numpy(np.stack(couplings))[..., None] * votes).sum(2)
    length = joined.norm(dim=2)
    (alone,) = torch.autograd.grad((length**2 / (1 + length**2)).sum(), routing.weight)
    torch.testing.assert_close(gradient, alone)


def test_capsulenet_published_grid() -> None:
    with torch.device("meta"):
        model = catalog.baseline("capsulenet").model(num_classes=3)
        trunk = model.trunk(torch.empty(1, 3, 224, 224))
        hidden = model.conv(trunk)
        primary = model.primary(hidden)
    assert [tuple(x.shape[1:]) for x in (trunk, hidden, primary)] == [(256, 28, 28), (256, 20, 20), (256, 6, 6)]
    assert model.conv.kernel_size == model.primary.kernel_size == (9, 9)
    assert model.classes.weight.shape == (3, 32 * 6 * 6, 16, 8)


def test_a_primary_capsule_is_eight_neighbouring_channels_of_one_place() -> None:
    model, apex = _model("capsulenet").eval(), _pictures("capsulenet")
    seen: list[Tensor] = []
    model.classes.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    model(apex)
    maps = model.primary(torch.relu(model.conv(model.trunk(apex)))).detach().numpy()
    _, channels, height, width = maps.shape
    expected = [
        _squashed(maps[0, first : first + 8, row, column])
        for row in range(height)
        for column in range(width)
        for first in range(0, channels, 8)
    ]
    np.testing.assert_allclose(seen[0][0].detach().numpy(), np.stack(expected), rtol=1e-4, atol=1e-6)


def test_capsulenet_trunk_is_torchvisions_without_max_pooling(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(1)
    wanted = resnet18()
    torch.save(wanted.state_dict(), tmp_path / "resnet18.pth")
    model = _model("capsulenet", width=1.0, weights=str(tmp_path / "resnet18.pth")).eval()
    wanted.eval()
    apex = _pictures("capsulenet")
    stem = wanted.relu(wanted.bn1(wanted.conv1(apex)))
    torch.testing.assert_close(model.trunk(apex), wanted.layer3(wanted.layer2(wanted.layer1(stem))))


def test_capsulenet_says_what_is_wrong_with_a_weights_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    with pytest.raises(MerBenchError, match=r"no file .*weights\.pth; weights takes"):
        _model("capsulenet", weights=str(file))
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(MerBenchError, match=r"weights\.pth holds no ResNet-18 of width 1 .*\(KeyError\)"):
        _model("capsulenet", weights=str(file))
    file.write_bytes(b"nothing")
    with pytest.raises(MerBenchError, match=r"^[^\n]*weights\.pth holds no ResNet-18[^\n]*$"):
        _model("capsulenet", weights=str(file))


def test_htnet_cuts_its_crops_at_the_default_landmarks() -> None:
    """The script's clamped positions, x for the row, and the four crops in reading order."""
    model, upright = _model("htnet"), _model("htnet", swap=False)
    assert model.centres == [(9, 11), (21, 10), (10, 21), (20, 21)]
    assert upright.centres == [(y, x) for x, y in model.centres]
    picture = torch.arange(2 * 28 * 28).view(1, 2, 28, 28)
    tiles = _module("htnet").tiled(picture, model.centres)
    assert tiles.shape == picture.shape
    for index, (row, column) in enumerate(model.centres):
        for y in range(14):
            for x in range(14):
                place = (slice(None), slice(None), 14 * (index // 2) + y, 14 * (index % 2) + x)
                assert torch.equal(tiles[place], picture[:, :, row - 7 + y, column - 7 + x])


def test_htnet_reads_strain_first() -> None:
    model, flow = _model("htnet").eval(), _pictures("htnet")
    seen: list[Tensor] = []
    model.patches.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    model(flow)
    bgr = torch.stack([flow[:, 2], flow[:, 1], flow[:, 0]], 1)
    assert torch.equal(seen[0], _module("htnet").tiled(bgr, model.centres))


def _token_block(block: Any, tokens: Tensor) -> Tensor:
    """A transformer block over one cell's tokens (T, dim), head by head and query by query."""
    normed = block.norm1(tokens)
    inner = block.proj.in_features
    q, k, v = (normed @ part.T for part in block.qkv.weight.split(inner))
    width = inner // block.heads
    mixed = torch.zeros_like(q)
    for head in range(block.heads):
        part = slice(head * width, (head + 1) * width)
        for t in range(len(tokens)):
            scores = torch.stack([q[t, part] @ k[s, part] for s in range(len(tokens))]) / width**0.5
            mixed[t, part] = sum(w * v[s, part] for s, w in enumerate(torch.softmax(scores, 0)))
    tokens = tokens + block.proj(mixed)
    hidden = F.gelu(block.mlp[0](block.norm2(tokens)))
    return tokens + block.mlp[3](hidden)


@pytest.mark.parametrize(("patch", "side"), [(7, 4), (1, 28)])
def test_htnet_attends_inside_a_cell(patch: int, side: int) -> None:
    model = _model("htnet", patch=patch).double().eval()
    level = model.levels[0]
    torch.manual_seed(1)
    x = torch.randn(1, 12, side, side, dtype=torch.float64)
    with torch.no_grad():
        found = level(x)
        step = side // 4
        for row, column in ((0, 0), (1, 3), (3, 2)):
            cell = (slice(row * step, (row + 1) * step), slice(column * step, (column + 1) * step))
            tokens = x[0][(slice(None), *cell)].flatten(1).T + level.positions
            for block in level.blocks:
                tokens = _token_block(block, tokens)
            torch.testing.assert_close(found[0][(slice(None), *cell)].flatten(1).T, tokens)


def test_htnet_layers_in_order() -> None:
    model, flow = _model("htnet").eval(), _pictures("htnet")
    kinds = [type(layer).__name__ for layer in model.levels]
    between = ["Conv2d", "Norm", "MaxPool2d"]
    assert kinds == ["Level", *between, "Level", *between, "Level"]
    assert [model.levels[i].cells for i in (0, 4, 8)] == [4, 2, 1]
    assert [len(model.levels[i].blocks) for i in (0, 4, 8)] == [1, 1, 2]
    assert [model.levels[i].blocks[0].heads for i in (0, 4, 8)] == [3, 6, 12]
    x = model.patches(_module("htnet").tiled(flow.flip(1), model.centres))
    for i in (0, 4):
        x = model.levels[i](x)
        x = F.conv2d(x, model.levels[i + 1].weight, model.levels[i + 1].bias, padding=1)
        norm = model.levels[i + 2]
        centred = x - x.mean(1, keepdim=True)
        x = centred / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        x = F.max_pool2d(x * norm.weight[:, None, None] + norm.bias[:, None, None], 3, 2, 1)
    x = model.levels[8](x)
    assert x.shape == (CLIPS, 48, 1, 1)
    torch.testing.assert_close(model(flow), model.head(model.norm.forward(x)[:, :, 0, 0]), rtol=1e-4, atol=1e-5)


def test_htnet_published_attention_is_never_trained() -> None:
    """One token a cell: softmax is 1 whatever queries and keys are, so their gradient is zero."""
    for patch, trained in ((7, False), (1, True)):
        model = _model("htnet", patch=patch)
        model(_pictures("htnet")).square().sum().backward()
        for block in (m for m in model.modules() if type(m).__name__ == "Block"):
            queries, keys, values = block.qkv.weight.grad.chunk(3)
            assert bool(queries.any() and keys.any()) == trained
            assert values.any()


def test_htnet_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="patches of 4; use 7 or 1"):
        _model("htnet", patch=4)
    for blocks in ("2-2", "2-2-0", "2-2-x", "2,2,10"):
        with pytest.raises(UsageError, match="one count for each of 3 levels"):
            _model("htnet", blocks=blocks)
