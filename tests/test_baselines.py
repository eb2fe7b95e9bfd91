"""The contract of every method in `baselines/`, run over the catalogue: a new file is tested without a new test."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torch import nn

from mer_bench import catalog
from mer_bench.contracts import resolve
from mer_bench.training import fold
from mer_bench.verifying import behaviour, canary, contract
from mer_bench.verifying.contract import CLASSES, LABELS

CLIPS = len(LABELS)


def _questions() -> list[str]:
    """Every method, and every preset of it that is another model; of timm its smallest."""
    found: dict[tuple[str, str, str], str] = {}
    for name in catalog.names("baseline"):
        for preset in ("test_resnet",) if name == "timm" else ("", *catalog.baseline(name).presets):
            question = f"{name}:{preset}" if preset else name
            setting = contract.case(question).setting
            found.setdefault((name, str(sorted(setting.options.items())), setting.view), question)
    return list(found.values())


QUESTIONS = _questions()
NETWORKS = [q for q in QUESTIONS if catalog.baseline(q).recipe is not None]
CLASSICAL = [q for q in QUESTIONS if q not in NETWORKS]
_case = functools.cache(contract.case)


def _asked(questions: list[str], checks: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("question", "title"), list(itertools.product(questions, checks)))


@_asked(QUESTIONS, contract.STRUCTURE)
def test_is_built_as_the_contract_says(question: str, title: str) -> None:
    contract.STRUCTURE[title](_case(question))


@_asked(NETWORKS, behaviour.NETWORK)
def test_a_network_behaves(question: str, title: str) -> None:
    behaviour.NETWORK[title](_case(question))


@_asked(CLASSICAL, behaviour.CLASSICAL)
def test_a_classical_model_behaves(question: str, title: str) -> None:
    behaviour.CLASSICAL[title](_case(question))


@_asked([question for question in QUESTIONS if ":" not in question or "timm" in question], canary.CANARY)
def test_does_not_leak(question: str, title: str) -> None:
    with fold.one_thread():
        canary.CANARY[title](_case(question))


@pytest.mark.parametrize("question", NETWORKS)
def test_answers_at_its_published_size(question: str) -> None:
    """On tensors without numbers, as large as the paper's."""
    stem, preset = catalog.split(question)
    setting = resolve(stem, catalog.baseline(stem), preset)
    shown = contract.tensors(contract.pictures(setting.view, 2))
    with torch.device("meta"):
        model = fold.builder(setting, CLASSES)().eval()
    assert model(**{key: value.to("meta") for key, value in shown.items()}).shape == (2, CLASSES)


@pytest.mark.parametrize("name", catalog.names("baseline"))
def test_says_where_it_comes_from(name: str) -> None:
    paper = catalog.baseline(name).paper
    assert paper is None or (paper.licence and paper.url.startswith("https://"))


@pytest.mark.parametrize("question", CLASSICAL)
@pytest.mark.parametrize("labels", [[0] * 8, [0, 2] * 4])
def test_absent_classes_have_probability_0(question: str, labels: list[int]) -> None:
    model, inputs = _model(question), _arrays(question)
    model.fit(inputs, np.array(labels))
    absent = [k for k in range(CLASSES) if k not in labels]
    assert (model.predict_proba(_arrays(question, seed=1))[:, absent] == 0).all()


def _model(question: str) -> Any:
    return _case(question).build()


def _arrays(question: str, seed: int = 0) -> dict[str, np.ndarray]:
    return _case(question).arrays(seed)


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
    recipe = resolve("ststnet", catalog.baseline("ststnet")).recipe
    assert recipe is not None
    assert (recipe.optimizer, recipe.lr, recipe.batch_size, recipe.epochs) == ("adam", 5e-5, 256, 500)


def test_ststnet_reads_strain_first_and_joins_its_streams_in_order() -> None:
    """Against the layers written out, on a picture as OpenCV reads it (blue strain, green v, red u)."""
    model = _model("ststnet").eval()
    flow = _case("ststnet").tensors()["flow"]
    picture = torch.stack([flow[:, 2], flow[:, 1], flow[:, 0]], 1)
    streams = []
    for i in (1, 2, 3):
        hidden = getattr(model, f"bn{i}")(getattr(model, f"conv{i}")(picture).clamp(min=0))
        streams.append(nn.MaxPool2d(kernel_size=3, stride=3, padding=1)(hidden))
    joined = nn.AvgPool2d(2)(torch.cat(streams, 1))
    assert joined.shape == (CLIPS, 16, 5, 5)
    torch.testing.assert_close(model(flow), model.fc(joined.reshape(CLIPS, 400)))


@pytest.mark.parametrize("scale", [1.0, -0.5])
def test_ststnet_s_joined_streams_train_as_three(scale: float) -> None:
    """Logits, gradients and running statistics against streams one after the other, over two steps, in float64.

    Where a norm's scale is below 0 the largest value becomes the smallest.
    """
    build = _case("ststnet").build
    torch.manual_seed(0)
    joined, apart = build().double().train(), build().double().train()
    with torch.no_grad():
        joined.bn2.weight[1] = scale
    joined.dropout = apart.dropout = 0.0
    apart.load_state_dict(joined.state_dict())

    def one_by_one(flow: torch.Tensor) -> torch.Tensor:
        picture, streams = flow.flip(1), []
        for i in (1, 2, 3):
            hidden = getattr(apart, f"bn{i}")(torch.relu(getattr(apart, f"conv{i}")(picture)))
            streams.append(nn.functional.max_pool2d(hidden, 3, 3, 1))
        return apart.fc(nn.functional.avg_pool2d(torch.cat(streams, 1), 2).flatten(1))

    flow = 255 * torch.rand(6, 3, 28, 28, dtype=torch.float64)
    for _ in range(2):
        answers = joined(flow), one_by_one(flow)
        torch.testing.assert_close(*answers)
        for model, said in zip((joined, apart), answers, strict=True):
            model.zero_grad()
            nn.functional.cross_entropy(said, torch.arange(6) % CLASSES).backward()
        for (name, ours), theirs in zip(joined.named_parameters(), apart.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
    for name, value in apart.state_dict().items():
        torch.testing.assert_close(joined.state_dict()[name], value, msg=name)
