"""Layers that torch has too, but slower on a processor's core."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16
"""A share is rounded to so many steps: four random numbers come out of one 64-bit word."""


def dropout(values: Tensor, share: float, training: bool) -> Tensor:
    """Zero a random share of all values and scale the others, so that their mean stays.

    On a CPU torch draws a 32-bit number a value, one by one, which takes a seventh of STSTNet's training step; here a
    tenth of that. The share is rounded to a 65,536th; the values kept are scaled by what was rounded to.

    Args:
        values: any shape.
        share: 0..1.
        training: whether anything is dropped at all.
    """
    steps = round(share * LEVELS)
    if not training or values.device.type != "cpu" or not 0 < steps < LEVELS:
        return F.dropout(values, share, training)
    words = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    # 0 or 1 in place: a truth value takes longer to become a number
    kept = words.view(torch.int16)[: values.numel()].ge_(steps - LEVELS // 2)
    return values * kept.view(values.shape).to(values.dtype).mul_(LEVELS / (LEVELS - steps))


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` by `dropout`."""

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return dropout(values, self.p, self.training)
