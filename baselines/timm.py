"""Any image backbone of timm, on any view: `timm:NAME`, `--set view=...`, `--set pretrained=...`.

    view        forward's arguments                   the backbone is shown
    flow        flow (B, 3, S, S), 0..255             the same in -1..1
    difference  onset, apex (B, 3, S, S)              apex - onset
    onset_apex  onset, apex (B, 3, S, S)              both, six channels
    apex        apex (B, 3, S, S)                     the same
    uv          uv (B, 2, S, S), pixels               the same
    clip        clip (B, 1, T, S, S)                  its frames as channels
    flow_clip   flow_clip (B, 3, T, S, S), 0..255     u, v, strain of its frames as channels, in -1..1
    logits      (B, num_classes)

A control, not a paper: the recipe is ours, fixed in advance. Backbones start from scratch unless `pretrained` names a
file (safetensors or a torch state dict) or is `cache`: weights that timm has fetched before, looked up in the local
Hugging Face cache. Nothing is ever fetched here. timm is Apache-2.0; weights have licences of their own.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mer_bench import vision
from mer_bench.contracts import Baseline, MerBenchError, Recipe, Remark, UsageError

CHANNELS = {"flow": 3, "difference": 3, "onset_apex": 6, "apex": 3, "uv": 2, "clip": 10, "flow_clip": 24}
FILES = ("model.safetensors", "pytorch_model.bin")
"""What a repository of timm's weights calls them, best first."""


class Backbone(nn.Module):
    """A backbone whose `forward` is the method of its view's name."""

    def __init__(self, net: nn.Module, view: str) -> None:
        super().__init__()
        self.net = net
        self.forward = getattr(self, view)

    def flow(self, flow: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..255 -> logits (B, num_classes)."""
        return self.net(flow / 127.5 - 1)

    def difference(self, onset: Tensor, apex: Tensor) -> Tensor:
        """Two (B, 3, S, S), ImageNet-normalised -> logits."""
        return self.net(apex - onset)

    def onset_apex(self, onset: Tensor, apex: Tensor) -> Tensor:
        """Two (B, 3, S, S), ImageNet-normalised -> logits."""
        return self.net(torch.cat([onset, apex], 1))

    def apex(self, apex: Tensor) -> Tensor:
        """(B, 3, S, S), ImageNet-normalised -> logits."""
        return self.net(apex)

    def uv(self, uv: Tensor) -> Tensor:
        """(B, 2, S, S) in pixels -> logits."""
        return self.net(uv)

    def clip(self, clip: Tensor) -> Tensor:
        """(B, 1, T, S, S), normalised -> logits."""
        return self.net(clip.flatten(1, 2))

    def flow_clip(self, flow_clip: Tensor) -> Tensor:
        """(B, 3, T, S, S) in 0..255 -> logits."""
        return self.net(flow_clip.flatten(1, 2) / 127.5 - 1)


def build(
    num_classes: int,
    *,
    backbone: str = "resnet18",
    view: str = "flow",
    image_size: int = 224,
    dropout: float = 0.2,
    pretrained: str = "",
) -> Backbone:
    """Build a backbone.

    Args:
        num_classes: number of classes.
        backbone: timm's name for it; `timm:NAME` sets it.
        view: what it is shown, see above.
        image_size: side of the input in pixels.
        dropout: before the classifier.
        pretrained: nothing, a file, or `cache`.

    Raises:
        UsageError: an unknown backbone or view, or a backbone that cannot be built at this size.
        MerBenchError: weights that are not there or do not fit.
    """
    if view not in CHANNELS:
        raise UsageError(f"timm has no view={view!r}; one of {', '.join(CHANNELS)}")
    facts, start = _facts(backbone), torch.get_rng_state()
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": CHANNELS[view], "drop_rate": dropout}
    if facts.fixed_input_size:
        options["img_size"] = image_size
    try:
        net = _timm().create_model(backbone, **options)
    except Exception as error:
        raise UsageError(f"timm:{backbone} cannot be built for {image_size} pixels: {error}; set image_size") from error
    if pretrained:
        file = _cached(backbone) if pretrained == "cache" else Path(pretrained).expanduser()
        if file is None or not file.is_file():
            raise MerBenchError(f"timm:{backbone}: no weights at pretrained={pretrained!r}; name a file, or drop it")
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(start)
            net = _loaded(net, backbone, options, file)
    return Backbone(net, view)


def _timm() -> Any:
    vision.ready()
    import timm

    return timm


def _facts(name: str) -> Any:
    """timm's facts about a backbone.

    Raises:
        UsageError: there is none of that name; the nearest names are listed.
    """
    timm = _timm()
    stem, _, tag = name.partition(".")
    if not timm.is_model(stem) or (tag and name not in timm.list_models(f"{stem}.*", pretrained=True)):
        known = timm.list_models(f"{stem}.*", pretrained=True) if timm.is_model(stem) else timm.list_models()
        near = difflib.get_close_matches(name, known, 5, 0.5)
        raise UsageError(f"timm has no backbone {name!r}; near: {', '.join(near) or 'none, see timm.list_models()'}")
    return timm.models.get_pretrained_cfg(name) or timm.models.PretrainedCfg()


def _cached(name: str) -> Path | None:
    """The weights of a backbone in the local Hugging Face cache."""
    from huggingface_hub import try_to_load_from_cache

    place = _facts(name).hf_hub_id
    found = [try_to_load_from_cache(place, file) for file in FILES] if place else []
    return next((Path(file) for file in found if isinstance(file, str)), None)


def _loaded(untrained: nn.Module, name: str, options: Mapping[str, Any], file: Path) -> nn.Module:
    """The backbone with all its weights but the classifier's from a file; made under the generator of `untrained`.

    Raises:
        MerBenchError: the file cannot be read, or does not hold all of them.
    """
    try:
        overlay = {"file": str(file), "source": ""}
        net = _timm().create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise MerBenchError(f"timm:{name}: {file} holds no weights of it ({said}); name another file") from error
    head = _facts(name).classifier or ()
    heads = tuple(f"{part}." for part in ((head,) if isinstance(head, str) else head))
    # timm passes over what a file lacks: such weights are still as they were drawn
    lost = [
        key
        for (key, now), drawn in zip(net.named_parameters(), untrained.parameters(), strict=True)
        if now.ndim > 1 and not key.startswith(heads) and torch.equal(now, drawn)
    ]
    if lost:
        raise MerBenchError(f"timm:{name}: {file} lacks {lost[0]}, of {len(lost)}; name a file of its weights")
    return net


def settle(options: Mapping[str, Any]) -> dict[str, Any]:
    """Weights that this machine has: files by their absolute path, and none where the cache holds none."""
    asked = options["pretrained"]
    if asked in ("", "cache"):
        if asked and _cached(options["backbone"]) is None:
            place = _facts(options["backbone"]).hf_hub_id
            warnings.warn(
                f"timm:{options['backbone']} starts from scratch: no weights of it in the local Hugging Face cache "
                f"(fetch {place or 'them'} there first, or name a file with --set pretrained=FILE)",
                Remark,
                stacklevel=2,
            )
            return {"pretrained": ""}
        return {}
    return {"pretrained": str(Path(asked).expanduser().resolve())}


def _preset(name: str) -> dict[str, Any]:
    """`timm:NAME`."""
    _facts(name)
    return {"backbone": name}


def _view(options: Mapping[str, Any]) -> str:
    return "onset_apex" if options["view"] == "difference" else options["view"]


BASELINE = Baseline(
    model=build,
    view=_view,
    recipe=Recipe(epochs=40, batch_size=32, lr=3e-4, weight_decay=0.05, flip=0.5, shift=0.05),
    small={"image_size": 32},
    other_presets=_preset,
    settle=settle,
)
