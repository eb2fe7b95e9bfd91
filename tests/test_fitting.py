"""Trained on everybody and kept: every method that can be, the same twice, and nothing written when it fails."""

import numpy as np
import pytest
import toy

from mer_bench import catalog
from mer_bench.answering import fitting
from mer_bench.contracts import Dataset, MerBenchError, UsageError
from mer_bench.training import fold, weights

CLASSICAL = """
import numpy as np

from mer_bench.contracts import Baseline


class Mute:
    def __init__(self, num_classes):
        self.num_classes = num_classes

    def fit(self, inputs, labels):
        raise AssertionError("not asked")

    def predict_proba(self, inputs):
        return np.full((len(inputs["flow"]), self.num_classes), 1 / self.num_classes)


BASELINE = Baseline(model=Mute, view="flow@28")
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    toy.install(monkeypatch, toy.corpus(signal=40))
    known = catalog.dataset
    corpus = Dataset("toy", lambda root: None, "none", read_flow=lambda root, row: None)
    monkeypatch.setattr(catalog, "dataset", lambda name: corpus if name == "toy" else known(name))
    (tmp_path / "tiny.py").write_text(toy.MODEL)
    yield tmp_path
    fold.forget()


def fit(model, out="w.safetensors", **more):
    return fitting.fit(model, "toy", out, device="cpu", **more)


@pytest.mark.parametrize("model", ["ridge_flow", "flow_svm", "majority", "prior", "tiny.py"])
def test_a_model_that_was_kept_says_what_the_fitted_one_says(place, model):
    ticks = []
    made = fit(model, tick=lambda *step: ticks.append(step))
    found = weights.read(made.file)
    again = weights.rebuilt(found)
    weights.check(found, again)
    data = toy.corpus(signal=40)
    said = weights.said(found.setting, again, data.arrays, 3)
    labels = data.clips["label"].to_numpy()
    if model == "ridge_flow":
        fresh = catalog.baseline(model).model(num_classes=3)
        fresh.fit(data.arrays, labels)
        assert np.allclose(said, fresh.predict_proba(data.arrays))
    if model in ("ridge_flow", "flow_svm"):
        assert (said.argmax(1) == labels).mean() > 0.9
    if model == "majority":
        assert np.allclose(said, np.bincount(labels) / len(labels))
    if model == "tiny.py":
        assert ticks[-1] == (4, 4, "tiny.py epochs") and (said.argmax(1) == labels).mean() > 0.4


def test_the_facts_say_what_was_done(place):
    made = fit("tiny.py", settings={"epochs": 2})
    facts = weights.read(made.file).facts
    assert {**made.facts, "echo": facts["echo"], "format": 1} == {**facts, "format": 1}
    assert facts["classes"] == ["negative", "positive", "surprise"] and facts["clips"] == sum(toy.SIZES)
    assert (facts["subjects"], facts["counts"]) == (8, np.bincount(toy.corpus(40).clips["label"]).tolist())
    assert "2 epochs, the last one kept" in facts["recipe"] and "with epochs=2" in facts["recipe"]
    assert "all 43 clips of 8 subjects, nobody held out" in made.words() and facts["pinned"] == {"epochs": "2"}
    assert made.as_json()["weights"] == "w.safetensors" and facts["code"] == catalog.fingerprint("tiny.py")


def test_the_same_fit_gives_the_same_file_and_another_seed_another(place):
    first, second, other = (
        fit("tiny.py", out=f"{n}.safetensors", seed=seed).file.read_bytes()
        for n, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == second != other


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("tiny.py", {"out": "w.pth"}, r"should end in \.safetensors"),
        ("tiny.py", {"seed": -1}, "--seed -1: 0 or more"),
        ("mment", {}, "known: "),
        ("tiny.py", {"settings": {"lrr": 1}}, "recipe.lr"),
        ("mute.py", {}, r"mute\.py cannot be kept: it has no keep"),
    ],
)
def test_what_cannot_be_fitted_is_told_before_anything_is_trained(place, model, more, said):
    (place / "mute.py").write_text(CLASSICAL)
    with pytest.raises(UsageError, match=said):
        fit(model, **more)
    assert not list(place.glob("*.safetensors"))


def test_two_tasks_cannot_be_fitted(place):
    with pytest.raises(UsageError, match="a fit holds nobody out; name one task"):
        fitting.fit("tiny.py", "toy>toy", "w.safetensors")


def test_a_training_that_breaks_leaves_no_file(place):
    with pytest.raises(MerBenchError, match="lower lr"):
        fit("tiny.py", settings={"lr": 1e30})
    assert not list(place.glob("*.safetensors"))


def test_a_folder_that_cannot_be_written_is_an_error(place):
    (place / "file").write_text("x")
    with pytest.raises(OSError):
        fit("ridge_flow", out="file/w.safetensors")


def test_the_package_offers_what_the_command_line_does():
    import mer_bench
    from mer_bench.answering import predicting

    assert (mer_bench.fit, mer_bench.predict) == (fitting.fit, predicting.predict)
    assert all(callable(getattr(mer_bench, name)) for name in mer_bench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        mer_bench.fitt  # noqa: B018
