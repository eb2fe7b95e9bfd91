"""MMNet: what moved between onset and apex, and where on the face it moved (Li, Sui, Zhu, Zhao 2022).

The main branch sees the difference apex - onset through four continuous-attention stages: each block weighs its
features with a spatial map, multiplied by the (pooled) map of the block before. The position branch is a shallow ViT
over the shrunken onset frame, whose tokens are added to the motion features. At the published size:

    apex - onset  (B,   3, 224, 224)
    stem          (B, 180, 112, 112) -> (B, 128, 112, 112)
    stages 1..4   (B, 128, 112, 112)  (B, 128, 56, 56)  (B, 256, 28, 28)  (B, 512, 14, 14)   maps (B, 1, h, w)
    onset 14 x 14 -> 196 tokens of 512 -> ViT -> (B, 512, 14, 14), added after stage 4
    logits        (B, num_classes) from all 100,352 values, no pooling

Written from facts about the public scripts (CASME2_5.py, CASME2_3.py), which carry no licence; parameters they create
and never use are not made: 9,438,841 are left with five classes. Not reproducible from them: the 3-class script's
`groups=2` on three channels, which raises. It has five outputs for its three classes; here there are as many as
classes. No script for SAMM and MMEW is public; that their printed numbers chose the epoch as the other two do is
inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Baseline, MerBenchError, Paper, Printed, Recipe, UsageError

STEM_CHANNELS = 180
STAGE_CHANNELS = (128, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
FEW = 2**18
"""Values of a feature map up to which torch's own gradient of a maximum is quicker."""
CHOICES: dict[str, tuple[str, ...]] = {
    "motion": ("difference", "flow"),
    "fusion": ("add", "concat", "gated", "none"),
    "map_pool": ("max", "avg"),
    "head": ("flatten", "gap"),
}


def summary(features: Tensor) -> Tensor:
    """Mean and maximum over channels, (B, C, h, w) -> (B, 2, h, w), at least float32."""
    # Channels last: the other layout is slow. At least float32: a bfloat16 mean is coarse, the gradient slow.
    values = features.permute(0, 2, 3, 1).to(torch.promote_types(features.dtype, torch.float32))
    return torch.cat([values.mean(3, keepdim=True), values.amax(3, keepdim=True)], 3).permute(0, 3, 1, 2)


class Summary(torch.autograd.Function):
    """`summary` with a gradient of its own: torch's of a maximum takes eight passes over the features, this one three.

    As there, channels that share the maximum share its gradient.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        """The summary; keeps the features and their maximum."""
        found = summary(features)
        ctx.save_for_backward(features, found[:, 1:])
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Each channel's share of both gradients."""
        features, most = ctx.saved_tensors
        values, most = features.permute(0, 2, 3, 1), most.permute(0, 2, 3, 1)
        of_mean, of_most = grads[0].permute(0, 2, 3, 1).split(1, 3)
        hit = torch.eq(values, most.to(values.dtype), out=torch.empty_like(values))
        of_most = of_most / hit.sum(3, keepdim=True, dtype=most.dtype)
        of_mean = of_mean / values.shape[3]
        return hit.mul_(of_most.to(values.dtype)).add_(of_mean.to(values.dtype)).permute(0, 3, 1, 2)


class Gate(nn.Module):
    """The spatial attention map of one block: sigmoid(BN(conv1x1([mean over channels; max over channels])))."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 1, h, w) in 0..1."""
        # on few values the call back into Python takes longer than the passes that it saves
        ours = features.numel() > FEW and not torch.compiler.is_compiling()  # a compiler joins the passes by itself
        seen = Summary.apply(features) if ours else summary(features)
        return torch.sigmoid(self.norm(self.mix(seen)))


class Block(nn.Module):
    """A continuous-attention block: a small residual block whose output is weighed by its map times the prior map."""

    def __init__(self, inputs: int, outputs: int, stride: int, attention: bool, prior: bool, map_pool: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.gate = Gate() if attention else None
        self.shortcut = (
            nn.Sequential()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        pools = {"max": nn.MaxPool2d(3, 2, 1), "avg": nn.AvgPool2d(3, 2, 1, count_include_pad=False)}
        self.pool = pools[map_pool] if stride == 2 else nn.Identity()
        self.prior = prior

    def forward(self, x: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features and prior map at the block before -> features and map at this one."""
        hidden = F.relu(self.bn1(self.conv1(x)), inplace=True)
        features = F.relu(self.bn2(self.conv2(hidden)) + self.shortcut(x), inplace=True)
        if self.gate is None:
            return features, None
        attention = self.gate(features)
        if prior is not None and self.prior:
            attention = attention * self.pool(prior)
        # in the features' format: the next convolution would round the product to it anyway
        return features * attention.to(features.dtype), attention


class Encoder(nn.Module):
    """A pre-norm transformer block: exact GELU, LayerNorm eps 1e-6, one qkv layer in the order q, k, v."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.heads, self.drop_path = heads, drop_path
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, dim) -> (B, N, dim)."""
        tokens = tokens + self._dropped(self._attend(self.norm1(tokens)))
        return tokens + self._dropped(self.fc2(F.gelu(self.fc1(self.norm2(tokens)))))

    def _attend(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if tokens.is_cpu:  # written out: torch's fused bfloat16 kernel is up to eight times slower on few tokens
            mixed = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(3) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _dropped(self, residual: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return residual
        keep = 1 - self.drop_path
        return residual * residual.new_empty(len(residual), 1, 1).bernoulli_(keep) / keep


class Position(nn.Module):
    """Position calibration: the face at grid x patch pixels, one token a patch, through a shallow ViT, meets motion.

    They meet by add (the paper), concat (1x1 convolution of both) or gated (added, weighed by a sigmoid of both).
    """

    def __init__(self, fusion: str, dim: int, grid: int, patch: int, drop_paths: list[float], heads: int, ratio: float):
        super().__init__()
        self.fusion, self.pixels = fusion, grid * patch
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.positions = nn.Parameter(torch.zeros(1, grid * grid, dim))
        self.blocks = nn.Sequential(*(Encoder(dim, heads, ratio, rate) for rate in drop_paths))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mix = nn.Conv2d(2 * dim, dim, 1) if fusion in ("concat", "gated") else None
        nn.init.trunc_normal_(self.positions, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, face: Tensor) -> Tensor:
        """Motion features (B, dim, grid, grid) and picture (B, 3, H, W) -> fused (B, dim, grid, grid)."""
        place = self.tokens(face).transpose(1, 2).reshape(features.shape)
        if self.mix is None:
            return features + place
        mixed = self.mix(torch.cat([features, place], 1))
        return mixed if self.fusion == "concat" else features + torch.sigmoid(mixed) * place

    def tokens(self, face: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, grid * grid, dim), row by row."""
        # torchvision antialiases by default since 0.17 only, and the scripts pin no version: what the published runs
        # saw is not known. Pinned here, because the 14-pixel face depends on it.
        size = (self.pixels, self.pixels)
        face = F.interpolate(face, size, mode="bilinear", align_corners=False, antialias=True)
        return self.norm(self.blocks(self.patch(face).flatten(2).transpose(1, 2) + self.positions))


class Trunk(nn.Module):
    """Both branches and the classifier, for any three-channel picture of the motion."""

    def __init__(
        self, image_size: int, stem: nn.Module, stages: nn.ModuleList, position: Position | None,
        fusion_after: int, head: nn.Module,
    ) -> None:  # fmt: skip
        super().__init__()
        self.image_size, self.fusion_after = image_size, fusion_after
        self.stem, self.stages, self.position, self.head = stem, stages, position, head
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, motion: Tensor, face: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Two (B, 3, S, S) -> logits (B, num_classes) and the attention map of every block."""
        if motion.shape[-2:] != (self.image_size, self.image_size):
            shape = "x".join(map(str, motion.shape[-2:]))
            raise MerBenchError(f"mmnet is built for {self.image_size} pixels and was shown {shape}; set image_size")
        maps: list[Tensor] = []
        features, attention = self.stem(motion), None
        for number, stage in enumerate(self.stages, 1):
            for block in stage:  # type: ignore[attr-defined]
                features, attention = block(features, attention)
                maps += [] if attention is None else [attention]
            if self.position is not None and number == self.fusion_after:
                features = self.position(features, face)
        return self.head(features), maps


class MMNet(nn.Module):
    """The published input: motion is apex - onset, and the position branch sees the onset."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, onset: Tensor, apex: Tensor) -> Tensor:
        """Two (B, 3, S, S), ImageNet-normalised -> logits (B, num_classes)."""
        return self.trunk(apex - onset, onset)[0]

    def attention_maps(self, onset: Tensor, apex: Tensor) -> list[Tensor]:
        """The map (B, 1, h, w) of every block, prior included; empty if built with `attention=False`."""
        return self.trunk(apex - onset, onset)[1]


class FlowMMNet(nn.Module):
    """Motion is a picture of optical flow (u, v, strain), which the position branch, if there is one, sees too."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..255 -> logits (B, num_classes)."""
        return self._trunk(flow)[0]

    def attention_maps(self, flow: Tensor) -> list[Tensor]:
        """The map (B, 1, h, w) of every block, prior included; empty if built with `attention=False`."""
        return self._trunk(flow)[1]

    def _trunk(self, flow: Tensor) -> tuple[Tensor, list[Tensor]]:
        motion = flow / 127.5 - 1
        return self.trunk(motion, motion)


def mmnet(
    num_classes: int, *, image_size: int = 224, width: float = 1.0, motion: str = "difference",
    blocks: str = "1-1-1-1", attention: bool = True, prior: bool = True, map_pool: str = "max",
    fusion: str = "add", fusion_after: int = 4, patch_size: int = 1, pc_depth: int = 2, pc_heads: int = 4,
    pc_mlp_ratio: float = 4.0, pc_drop_path: float = 0.0, head: str = "flatten", dropout: float = 0.0,
) -> MMNet | FlowMMNet:  # fmt: skip
    """Build MMNet; the defaults are the published 5-class network.

    Args:
        num_classes: number of classes.
        image_size: side of the input in pixels.
        width: factor on every channel count, rounded to multiples of 16.
        motion: difference (apex - onset) or flow; decides the arguments of `forward`.
        blocks: number of blocks in each of the four stages.
        attention: whether blocks weigh their features at all.
        prior: whether a map is multiplied by the one before it ("continuous" attention).
        map_pool: max or avg, how the prior map is halved.
        fusion: add, concat, gated, or none (no position branch).
        fusion_after: stage, 1 to 4, after which the position tokens join.
        patch_size: pixels a token's side covers in the shrunken face.
        pc_depth: transformer blocks of the position branch.
        pc_heads: attention heads of the position branch.
        pc_mlp_ratio: hidden width of its MLPs, as a multiple.
        pc_drop_path: stochastic depth at its last block.
        head: flatten (one weight for each channel and place) or gap (averaged over places).
        dropout: before the classifier.

    Raises:
        UsageError: an unknown choice, or sizes that do not fit each other.
    """
    _known(motion=motion, fusion=fusion, map_pool=map_pool, head=head)
    _at_least_1(image_size=image_size, patch_size=patch_size, pc_heads=pc_heads, num_classes=num_classes)
    if not (0 <= dropout < 1 and 0 <= pc_drop_path < 1 and width > 0 and pc_depth >= 0):
        shares = f"dropout={dropout}, pc_drop_path={pc_drop_path}, width={width}, pc_depth={pc_depth}"
        raise UsageError(f"mmnet cannot be built with {shares}: shares are below 1 and nothing is negative")
    channels = [_scaled(count, width) for count in STAGE_CHANNELS]
    grids = _grids(image_size)
    position = None
    if fusion != "none":
        if not 1 <= fusion_after <= len(channels) or channels[fusion_after - 1] % pc_heads:
            where = f"fusion_after={fusion_after} with pc_heads={pc_heads}"
            raise UsageError(f"mmnet cannot build {where}: stages are 1 to 4, and heads must divide {channels}")
        dim, grid = channels[fusion_after - 1], grids[fusion_after - 1]
        # Stochastic depth rises linearly from 0 at the first block, as in timm.
        rates = [pc_drop_path * i / max(pc_depth - 1, 1) for i in range(pc_depth)]
        position = Position(fusion, dim, grid, patch_size, rates, pc_heads, pc_mlp_ratio)
    stem = _scaled(STEM_CHANNELS, width)
    pooling: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if head == "gap" else []
    values = channels[-1] if head == "gap" else channels[-1] * grids[-1] ** 2
    trunk = Trunk(
        image_size,
        nn.Sequential(*_convolution(3, stem, 2), *_convolution(stem, channels[0], 1)),
        _stages(channels, _counts(blocks), partial(Block, attention=attention, prior=prior, map_pool=map_pool)),
        position,
        fusion_after,
        nn.Sequential(*pooling, nn.Flatten(), nn.Dropout(dropout), nn.Linear(values, num_classes)),
    )
    return MMNet(trunk) if motion == "difference" else FlowMMNet(trunk)


def _known(**options: str) -> None:
    for name, value in options.items():
        if value not in CHOICES[name]:
            raise UsageError(f"mmnet has no {name}={value!r}; one of {', '.join(CHOICES[name])}")


def _at_least_1(**options: int) -> None:
    for name, whole in options.items():
        if whole < 1:
            raise UsageError(f"mmnet needs {name} of at least 1, not {whole}")


def _stages(channels: list[int], counts: list[int], block: Callable[[int, int, int], Block]) -> nn.ModuleList:
    stages = nn.ModuleList()
    for (before, after), stride, count in zip(pairwise([channels[0], *channels]), STAGE_STRIDES, counts, strict=True):
        stages.append(
            nn.ModuleList([block(before, after, stride), *(block(after, after, 1) for _ in range(count - 1))])
        )
    return stages


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _counts(blocks: str) -> list[int]:
    counts = [int(part) for part in blocks.split("-") if part.isdecimal()]
    if len(counts) != len(STAGE_CHANNELS) or min(counts) < 1 or "-".join(map(str, counts)) != blocks:
        raise UsageError(f"mmnet's blocks={blocks!r} should be one count for each of four stages, like '1-1-2-2'")
    return counts


def _grids(image_size: int) -> list[int]:
    """Side of each stage's feature map; a 3-wide kernel with stride 2 and padding 1 rounds the half up."""
    side = (image_size + 1) // 2
    return [side := (side + stride - 1) // stride for stride in STAGE_STRIDES]


def _scaled(channels: int, width: float) -> int:
    # Counts that are no multiple of 16 make batch norm's gradient five times slower on a CPU.
    return channels if width == 1 else max(1, round(channels * width / 16)) * 16


def _view(options: Mapping[str, Any]) -> str:
    return "flow" if options["motion"] == "flow" else "onset_apex"


FIVE_CLASS = Recipe(
    epochs=74, batch_size=32, lr=8e-4, weight_decay=0.6, schedule="exponential", gamma=0.987, decay_epochs=50,
    flip=0.5, rotate=3.0, shift=15 / 224, jitter=0.15,
)  # fmt: skip
# The 3-class script draws the onset from .2 and the apex from .15 of a quarter; a recipe has one share, the larger.
THREE_CLASS = {
    "pc_depth": 3, "pc_mlp_ratio": 2.0, "pc_drop_path": 0.3, "epochs": 99, "batch_size": 24, "weight_decay": 0.7,
    "rotate": 4.0, "shift": 4 / 224, "jitter": 0.2, "jitter_after_apex": True,
}  # fmt: skip
PRINTED = (
    ("casme2-3-mmnet", 0.9551, 0.9494),
    ("casme2-5-mmnet", 0.8835, 0.8676),
    ("mmew-4", 0.8745, 0.8635),
    ("samm-3", 0.9022, 0.8391),
)

BASELINE = Baseline(
    model=mmnet,
    view=_view,
    recipe=FIVE_CLASS,
    presets={
        "paper-5class": {f.name: getattr(FIVE_CLASS, f.name) for f in fields(Recipe)},
        "paper-3class": {f.name: getattr(FIVE_CLASS, f.name) for f in fields(Recipe)} | THREE_CLASS,
        "no-prior": {"prior": False},
        "no-attention": {"attention": False},
        "no-pc": {"fusion": "none"},
        "gap": {"head": "gap"},
        "flow": {"motion": "flow", "fusion": "none", "jitter": 0.0},
    },
    small={"image_size": 32, "width": 0.125},
    paper=Paper(
        title="MMNet: Muscle Motion-Guided Network for Micro-Expression Recognition",
        year=2022,
        url="https://arxiv.org/abs/2201.05297",
        licence="none",
        code="https://github.com/muse1998/MMNet",
        printed=tuple(
            Printed(task, metric, value, "oracle-mmnet")
            for task, accuracy, f1 in PRINTED
            for metric, value in (("accuracy", accuracy), ("uf1", f1))
        ),
    ),
)
