"""What classical methods share: a clip described once and alone, and probabilities that rank as decisions do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from scipy.special import softmax
from sklearn.svm import SVC

from mer_bench import catalog, classical, fold, predictions, splits
from mer_bench.contracts import resolve

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
