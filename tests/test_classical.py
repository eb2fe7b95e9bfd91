"""What classical methods share: a clip described once and alone, and probabilities that rank as decisions do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier
from sklearn.svm import SVC

from mer_bench import catalog, classical, predictions, splits
from mer_bench.contracts import resolve
from mer_bench.training import fold

METHOD = """
import numpy as np
from sklearn.linear_model import RidgeClassifier

from mer_bench.classical import FEATURES, Ranked, described
from mer_bench.contracts import Baseline

SEEN = []


class Method:
    def __init__(self, num_classes, *, power: float = 1.0):
        self.power, self.ranked = power, Ranked(num_classes, RidgeClassifier())

    def describe(self, clip):
        assert set(clip) == {"flow"} and clip["flow"].shape == (28, 28, 3)
        SEEN.append(1)
        return clip["flow"].astype(float).mean((0, 1)) ** self.power

    def fit(self, inputs, labels):
        self.ranked.fit(described(self, inputs)[FEATURES], labels)

    def predict_proba(self, inputs):
        return self.ranked.predict_proba(described(self, inputs)[FEATURES])


BASELINE = Baseline(model=Method, view="flow@28")
"""


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "method.py"
    path.write_text(METHOD)
    toy.install(monkeypatch, toy.corpus(signal=20))
    return str(path)


def trainings(method: str, **options: Any) -> list[fold.Training]:
    setting = resolve(method, catalog.baseline(method), "", None, toy.TASK.scale, options)
    return [fold.Training("toy", setting, 0, f.name, validation=True) for f in splits.loso(toy.corpus(20).clips)]


def seen(method: str) -> list[int]:
    found: list[int] = vars(catalog.load("baseline", Path(method)))["SEEN"]
    return found


def test_a_clip_is_described_once_for_all_folds(method: str) -> None:
    catalog.baseline(method)
    seen(method).clear()
    count = sum(toy.SIZES)
    for training in trainings(method):
        fold.train(training)
    assert len(seen(method)) == count
    fold.train(trainings(method, power=2.0)[0])
    assert len(seen(method)) == 2 * count, "another option, another description"
    fold.forget()
    fold.train(trainings(method)[0])
    assert len(seen(method)) == 3 * count


def test_described_ahead_or_in_fit_is_the_same(method: str) -> None:
    training = trainings(method)[2]
    data = toy.corpus(20)
    part = next(f for f in splits.loso(data.clips, validation=True) if f.name == training.fold)
    model = catalog.baseline(method).model(num_classes=3)
    labels = data.clips["label"].to_numpy().astype(int)
    model.fit({"flow": data.arrays["flow"][part.train]}, labels[part.train])
    wanted = model.predict_proba({"flow": data.arrays["flow"][part.test]}).astype(np.float16)
    found = fold.train(training).tables[predictions.TEST]
    assert np.array_equal(found.select("p0", "p1", "p2").to_numpy(), wanted)


def test_a_subjects_pixels_describe_nobody_else(method: str) -> None:
    data = toy.corpus(20)
    question = json.dumps(trainings(method)[0].setting.as_dict())
    before = fold.described(data, 3, question)[classical.FEATURES]
    after = fold.described(toy.repainted(data, "toy/03"), 3, question)[classical.FEATURES]
    theirs = (data.clips["subject"] == "toy/03").to_numpy()
    assert np.array_equal(before[~theirs], after[~theirs]) and (before[theirs] != after[theirs]).all()


def test_arrays_of_a_model_that_describes_nothing_stay_as_they_are() -> None:
    arrays = {"flow": np.zeros((2, 4, 4, 3))}
    assert classical.described(object(), arrays) is arrays


def drawn(classes: list[int], count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.array(classes)[rng.integers(0, len(classes), count)]
    centres = rng.normal(0, 2, (5, 4))
    return centres[labels] + rng.normal(size=(count, 4)), labels, centres[labels] + rng.normal(size=(count, 4))


@pytest.mark.parametrize("classes", [[0, 1, 2], [1, 4, 2, 3], [0, 3]])
def test_probabilities_rank_as_the_classifier_decides(classes: list[int]) -> None:
    values, labels, others = drawn(classes)
    model, oracle = classical.Ranked(5, SVC(kernel="linear")), SVC(kernel="linear").fit(values, labels)
    model.fit(values, labels)
    found = model.predict_proba(others)
    assert np.array_equal(found.argmax(1), oracle.predict(others))
    absent = [k for k in range(5) if k not in classes]
    assert (found[:, absent] == 0).all() and np.allclose(found.sum(1), 1)
    decisions = oracle.decision_function(others)
    decisions = np.stack([-decisions, decisions], 1) if decisions.ndim == 1 else decisions
    np.testing.assert_allclose(found[:, sorted(classes)], softmax(decisions, 1))


def test_a_single_class_is_certain() -> None:
    model = classical.Ranked(3, SVC(kernel="linear"))
    model.fit(np.zeros((4, 2)), np.full(4, 2))
    assert np.array_equal(model.predict_proba(np.zeros((2, 2))), [[0, 0, 1]] * 2)


LINEAR = {"ridge_flow": "flow", "flow_svm": "flow", "bi_woof": "uv", "lbp_top": "clip"}


def dual_ridge(alpha: float) -> Any:
    return catalog.load("baseline", catalog.folder("baseline") / "ridge_flow.py").DualRidge(alpha)


def decided(classifier: Any, values: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    said = classifier.fit(values, labels).decision_function(others)
    return np.stack([-said, said], 1) if said.ndim == 1 else said


def dual_decided(alpha: float, values: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    model = dual_ridge(alpha)
    model.fit(values @ values.T, labels)
    said = model.decision_function(others @ values.T)
    return np.stack([-said, said], 1) if said.ndim == 1 else said


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    clips=st.integers(4, 60),
    features=st.integers(1, 90),
    classes=st.integers(2, 5),
    alpha=st.sampled_from([0.1, 1.0, 300.0]),
    kind=st.sampled_from(["normal", "whole", "twice", "still", "few"]),
)
def test_ridge_on_products_is_scikit_learns(
    seed: int, clips: int, features: int, classes: int, alpha: float, kind: str
) -> None:
    """Also where clips are equal, nothing moves, classes are rare or missing, or features are fewer than clips."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, clips, p=rng.dirichlet(np.ones(classes)))
    labels[:2] = 0, classes - 1
    values, others = rng.normal(1, 2, (2, clips, features))
    if kind == "whole":
        values, others = values.round(), others.round()
    if kind == "twice":
        values[1::2], others = values[: len(values[1::2])], values
    if kind == "still":
        values, others = np.zeros_like(values), np.zeros_like(others)
    if kind == "few":
        values[:, 1:] = others[:, 1:] = 3.0
    found = dual_decided(alpha, values, labels, others)
    oracle = RidgeClassifier(alpha=alpha, class_weight="balanced")
    wanted = decided(oracle, values, labels, others)
    # products square the condition of the values, so half of the digits are left where alpha is small
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
    first, second = np.sort(wanted, 1)[:, -1], np.sort(wanted, 1)[:, -2]
    clear = first - second > 1e-6
    assert np.array_equal(found.argmax(1)[clear], wanted.argmax(1)[clear])
    if kind == "still":  # nothing but the intercept: a tie of all classes, and the same bits break it
        assert np.array_equal(found, wanted)


def shown(name: str, count: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    if LINEAR[name] == "uv":
        return {"uv": rng.normal(size=(count, 30, 30, 2)).astype(np.float32)}
    shape = (count, 28, 28, 3) if LINEAR[name] == "flow" else (count, 10, 30, 30)
    return {LINEAR[name]: rng.integers(0, 256, shape, np.uint8)}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_products_and_features_give_the_same_probabilities(name: str, classes: int) -> None:
    """Leaving one subject of three out, as the harness does it, against a fit on bare arrays."""
    build, arrays, labels = catalog.baseline(name).model, shown(name), np.arange(24) % classes
    kept = classical.prepared(build(num_classes=3), arrays)
    assert list(kept) == [classical.PRODUCTS]
    for subject in range(3):
        train, test = np.flatnonzero(np.arange(24) // 8 != subject), np.flatnonzero(np.arange(24) // 8 == subject)
        ours, plain = build(num_classes=3), build(num_classes=3)
        ours.fit(classical.part(kept, train, train), labels[train])
        plain.fit({key: array[train] for key, array in arrays.items()}, labels[train])
        found = ours.predict_proba(classical.part(kept, test, train))
        wanted = plain.predict_proba({key: array[test] for key, array in arrays.items()})
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert np.array_equal(found.argmax(1), wanted.argmax(1))


@pytest.mark.parametrize("name", LINEAR)
def test_a_clip_s_pixels_are_in_its_own_products_alone(name: str) -> None:
    arrays = shown(name)
    before = classical.prepared(catalog.baseline(name).model(num_classes=3), arrays)[classical.PRODUCTS]
    changed = {key: array.copy() for key, array in arrays.items()}
    next(iter(changed.values()))[5] = 7
    after = classical.prepared(catalog.baseline(name).model(num_classes=3), changed)[classical.PRODUCTS]
    others = np.arange(24) != 5
    assert np.array_equal(before[np.ix_(others, others)], after[np.ix_(others, others)])
    assert not np.array_equal(before[5], after[5])


def test_a_fit_is_shown_the_products_of_its_own_clips_alone() -> None:
    arrays = {classical.PRODUCTS: np.arange(25.0).reshape(5, 5), "flow": np.arange(5)}
    found = classical.part(arrays, np.array([1, 3]), np.array([0, 2, 4]))
    assert found[classical.PRODUCTS].tolist() == [[5, 7, 9], [15, 17, 19]] and found["flow"].tolist() == [1, 3]


def test_products_of_very_many_clips_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "MOST_PRODUCTS", 23)
    kept = classical.prepared(catalog.baseline("ridge_flow").model(num_classes=3), shown("ridge_flow"))
    assert list(kept) == [classical.FEATURES]


@pytest.mark.parametrize("name", ["ridge_flow", "flow_svm"])
def test_a_fold_trained_from_products_is_the_fold_trained_from_pixels(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toy.corpus(signal=20)
    toy.install(monkeypatch, data)
    labels = data.clips["label"].to_numpy().astype(int)
    setting = resolve(name, catalog.baseline(name), "", None, toy.TASK.scale)
    for part in splits.loso(data.clips):
        found = fold.train(fold.Training("toy", setting, 0, part.name, validation=False)).tables[predictions.TEST]
        model = catalog.baseline(name).model(num_classes=3)
        model.fit({"flow": data.arrays["flow"][part.train]}, labels[part.train])
        wanted = model.predict_proba({"flow": data.arrays["flow"][part.test]})
        np.testing.assert_allclose(found.select("p0", "p1", "p2").to_numpy(), wanted, atol=1e-3)
