"""STSTNet: three shallow streams over one 28-pixel flow picture (Liong, Gan, See, Khor, Huang 2019).

    flow     (B, 3, 28, 28)    horizontal, vertical, strain, 0..255
    streams  (B, 3 | 5 | 8, 10, 10)    conv 3x3 padding 2, ReLU, batch norm, max-pool 3, dropout
    joined   (B, 16, 10, 10) -> average-pool 2 -> (B, 16, 5, 5)
    logits   (B, num_classes)

Written from facts about the public python script, which carries no licence: 1,683 parameters with three classes (the
paper prints 1,670), convolutions padded by 2 (the paper says "same"), and pictures as OpenCV reads them, so channels
come strain, v, u; they are turned round inside, and the published weights (`conv1..3`, `bn1..3`, `fc`) fit. The recipe
is the paper's MATLAB code's, 500 epochs; the python script trains for 800 (preset `python-800`).

Its printed "UAR" of .7605 equals the *mean precision* of the log file in that repository to four digits; the same
442 predictions have a mean recall of .7186. Its UF1 of .7353 is confirmed by them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Paper, Printed, Recipe
from mer_bench.layers import dropout

STREAMS = (3, 5, 8)


class NormedPool(torch.autograd.Function):
    """Batch norm over the batch, max-pool 3 with stride 3 and padding 1, with a gradient of their own.

    A norm that scales by more than nothing keeps the order of a channel's values, so the maximum is taken first and a
    ninth of them normed. Backwards, the gradient through mean and variance is one straight line per channel over the
    values, the rest falls on the maxima. Torch's layers take twice as many passes over everything.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, h, w), scales above 0 and biases (C,) -> pooled, and mean and biased variance (C,) of the batch."""
        values = values.contiguous(memory_format=torch.channels_last)
        flat = values.permute(0, 2, 3, 1).flatten(0, 2)
        mean = flat.mean(0)
        # the diagonal of a product: torch's variance takes ten times as long
        variance = ((flat.T @ flat).diagonal() / len(flat) - mean * mean).clamp_min(0)
        inverse = torch.rsqrt(variance + eps)
        most, places = F.max_pool2d(values, 3, 3, 1, return_indices=True)
        ctx.save_for_backward(values, most, places, scale, mean, inverse)
        ctx.mark_non_differentiable(mean, variance)
        slope = scale * inverse
        return torch.addcmul(_plane(bias - mean * slope), most, _plane(slope)), mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of the first three."""
        values, most, places, scale, mean, inverse = ctx.saved_tensors
        grad, clips, channels = grads[0], *values.shape[:2]
        of_bias = grad.sum((0, 2, 3))
        of_scale = ((grad * most).sum((0, 2, 3)) - mean * of_bias) * inverse
        slope, count = scale * inverse, values.numel() // channels
        # batch norm: slope * (grad - of_bias / count - normed * of_scale / count), and grad is 0 but at the maxima
        rise = -slope * inverse * of_scale / count
        start = -slope * of_bias / count - mean * rise
        found = torch.addcmul(start, values.permute(0, 2, 3, 1), rise)
        # windows do not overlap, so what is written at a maximum is whole
        at_most, where = torch.addcmul(_plane(start), most, _plane(rise)).addcmul_(grad, _plane(slope)), (0, 2, 3, 1)
        places, at_most = (x.permute(where).flatten(1, 2) for x in (places, at_most))
        found.view(clips, -1, channels).scatter_(1, places, at_most)
        return found.permute(0, 3, 1, 2), of_scale, of_bias, None


def _plane(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


class STSTNet(nn.Module):
    """The network of the public python script.

    Args:
        num_classes: number of classes.
        dropout: after each stream's pooling.
    """

    def __init__(self, num_classes: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(3, filters, 3, padding=2) for filters in STREAMS)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(filters) for filters in STREAMS)
        self.fc = nn.Linear(sum(STREAMS) * 5 * 5, num_classes)
        self.dropout = dropout

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 3, 28, 28) in 0..255, channels u, v, strain -> logits (B, num_classes)."""
        # The streams see one picture, so their filters side by side are one convolution: half the time on a CPU, where
        # three filters cost what sixteen do. The filters are turned round instead of the pictures.
        filters = torch.cat([self.conv1.weight, self.conv2.weight, self.conv3.weight]).flip(1)
        biases = torch.cat([self.conv1.bias, self.conv2.bias, self.conv3.bias])  # type: ignore[list-item]
        mixed = F.relu(F.conv2d(flow, filters, biases, padding=2), inplace=True)
        joined = dropout(self._pooled(mixed), self.dropout, self.training)
        return self.fc(F.avg_pool2d(joined, 2).flatten(1))

    def _pooled(self, values: Tensor) -> Tensor:
        """The three batch norms as one, and pooling; each norm keeps its own running statistics."""
        norms = (self.bn1, self.bn2, self.bn3)
        scale, bias, mean, variance = (
            torch.cat([getattr(norm, name) for norm in norms])
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        momentum, eps = self.bn1.momentum, self.bn1.eps
        if self.training and values.device.type == "cpu" and values.dtype == scale.dtype and bool((scale > 0).all()):
            found, now, spread = NormedPool.apply(values, scale, bias, eps)
            count = values.numel() // values.shape[1]
            mean, variance = mean.lerp(now, momentum), variance.lerp(spread * count / (count - 1), momentum)
        else:
            found = F.batch_norm(values, mean, variance, scale, bias, self.training, momentum, eps)
            found = F.max_pool2d(found, 3, 3, 1)
        if self.training:
            for norm, one, other in zip(norms, mean.split(STREAMS), variance.split(STREAMS), strict=True):
                norm.running_mean.copy_(one)
                norm.running_var.copy_(other)
                norm.num_batches_tracked.add_(1)
        return found


BASELINE = Baseline(
    model=STSTNet,
    view="flow@28",
    recipe=Recipe(epochs=500, batch_size=256, lr=5e-5, weight_decay=0.0, optimizer="adam"),
    # The paper's MATLAB code trains for 500 epochs, the python script for 800.
    presets={"python-800": {"epochs": 800}},
    paper=Paper(
        title="Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition",
        year=2019,
        url="https://arxiv.org/abs/1902.03634",
        licence="none",
        code="https://github.com/christy1206/STSTNet",
        printed=(
            Printed("megc2019-3", "uf1", 0.7353, "last"),
            Printed("megc2019-3", "uar", 0.7605, "last"),
            Printed("megc2019-3", "accuracy", 0.7692, "last"),
        ),
        # counted from the repository's STSTNet_logfile.txt; its mean precision is what the paper prints as UAR
        confusions={"megc2019-3": ((219, 22, 9), (40, 62, 7), (21, 3, 59))},
    ),
)
