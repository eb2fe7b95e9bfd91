"""A model in one file: what was kept answers as what was fitted, and every file that does not fit is named."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sklearn.linear_model import RidgeClassifier
from sklearn.svm import SVC

from mer_bench import catalog
from mer_bench.classical import Ranked
from mer_bench.contracts import MerBenchError, UsageError, resolve
from mer_bench.training import fold, weights

CLASSIFIERS = {
    "ridge": lambda: RidgeClassifier(alpha=3.0, class_weight="balanced"),
    "svm": lambda: SVC(kernel="linear", C=2.0),
    "svm, pairs": lambda: SVC(kernel="linear", C=2.0, decision_function_shape="ovo"),
}


def setting(name, **values):
    return resolve(name, catalog.baseline(name), proposed=values)


def network():
    """A small STSTNet's setting and its weights."""
    asked = setting("ststnet")
    torch.manual_seed(3)
    model = fold.builder(asked, 3)()
    return asked, model


def keep(file, asked, model, **more):
    facts = {
        "setting": asked.as_dict(),
        **{
            "model": "ststnet",
            "pinned": {},
            "task": "toy",
            "task_version": 1,
            "task_sha256": "0",
            "recipe": "",
            "seed": 0,
        },
        "classes": ["a", "b", "c"],
        "versions": {"mer-bench": "0.0"},
        "echo": weights.echo(asked, model.eval(), 3),
        **more,
    }
    weights.write(file, model.state_dict(), facts)
    return file


@pytest.mark.parametrize("kind", ["ridge", "svm"])
@given(classes=st.integers(1, 5), present=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_classical_model_that_was_kept_decides_as_the_fitted_one(kind, classes, present, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(min(classes, present)), rng.integers(0, min(classes, present), 12)])
    values = rng.normal(size=(len(labels), 6)) + labels[:, None]
    first, second = (Ranked(classes, CLASSIFIERS[kind]()) for _ in range(2))
    first.fit(values, labels)
    second.restore(first.keep())
    asked = rng.normal(size=(40, 6)) * 3
    assert np.allclose(second.predict_proba(asked), first.predict_proba(asked), atol=1e-9)


def test_fitting_again_forgets_what_was_restored():
    values, labels = np.arange(12.0).reshape(6, 2), np.array([0, 0, 1, 1, 2, 2])
    model, other = Ranked(3, CLASSIFIERS["ridge"]()), Ranked(3, CLASSIFIERS["ridge"]())
    model.fit(values[::-1], labels)
    other.restore(model.keep())
    other.fit(values, labels)
    model.fit(values, labels)
    assert (other.predict_proba(values) == model.predict_proba(values)).all()


def test_a_network_that_was_kept_is_rebuilt_and_says_the_same(tmp_path):
    asked, model = network()
    file = keep(tmp_path / "a folder" / "ö.safetensors", asked, model)
    found = weights.read(file)
    again = weights.rebuilt(found)
    weights.check(found, again)
    assert (found.setting, found.classes) == (asked, ["a", "b", "c"])
    flow = {"flow": np.random.default_rng(0).integers(0, 255, (4, 28, 28, 3), np.uint8)}
    said = weights.said(asked, again, flow, 3)
    assert (said == weights.said(asked, model.eval(), flow, 3)).all() and np.allclose(said.sum(1), 1)
    assert weights.attention(asked, again, flow) == []


def test_the_same_model_gives_the_same_bytes_and_nothing_else_is_left(tmp_path):
    asked, model = network()
    first, second = (keep(tmp_path / name, asked, model).read_bytes() for name in ("a.safetensors", "b.safetensors"))
    assert first == second and sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    asked, model = network()
    file = keep(tmp_path / "w.safetensors", asked, model)
    before = file.read_bytes()

    def full(state, place, said):
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        keep(file, asked, model)
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_tied_weights_can_be_kept(tmp_path):
    shared = torch.ones(2, 2)
    weights.write(tmp_path / "t.safetensors", {"a": shared, "b": shared, "c": shared.T}, {})
    assert set(load_file(tmp_path / "t.safetensors")) == {"a", "b", "c"}


def metadata(file, **changes):
    """Write the file again with other facts."""
    found = weights.read(file)
    facts = {"format": weights.FORMAT, **found.facts, **changes}
    save_file(dict(found.state), file, {weights.KEY: json.dumps(facts)})


def lacking(file, name):
    """Write the file again without a fact."""
    found = weights.read(file)
    facts = {key: value for key, value in found.facts.items() if key != name}
    save_file(dict(found.state), file, {weights.KEY: json.dumps({"format": weights.FORMAT, **facts})})


BAD = {
    "missing": (lambda file: file.unlink(), "no such file of weights; make it with `mer-bench fit"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read as weights"),
    "text": (lambda file: file.write_text("weights"), "cannot be read as weights"),
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-9]), "cannot be read as weights"),
    "foreign": (lambda file: save_file({"a": torch.ones(1)}, file), "not what they are for"),
    "format": (lambda file: metadata(file, format=7), "is of format 7, this version reads 1"),
    "setting": (lambda file: metadata(file, setting={"view": "flow@28"}), "what it says of itself cannot be read"),
    "view": (lambda file: metadata(file, setting={"view": "sound@28"}), "what it says of itself cannot be read"),
    "echo": (lambda file: metadata(file, echo=[]), "what it says of itself cannot be read"),
    "fewer facts": (
        lambda file: lacking(file, "pinned"),
        "of itself cannot be read .'pinned'.; fit",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_is_none_is_one_line(tmp_path, kind):
    damage, said = BAD[kind]
    file = keep(tmp_path / "w.safetensors", *network())
    damage(file)
    with pytest.raises(MerBenchError, match=said) as caught:
        weights.read(file)
    assert "w.safetensors" in str(caught.value) and "\n" not in str(caught.value)


OTHER = {
    "more classes": ({"classes": list("abcd")}, r"fc\.bias is \(3,\) and should be \(4,\)"),
    "another option": ({"options": {"droop": 0.5}}, "its settings are not known"),
    "says otherwise": ({"echo": [[0.9, 0.05, 0.05]] * 2}, "does not say what it said"),
    "fewer echoes": ({"echo": [[0.9, 0.05, 0.05]]}, "does not say what it said"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_weights_of_another_version_are_told(tmp_path, kind):
    changes, said = OTHER[kind]
    asked, model = network()
    file = keep(tmp_path / "w.safetensors", asked, model, versions={"mer-bench": "0.0", "commit": "f" * 40})
    if "options" in changes:
        changes = {"setting": {**asked.as_dict(), **changes}}
    metadata(file, **changes)
    found = weights.read(file)
    with pytest.raises(
        MerBenchError, match=f"another version of ststnet: .*{said}.*mer-bench 0.0, commit ffffffffffff"
    ):
        weights.check(found, weights.rebuilt(found))


def test_arrays_of_another_classical_model_are_told():
    asked = setting("ridge_flow")
    found = weights.Weights({"frequencies": torch.ones(3)}, {"setting": asked.as_dict(), "classes": ["a", "b", "c"]})
    with pytest.raises(MerBenchError, match="another version of ridge_flow: its arrays do not fit"):
        weights.rebuilt(found)


def test_a_classical_model_without_keep_is_refused():
    with pytest.raises(UsageError, match=r"mine\.py cannot be kept: it has no keep\(\)"):
        weights.state_of(object(), "mine.py")


@pytest.mark.parametrize(
    "view", ["flow@28", "onset_apex@20", "onset_apex@20+near", "apex@9", "uv@12", "clip@16", "flow_clip@14"]
)
def test_an_echo_is_asked_with_pictures_of_the_view(view):
    asked = setting("majority")
    asked = type(asked)(asked.model, asked.options, None, view)
    shapes = weights.frames.parse_view(view).shapes

    class Seen:
        def predict_proba(self, inputs):
            assert {name: array.shape for name, array in inputs.items()} == {n: (2, *s) for n, s in shapes.items()}
            assert all(array.dtype == (np.float32 if name == "uv" else np.uint8) for name, array in inputs.items())
            assert all(array.std() > 0.2 for array in inputs.values())
            return np.full((2, 3), 1 / 3)

    assert weights.echo(asked, Seen(), 3) == [[0.3333] * 3] * 2


def test_the_votes_of_pairs_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, 60)
    values = rng.normal(size=(60, 5)) + labels[:, None]
    one, pairs = CLASSIFIERS["svm"]().fit(values, labels), CLASSIFIERS["svm, pairs"]().fit(values, labels)
    model = Ranked(4, one)
    model.classes = np.arange(4)
    model.restore(model.keep())
    assert np.allclose(model._decided(values), one.decision_function(values))
    assert np.allclose(values @ one.coef_.T + one.intercept_, pairs.decision_function(values))


@pytest.mark.parametrize("name", [n for n in catalog.names("baseline") if catalog.baseline(n).recipe is None])
def test_every_classical_method_of_the_project_can_be_kept(name):
    model = catalog.baseline(name).model(num_classes=3)
    assert callable(model.keep) and callable(model.restore)
