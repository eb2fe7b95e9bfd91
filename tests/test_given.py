"""Weights from files: STSTNet's public layout gives the reference logits, and every file that does not fit is named."""

import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
import toy
from safetensors.torch import save_file
from scipy.signal import correlate
from scipy.special import softmax

from mer_bench import catalog, predictions, selection
from mer_bench.answering import commands, given, reproduce
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.records import scores, tracking
from mer_bench.reports import leaderboard

SUBJECTS = [f"toy/{i:02d}" for i in range(len(toy.SIZES))]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The toy corpus, and an empty store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    toy.install(monkeypatch, toy.corpus(signal=40))
    monkeypatch.setattr(given, "_names", lambda task, subject: [subject.replace("/", "-"), subject])
    return tmp_path


def state(seed, classes=3):
    """A state dict in the public layout, of random weights and of statistics as training leaves them."""
    draw = np.random.default_rng(seed)
    found = OrderedDict()
    for number, filters in ((1, 3), (2, 5), (3, 8)):
        found[f"conv{number}.weight"] = draw.normal(0, 0.01, (filters, 3, 3, 3))
        found[f"conv{number}.bias"] = draw.normal(0, 0.1, filters)
        found[f"bn{number}.weight"] = draw.uniform(0.5, 1.5, filters)
        found[f"bn{number}.bias"] = draw.normal(0, 0.5, filters)
        found[f"bn{number}.running_mean"] = draw.normal(0, 1, filters)
        found[f"bn{number}.running_var"] = draw.uniform(0.5, 2, filters)
    found["fc.weight"] = draw.normal(0, 0.2, (classes, 400))
    found["fc.bias"] = draw.normal(0, 0.5, classes)
    return OrderedDict((name, torch.from_numpy(value).float()) for name, value in found.items())


def reference(weights, flow):
    """Logits of one clip (28, 28, 3) u, v, strain, from the published description, without torch."""
    weights = {name: value.double().numpy() for name, value in weights.items()}
    picture = np.pad(flow[..., ::-1].transpose(2, 0, 1).astype(float), ((0, 0), (2, 2), (2, 2)))
    streams = []
    for n in (1, 2, 3):
        for filter_, bias, gain, lift, mean, variance in zip(
            *(weights[f"{part}{n}.{name}"] for part, name in (
                ("conv", "weight"), ("conv", "bias"), ("bn", "weight"), ("bn", "bias"), ("bn", "running_mean"),
                ("bn", "running_var"),
            )), strict=True,
        ):  # fmt: skip
            hidden = np.maximum(correlate(picture, filter_, mode="valid")[0] + bias, 0)
            normed = gain * (hidden - mean) / np.sqrt(variance + 1e-5) + lift
            padded = np.pad(normed, 1, constant_values=-np.inf)[:30, :30]
            streams.append(padded.reshape(10, 3, 10, 3).max((1, 3)))
    pooled = np.stack(streams).reshape(16, 5, 2, 5, 2).mean((2, 4))
    return weights["fc.weight"] @ pooled.ravel() + weights["fc.bias"]


def write(folder, kind="legacy", names=SUBJECTS):
    folder.mkdir(exist_ok=True)
    for number, subject in enumerate(names):
        file = folder / f"{subject.replace('/', '-')}.{'safetensors' if kind == 'safetensors' else 'pth'}"
        if kind == "safetensors":
            save_file(state(number), file)
        else:
            torch.save(state(number), file, _use_new_zipfile_serialization=kind != "legacy")
    return folder


@pytest.mark.parametrize("kind", ["legacy", "zip", "safetensors"])
def test_every_subject_is_asked_by_its_own_weights(place, kind):
    answer = commands.run("ststnet", "toy", weights_dir=write(place / "public", kind))
    rows = predictions.read(answer.tables / "all" / predictions.TEST)
    data = toy.corpus(signal=40)
    assert len(rows) == len(data.clips) and set(rows["epoch"]) == {0}
    assert rows["clip"].to_list() == data.clips["clip"].to_list()
    subjects = data.clips["subject"].to_list()
    pairs = zip(subjects, data.arrays["flow"], strict=True)
    expected = softmax([reference(state(SUBJECTS.index(subject)), flow) for subject, flow in pairs], axis=1)
    np.testing.assert_allclose(predictions.probabilities(rows), expected, atol=2e-3)
    assert expected.std(0).min() > 0.05, "the reference should tell clips apart"


def test_it_is_on_record_as_what_it_is(place):
    answer = commands.run("ststnet", "toy", weights_dir=write(place / "public"))
    result = answer.result
    assert result.model == "ststnet (weights: public)" and "not trained here" in result.setting_name
    assert list(result.rules) == [selection.GIVEN] and selection.GIVEN not in selection.RUN_RULES
    rule = result.rules[selection.GIVEN]
    assert not rule.leaky and rule.trained_on.startswith("not known")
    assert result.question["setting"]["recipe"] is None and result.question["weights"]["folder"] == "public"
    (kept,) = tracking.open().results()
    assert kept.result.model == result.model
    line = leaderboard.cells(scores.rows([kept]).to_dicts()[0])
    assert line["rule"] == "given-weights (unverified)" and line["trained on"].startswith("not known")
    with pytest.raises(MerBenchError, match="made elsewhere, which cannot be repeated"):
        reproduce.reproduce(answer.run_id)
    torch.save(state(99), place / "public" / "toy-03.pth")
    other = commands.run("ststnet", "toy", weights_dir=place / "public").result.question["weights"]["sha256"]
    assert other != result.question["weights"]["sha256"]


def test_every_file_that_does_not_fit_has_its_line(place):
    folder = write(place / "public")
    (folder / "toy-00.pth").unlink()
    save_file(state(1), folder / "toy-01.safetensors")
    torch.save(state(0), folder / "toy-99.pth")
    with pytest.raises(MerBenchError) as said:
        commands.run("ststnet", "toy", weights_dir=folder)
    lines = str(said.value).splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("toy-00.pth is missing; put the weights trained without toy/00 there")
    assert "holds toy-01.pth and toy-01.safetensors for toy/01; remove all but one" in lines[1]
    assert "toy-99.pth belongs to no subject of toy; remove it" in lines[2]


def test_every_file_that_holds_something_else_has_its_line(place):
    folder = write(place / "public")
    (folder / "toy-00.pth").write_bytes(b"no weights")
    torch.save({"epoch": 3, "model": state(1)}, folder / "toy-01.pth")
    torch.save({name: value for name, value in state(2).items() if "conv3" not in name}, folder / "toy-02.pth")
    torch.save({**state(3), "fc2.weight": torch.zeros(1)}, folder / "toy-03.pth")
    torch.save(state(4, classes=5), folder / "toy-04.pth")
    torch.save({**state(5), "fc.bias": torch.full((3,), torch.nan)}, folder / "toy-05.pth")
    with pytest.raises(MerBenchError) as said:
        commands.run("ststnet", "toy", weights_dir=folder)
    expected = [
        r"toy-00.pth cannot be read as weights \(.*\); save model.state_dict\(\) again",
        r"toy-01.pth holds a dict, no state dict; save model.state_dict\(\)",
        r"toy-02.pth lacks conv3.weight and 1 more; is it ststnet's, for this task's classes and settings\?",
        r"toy-03.pth has, beyond the network, fc2.weight; is it",
        r"toy-04.pth: fc.weight is 5x400 and should be 3x400; is it",
        r"toy-05.pth: fc.bias holds NaN or infinity; fetch or train it again",
    ]
    lines = str(said.value).splitlines()
    assert len(lines) == len(expected)
    assert all(re.search(pattern, line) for pattern, line in zip(expected, lines, strict=True))


def test_nothing_in_a_file_is_executed(place):
    folder = write(place / "public")

    class Bomb:
        def __reduce__(self):
            return (open, (str(place / "exploded"), "w"))

    torch.save({"conv1.weight": Bomb()}, folder / "toy-00.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(MerBenchError, match=r"toy-00.pth cannot be read as weights"):
        commands.run("ststnet", "toy", weights_dir=folder)
    assert not (place / "exploded").exists()


def test_what_makes_no_sense_beside_it(place):
    with pytest.raises(UsageError, match="drop --rules, --seeds and --keep-weights"):
        commands.run("ststnet", "toy", weights_dir=place, seeds=2)
    with pytest.raises(UsageError, match="ridge_flow has no weights to load"):
        commands.run("ridge_flow", "toy", weights_dir=place)
    with pytest.raises(MerBenchError, match="gone is no folder"):
        commands.run("ststnet", "toy", weights_dir=place / "gone")


def test_files_are_called_as_the_release_calls_subjects(tmp_path):
    subjects = ["casme2/05", "samm/006", "smic/05"]
    assert [catalog.dataset("megc2019_flow").released(subject) for subject in subjects] == ["sub05", "006", "s05"]
    for name in ("sub05.pth", "006.pt", "smic-05.pth"):
        (tmp_path / name).touch()
    found = given.files(tmp_path, "megc2019-flow-3", subjects)
    assert {subject: file.name for subject, file in found.items()} == {
        "casme2/05": "sub05.pth", "samm/006": "006.pt", "smic/05": "smic-05.pth",
    }  # fmt: skip
