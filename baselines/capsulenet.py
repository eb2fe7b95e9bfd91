"""CapsuleNet: the apex frame alone, through a ResNet-18 trunk into capsules (Van Quang, Chun, Tokuyama 2019).

    apex      (B, 3, 224, 224)    ImageNet-normalised
    trunk     ResNet-18 without its max-pooling, up to layer3 -> (B, 256, 28, 28)
    conv 9x9  ReLU -> (B, 256, 20, 20)
    primary   conv 9x9 stride 2 -> (B, 256, 6, 6) = (B, 1152, 8), squashed
    classes   routed three times -> (B, num_classes, 16), lengths below 1
    logits    `sharpness` times the lengths

Written from facts about the authors' script in a public fork, which carries no licence; 13,842,496 parameters with
three classes, as that code builds it (it counts none). What differs here, and why the printed numbers are not ours:

- loss: the script's margin loss (.99, .01, half the weight on wrong classes) acts on lengths; our trainer takes the
  cross-entropy of logits, so a length of 1 against 0 is a logit gap of `sharpness`, which is our own choice of 10;
- weights: the script starts from ImageNet, and in one version from a macro-expression corpus. Here the trunk starts
  from scratch unless `weights` names a local file in torchvision's layout;
- clips: it adds frames around the apex, drawn so that classes are even; here classes are weighed evenly;
- input: it shows 0..1 without normalising, in a 234 x 240 picture cropped at random (here shifted by up to 8 pixels);
  it also varies saturation and hue, and rotates test frames at random.

Its code keeps the test epoch of the best UF1 of each subject, nearest to `oracle-epoch`; the 435 predictions of its log
(seven clips are missing) give the printed numbers to four digits.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from mer_bench.contracts import Baseline, MerBenchError, Paper, Printed, Recipe

CHANNELS = (64, 64, 128, 256)
TYPES, PRIMARY, CLASS = 32, 8, 16
"""Capsules at each place, and values in a primary and in a class capsule."""


class Trunk(nn.Module):
    """ResNet-18 up to its third stage, at twice the usual resolution; names are torchvision's."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        pairs = zip(pairwise(channels), (1, 2, 2), strict=True)
        self.layer1, self.layer2, self.layer3 = (_stage(*pair, stride) for pair, stride in pairs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S / 8, S / 8)."""
        return self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))


class Routing(nn.Module):
    """Capsules of one layer vote for those of the next, by agreement (Sabour, Frosst, Hinton 2017).

    Gradients flow through the last round alone, as in the script.
    """

    def __init__(self, inputs: int, classes: int, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds
        self.weight = nn.Parameter(0.01 * torch.randn(classes, inputs, CLASS, PRIMARY))

    def forward(self, capsules: Tensor) -> Tensor:
        """(B, inputs, 8) -> (B, classes, 16)."""
        votes = torch.einsum("kiod,bid->bkio", self.weight, capsules)
        still = votes.detach()
        agreement = torch.zeros_like(still[..., 0])
        for _ in range(self.rounds - 1):
            answer = squash((agreement.softmax(1).unsqueeze(3) * still).sum(2))
            agreement = agreement + torch.einsum("bko,bkio->bki", answer, still)
        return squash((agreement.softmax(1).unsqueeze(3) * votes).sum(2))


class CapsuleNet(nn.Module):
    """Trunk, primary capsules, class capsules.

    Args:
        num_classes: number of classes.
        image_size: side of the input in pixels; kernels of 9 shrink with it, to odd sizes.
        width: factor on channel and capsule counts, rounded to multiples of 8.
        rounds: of routing.
        sharpness: logit of a capsule of length 1.
        weights: file with ResNet-18's weights in torchvision's layout; empty for none. A run records its name alone.

    Raises:
        MerBenchError: no such file, or its weights do not fit.
    """

    def __init__(
        self, num_classes: int, *, image_size: int = 224, width: float = 1.0, rounds: int = 3,
        sharpness: float = 10.0, weights: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        channels = [_scaled(count, width) for count in CHANNELS]
        types = max(1, round(TYPES * width))
        side = -(-image_size // 8)
        kernel = 2 * round((9 * side / 28 - 1) / 2) + 1
        grid = (side - 2 * kernel + 1) // 2 + 1
        self.sharpness = sharpness
        self.trunk = Trunk(channels)
        self.conv = nn.Conv2d(channels[-1], channels[-1], kernel)
        self.primary = nn.Conv2d(channels[-1], types * PRIMARY, kernel, 2)
        self.classes = Routing(types * grid * grid, num_classes, rounds)
        if weights:
            _load(self.trunk, Path(weights))

    def forward(self, apex: Tensor) -> Tensor:
        """(B, 3, S, S), ImageNet-normalised -> logits (B, num_classes)."""
        return self.sharpness * self.capsules(apex).norm(dim=2)

    def capsules(self, apex: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, num_classes, 16), lengths below 1."""
        features = self.primary(torch.relu(self.conv(self.trunk(apex))))
        return self.classes(squash(features.permute(0, 2, 3, 1).reshape(len(apex), -1, PRIMARY)))


def squash(vectors: Tensor) -> Tensor:
    """Vectors in the last dimension, shortened from length n to n^2 / (1 + n^2)."""
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors * length / (1 + length**2)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride > 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut), BasicBlock(outputs, outputs))


def _load(trunk: Trunk, file: Path) -> None:
    if not file.is_file():
        raise MerBenchError(f"capsulenet: no file {file}; weights takes ResNet-18's state dict, or nothing")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        trunk.load_state_dict({name: state[name] for name in trunk.state_dict()})
    except Exception as error:
        what = f"capsulenet: {file} holds no ResNet-18 of width 1 in torchvision's layout ({type(error).__name__})"
        raise MerBenchError(f"{what}; save its state dict by torch.save") from error


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width / 8)) * 8


PUBLISHED = Recipe(
    epochs=30, batch_size=32, lr=1e-4, weight_decay=0.0, optimizer="adam", schedule="exponential", gamma=0.9,
    class_weights="balanced", flip=0.5, rotate=8.0, shift=8 / 224, colour=0.2,
)  # fmt: skip

BASELINE = Baseline(
    model=CapsuleNet,
    view="apex",
    recipe=PUBLISHED,
    small={"image_size": 32, "width": 0.125},
    paper=Paper(
        title="CapsuleNet for Micro-Expression Recognition",
        year=2019,
        url="https://doi.org/10.1109/FG.2019.8756544",
        licence="none",
        code="https://github.com/davidnvq/me_recognition",
        printed=(
            Printed("megc2019-3", "uf1", 0.6520, "oracle-epoch"),
            Printed("megc2019-3", "uar", 0.6506, "oracle-epoch"),
        ),
    ),
)
