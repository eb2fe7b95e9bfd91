"""The contract of every method in `baselines/`, run over the catalogue: a new file is tested without a new test."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch import Tensor, nn

from mer_bench import batches, catalog, frames
from mer_bench.contracts import Baseline, Setting, resolve

CLASSES = 3
CLIPS = 8


def _questions() -> list[str]:
    """Every method, and every preset of it."""
    return [
        f"{name}:{preset}" if preset else name
        for name in catalog.names("baseline")
        for preset in ("", *catalog.baseline(name).presets)
    ]


def _setting(question: str, **overrides: Any) -> tuple[Baseline, Setting]:
    name, preset = catalog.split(question)
    baseline = catalog.baseline(name)
    return baseline, resolve(name, baseline, preset, {**baseline.small, **overrides})


def _model(question: str, seed: int = 0) -> Any:
    baseline, setting = _setting(question)
    torch.manual_seed(seed)
    return baseline.model(num_classes=CLASSES, **setting.options)


def _shapes(question: str) -> dict[str, tuple[int, ...]]:
    return frames.parse_view(_setting(question)[1].view.removesuffix("+near")).shapes


def _arrays(question: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Eight clips as the cache keeps them: uint8, channels last, but for `uv`."""
    rng = np.random.default_rng(seed)
    drawn = {key: rng.integers(0, 256, (CLIPS, *shape), dtype=np.uint8) for key, shape in _shapes(question).items()}
    return {key: ((value - 127.5) / 58).astype(np.float32) if key == "uv" else value for key, value in drawn.items()}


def _tensors(question: str) -> dict[str, Tensor]:
    """Eight clips as a network is shown them."""
    data = batches.load(_arrays(question), LABELS, np.zeros((CLIPS, 3), np.int64), "cpu")
    return batches.batch(data, torch.arange(CLIPS))


QUESTIONS = _questions()
NETWORKS = [q for q in QUESTIONS if catalog.baseline(q).recipe is not None]
CLASSICAL = [q for q in QUESTIONS if q not in NETWORKS]
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 0])


@pytest.mark.parametrize("question", QUESTIONS)
def test_states_what_it_is(question: str) -> None:
    model = _model(question)
    assert isinstance(model, nn.Module) == (question in NETWORKS)
    assert all(p.default is not inspect.Parameter.empty for p in _options(question))
    if isinstance(model, nn.Module):
        assert tuple(inspect.signature(model.forward).parameters) == tuple(_shapes(question))
    paper = catalog.baseline(question).paper
    assert paper is None or (paper.licence and paper.url.startswith("https://"))


def _options(question: str) -> list[inspect.Parameter]:
    parameters = inspect.signature(catalog.baseline(question).model).parameters.values()
    return [p for p in parameters if p.name not in ("self", "num_classes")]


@pytest.mark.parametrize("question", NETWORKS)
def test_gives_logits_and_finite_gradients_everywhere(question: str) -> None:
    model = _model(question)
    logits = model(**_tensors(question))
    assert logits.shape == (CLIPS, CLASSES)
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is created and never used"
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("question", NETWORKS)
def test_same_seed_same_weights(question: str) -> None:
    first, again, other = (_model(question, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("question", NETWORKS)
def test_a_clip_is_judged_alone(question: str) -> None:
    """Evaluation keeps nothing between clips: a row of a batch equals that row shown alone, before and after."""
    model = _model(question).eval()
    inputs = _tensors(question)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        batch = model(**inputs)
        alone = torch.cat([model(**{k: v[i : i + 1] for k, v in inputs.items()}) for i in range(CLIPS)])
        again = model(**inputs)
    torch.testing.assert_close(batch, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(batch, again)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("question", NETWORKS)
def test_memorises_eight_clips(question: str) -> None:
    model = _model(question)
    inputs, labels = _tensors(question), torch.from_numpy(LABELS)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(200):
        loss = torch.nn.functional.cross_entropy(model.train()(**inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    assert loss < 0.6
    for _ in range(20):  # batch norm's running statistics settle on the trained weights
        model(**inputs)
    assert torch.equal(model.eval()(**inputs).argmax(1), labels)


@pytest.mark.parametrize("question", CLASSICAL)
def test_classical_gives_probabilities_and_repeats_itself(question: str) -> None:
    inputs = _arrays(question)
    outputs = []
    for _ in range(2):
        model = _model(question)
        model.fit(inputs, LABELS)
        outputs.append(model.predict_proba(inputs))
    assert outputs[0].shape == (CLIPS, CLASSES)
    assert np.allclose(outputs[0].sum(1), 1) and (outputs[0] >= 0).all()
    assert np.array_equal(outputs[0], outputs[1])
    alone = model.predict_proba({key: value[3:4] for key, value in inputs.items()})
    assert np.allclose(alone, outputs[0][3:4])


@pytest.mark.parametrize("question", CLASSICAL)
@pytest.mark.parametrize("labels", [[0] * 8, [2] * 8, [0, 2] * 4, [1, 1, 1, 2] * 2])
def test_classical_stands_absent_classes(question: str, labels: list[int]) -> None:
    model, inputs = _model(question), _arrays(question)
    model.fit(inputs, np.array(labels))
    absent = [k for k in range(CLASSES) if k not in labels]
    probabilities = model.predict_proba(_arrays(question, seed=1))
    assert (probabilities[:, absent] == 0).all()
    assert np.allclose(probabilities.sum(1), 1)


def test_majority_predicts_training_frequencies() -> None:
    model, inputs = _model("majority"), _arrays("majority")
    model.fit(inputs, LABELS)
    assert np.array_equal(model.predict_proba(inputs), np.tile([0.5, 0.25, 0.25], (CLIPS, 1)))


@pytest.mark.parametrize("labels", [LABELS, np.array([0, 2] * 4)])
def test_ridge_flow_is_scikit_learns_ridge_with_the_fixed_penalty(labels: np.ndarray) -> None:
    model, inputs, others = _model("ridge_flow"), _arrays("ridge_flow"), _arrays("ridge_flow", seed=1)
    model.fit(inputs, labels)
    oracle = RidgeClassifier(alpha=300, class_weight="balanced").fit(inputs["flow"].reshape(8, -1) / 255, labels)
    expected = oracle.predict(others["flow"].reshape(8, -1) / 255)
    assert np.array_equal(model.predict_proba(others).argmax(1), expected)


def test_ridge_flow_memorises_eight_clips_that_differ() -> None:
    model = _model("ridge_flow")
    rng = np.random.default_rng(0)
    flow = np.where(np.arange(3) == LABELS[:, None, None, None], 255, 0) * np.ones((1, 28, 28, 1))
    inputs = {"flow": (flow * rng.uniform(0.5, 1, flow.shape)).astype(np.uint8)}
    model.fit(inputs, LABELS)
    assert np.array_equal(model.predict_proba(inputs).argmax(1), LABELS)


def test_ststnet_has_the_published_keys_and_size() -> None:
    model = _model("ststnet")
    assert sum(p.numel() for p in model.parameters()) == 1683
    assert {name.split(".")[0] for name in model.state_dict()} == {"conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "fc"}
    assert [model.get_parameter(f"conv{i}.weight").shape[0] for i in (1, 2, 3)] == [3, 5, 8]
    recipe = _setting("ststnet")[1].recipe
    assert recipe is not None
    assert (recipe.optimizer, recipe.lr, recipe.batch_size, recipe.epochs) == ("adam", 5e-5, 256, 500)


def test_ststnet_reads_strain_first_and_joins_its_streams_in_order() -> None:
    """Against the layers written out, on a picture as OpenCV reads it (blue strain, green v, red u)."""
    model = _model("ststnet").eval()
    flow = _tensors("ststnet")["flow"]
    picture = torch.stack([flow[:, 2], flow[:, 1], flow[:, 0]], 1)
    streams = []
    for i in (1, 2, 3):
        hidden = getattr(model, f"bn{i}")(getattr(model, f"conv{i}")(picture).clamp(min=0))
        streams.append(nn.MaxPool2d(kernel_size=3, stride=3, padding=1)(hidden))
    joined = nn.AvgPool2d(2)(torch.cat(streams, 1))
    assert joined.shape == (CLIPS, 16, 5, 5)
    torch.testing.assert_close(model(flow), model.fc(joined.reshape(CLIPS, 400)))
