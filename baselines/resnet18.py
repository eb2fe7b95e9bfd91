"""ResNet-18: the control that every claim needs, on a picture of flow or of what changed (He, Zhang, Ren, Sun 2016).

    flow        (B, 3, 224, 224)    u, v, strain, 0..255; or
    difference  (B, 3, 224, 224)    apex - onset, preset `difference`
    layers      (B, 64, 56, 56)  (B, 128, 28, 28)  (B, 256, 14, 14)  (B, 512, 7, 7)
    logits      (B, num_classes)

The network is timm's (Apache-2.0), from scratch; `timm:resnet18 --set pretrained=cache` starts from ImageNet. The paper
knows nothing of micro-expressions: the recipe is ours, fixed in advance and not tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mer_bench import vision
from mer_bench.contracts import Baseline, Paper, Recipe, UsageError

VIEWS = {"flow": "flow", "difference": "onset_apex"}


class FlowResNet(nn.Module):
    """Shown the optical flow from onset to apex."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..255 -> logits (B, num_classes)."""
        return self.net(flow / 127.5 - 1)


class DifferenceResNet(nn.Module):
    """Shown apex minus onset."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, onset: Tensor, apex: Tensor) -> Tensor:
        """Two (B, 3, S, S), ImageNet-normalised -> logits (B, num_classes)."""
        return self.net(apex - onset)


def resnet18(
    num_classes: int, *, motion: str = "flow", image_size: int = 224, dropout: float = 0.2
) -> FlowResNet | DifferenceResNet:
    """Build the network.

    Args:
        num_classes: number of classes.
        motion: flow or difference; decides the arguments of `forward`.
        image_size: side of the input in pixels; the network takes any.
        dropout: before the classifier.

    Raises:
        UsageError: an unknown motion.
    """
    if motion not in VIEWS:
        raise UsageError(f"resnet18 has no motion={motion!r}; one of {', '.join(VIEWS)}")
    vision.ready()
    import timm

    net = timm.create_model("resnet18", num_classes=num_classes, drop_rate=dropout)
    return FlowResNet(net) if motion == "flow" else DifferenceResNet(net)


def _view(options: Mapping[str, Any]) -> str:
    return VIEWS.get(options["motion"], "flow")  # an unknown motion is refused by the model, by name


BASELINE = Baseline(
    model=resnet18,
    view=_view,
    recipe=Recipe(epochs=40, batch_size=32, lr=3e-4, weight_decay=0.05, flip=0.5, shift=0.05),
    presets={"difference": {"motion": "difference"}},
    small={"image_size": 32},
    paper=Paper(
        title="Deep Residual Learning for Image Recognition",
        year=2016,
        url="https://arxiv.org/abs/1512.03385",
        licence="Apache-2.0 (timm)",
        code="https://github.com/huggingface/pytorch-image-models",
    ),
)
