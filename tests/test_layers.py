"""Our dropout against what dropout is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mer_bench.layers import Dropout, dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(400_001,), (64, 16, 20, 20)])
def test_a_share_is_dropped_and_the_mean_stays(share: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values = torch.ones(shape)
    found = dropout(values, share, True)
    kept = found != 0
    spread = (share * (1 - share) / values.numel()) ** 0.5
    assert abs(1 - kept.double().mean().item() - share) < 4 * spread
    assert found.shape == shape and abs(found.double().mean().item() - 1) < 4 * spread / (1 - share)
    torch.testing.assert_close(found[kept].unique(), torch.tensor([1 / (1 - share)]), rtol=2**-14, atol=0)


def test_neighbours_are_dropped_apart() -> None:
    """Four values share a random word; no two of eight in a row know of each other."""
    torch.manual_seed(1)
    kept = (dropout(torch.ones(80_000), 0.5, True) != 0).double().view(-1, 8)
    together = torch.corrcoef(kept.T) - torch.eye(8)
    assert together.abs().max() < 4 / len(kept) ** 0.5


def test_the_seed_decides_and_the_layout_does_not() -> None:
    pictures = torch.rand(4, 6, 5, 5)
    found = []
    for seed, laid in ((0, pictures), (0, pictures.contiguous(memory_format=torch.channels_last)), (1, pictures)):
        torch.manual_seed(seed)
        found.append(dropout(laid, 0.5, True))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_gradients_pass_what_was_kept() -> None:
    values = torch.rand(1000, dtype=torch.float64, requires_grad=True)
    found = dropout(values, 0.3, True)
    found.sum().backward()
    torch.testing.assert_close(values.grad * values, found)


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.4, 1.0])
def test_ends_and_evaluation(share: float) -> None:
    values = torch.rand(50)
    assert torch.equal(Dropout(share).eval()(values), values)
    if share != 0.4:
        assert torch.equal(Dropout(share).train()(values), F.dropout(values, share, True))


def test_half_precision_stays() -> None:
    assert dropout(torch.ones(9, dtype=torch.bfloat16), 0.5, True).dtype == torch.bfloat16
