"""timm's backbones as methods: names, views, and pretrained weights that are never fetched."""

import os
import socket
import subprocess
import sys
import warnings

import pytest
import torch
from safetensors.torch import save_file

from mer_bench import catalog, vision
from mer_bench.answering import ready
from mer_bench.contracts import MerBenchError, Remark, Setting, UsageError, resolve
from mer_bench.door import cli
from mer_bench.training import fold
from mer_bench.verifying import contract

TINY = "test_resnet"
SHOWN = {
    "flow": {"flow": (2, 3, 32, 32)},
    "difference": {"onset": (2, 3, 32, 32), "apex": (2, 3, 32, 32)},
    "onset_apex": {"onset": (2, 3, 32, 32), "apex": (2, 3, 32, 32)},
    "apex": {"apex": (2, 3, 32, 32)},
    "uv": {"uv": (2, 2, 32, 32)},
    "clip": {"clip": (2, 1, 10, 32, 32)},
    "flow_clip": {"flow_clip": (2, 3, 8, 32, 32)},
}


def build(**options):
    torch.manual_seed(0)
    return catalog.baseline("timm").model(num_classes=3, **{"backbone": TINY, "image_size": 32, **options})


def timm():
    vision.ready()
    import timm

    return timm


@pytest.fixture
def weights():
    """The state dict of a trained backbone, with its own thousand classes."""
    torch.manual_seed(7)
    return timm().create_model(TINY).state_dict()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def fetched(cache, weights):
    """The cache after timm fetched the tiny backbone."""
    name = timm().models.get_pretrained_cfg(TINY).hf_hub_id
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    (place / "snapshots" / "abc").mkdir(parents=True)
    save_file(weights, place / "snapshots" / "abc" / "model.safetensors")


def test_a_preset_is_any_name_that_timm_knows():
    baseline = catalog.baseline("timm:resnet34")
    for name in ("resnet34", "resnet34.a1_in1k", "vit_tiny_patch16_224"):
        assert resolve("timm", baseline, name).options["backbone"] == name
    assert resolve("timm", baseline).options["backbone"] == "resnet18"
    assert not baseline.presets


@pytest.mark.parametrize("name", ["resnt18", "resnet18.nobody_in1k", "hf-hub:timm/resnet18", "nothing_of_the_kind"])
def test_an_unknown_name_lists_near_ones(name):
    with pytest.raises(UsageError, match=r"timm has no backbone .*; near: ") as said:
        resolve("timm", catalog.baseline("timm"), name)
    if name.startswith("resn"):
        assert "resnet18" in str(said.value)
    assert "\n" not in str(said.value) and len(str(said.value)) < 200


def test_on_the_command_line_it_is_one_line(tmp_path):
    call = [sys.executable, "-c", "from mer_bench.door.cli import main; main()", "run", "timm:resnt18"]
    done = subprocess.run(call, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("mer-bench: timm has no backbone 'resnt18'; near: ") and "resnet18" in line


@pytest.mark.parametrize("view", SHOWN)
def test_any_view(view):
    model = build(view=view)
    setting = Setting("timm", {}, None, view)
    assert fold.named(model, setting, SHOWN[view]) is model
    pictures = {key: 100 * torch.rand(shape) for key, shape in SHOWN[view].items()}
    logits = model(**pictures)
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_what_a_backbone_is_shown():
    seen = []
    flow, onset, apex = (100 * torch.rand(2, 3, 32, 32) for _ in range(3))
    for view, pictures in (("flow", [flow]), ("difference", [onset, apex]), ("onset_apex", [onset, apex])):
        model = build(view=view)
        model.net.register_forward_pre_hook(lambda module, shown: seen.append(shown[0]))
        model(*pictures)
    assert torch.equal(seen[0], flow / 127.5 - 1)
    assert torch.equal(seen[1], apex - onset)
    assert torch.equal(seen[2][:, :3], onset) and torch.equal(seen[2][:, 3:], apex)


def test_a_view_that_no_backbone_has():
    with pytest.raises(UsageError, match="no view='frames'; one of flow, difference"):
        build(view="frames")


def test_views_are_those_of_the_harness():
    for view, wanted in (("flow", "flow@48"), ("difference", "onset_apex@48"), ("onset_apex", "onset_apex@48")):
        setting = resolve("timm", catalog.baseline("timm"), TINY, {}, contract.SMALL, {"view": view})
        assert setting.view == wanted


def test_backbones_of_one_size_are_built_for_the_tasks():
    assert build(backbone="test_vit", image_size=48)(torch.zeros(1, 3, 48, 48)).shape == (1, 3)
    with pytest.raises(UsageError, match=r"timm:test_vit cannot be built for 0 pixels: .*; set image_size"):
        build(backbone="test_vit", image_size=0)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "legacy.pth"])
def test_weights_from_a_file(kind, tmp_path, weights):
    file = tmp_path / f"weights.{kind}"
    if kind == "safetensors":
        save_file(weights, file)
    else:
        torch.save(weights, file, _use_new_zipfile_serialization=kind == "pth")
    state = build(pretrained=str(file)).net.state_dict()
    head = timm().models.get_pretrained_cfg(TINY).classifier
    for name, value in state.items():
        assert value.shape[:1] == (3,) if name.startswith(f"{head}.") else torch.equal(value, weights[name]), name
    six = build(pretrained=str(file), view="onset_apex").net.state_dict()
    first = next(name for name in six if six[name].shape != state[name].shape)
    torch.testing.assert_close(six[first].sum(1), weights[first].sum(1))


def test_the_classifier_obeys_the_seed_with_pretrained_weights_too(tmp_path, weights):
    save_file(weights, tmp_path / "w.safetensors")
    model = catalog.baseline("timm").model
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        net = model(3, backbone=TINY, image_size=32, pretrained=str(tmp_path / "w.safetensors")).net
        heads.append((net.get_classifier().weight, torch.get_rng_state()))
    assert torch.equal(heads[0][0], heads[1][0]) and not torch.equal(heads[0][0], heads[2][0])
    assert torch.equal(heads[0][1], heads[1][1])


def test_a_file_that_does_not_fit(tmp_path, weights):
    other = {f"body.{name}": value for name, value in weights.items()}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(MerBenchError, match=r"timm:test_resnet: .*other.safetensors lacks .*; name a file"):
        build(pretrained=str(tmp_path / "other.safetensors"))
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(MerBenchError, match=r"text.pth holds no weights of it"):
        build(pretrained=str(tmp_path / "text.pth"))
    with pytest.raises(MerBenchError, match=r"no weights at pretrained='gone\.pth'; name a file, or drop it"):
        build(pretrained="gone.pth")


def test_weights_from_the_cache(cache, weights):
    with pytest.raises(MerBenchError, match="no weights at pretrained='cache'"):
        build(pretrained="cache")
    fetched(cache, weights)
    state = build(pretrained="cache").net.state_dict()
    assert sum(torch.equal(value, weights[name]) for name, value in state.items()) == len(state) - 2


def test_without_weights_a_run_starts_from_scratch_and_says_so(cache, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def options(pretrained):
        pinned = {"model.pretrained": pretrained}
        asked = ready.prepare(ready.Command(f"timm:{TINY}", "synth-3", pinned, device="cpu", workers=1))
        return asked.setting.options["pretrained"], asked.space.pinned

    with pytest.warns(Remark, match=r"timm:test_resnet starts from scratch: no weights of it in the local .* cache"):
        assert options("cache") == ("", {"pretrained": ""})
    fetched(cache, weights)
    assert options("cache") == ("cache", {"model.pretrained": "cache"})
    assert options("w.pth")[0] == str(tmp_path / "w.pth")


def test_a_remark_is_one_line_on_the_command_line(monkeypatch, capsys):
    def warned(standalone_mode):
        warnings.warn("this is done otherwise", Remark, stacklevel=1)
        warnings.warn("a library's own", UserWarning, stacklevel=1)

    monkeypatch.setattr(cli, "app", warned)
    with pytest.warns(UserWarning, match="a library's own"):
        cli.main()
    assert capsys.readouterr().err == "mer-bench: this is done otherwise\n"
