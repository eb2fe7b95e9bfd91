"""Compiled training steps: what they change, what they leave alone, and when they are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mer_bench.contracts import Recipe
from mer_bench.training import batches, probes, trainer
from mer_bench.training.probes import Compiling
from mer_bench.training.trainer import Precision

RECIPE = Recipe(epochs=2, batch_size=8, lr=1e-2)
ROWS = (np.arange(20), np.arange(20, 23), np.arange(23, 26))
EAGER, COMPILED = Precision(), Precision(compiled=True)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 3)
        self.shapes: list[int] = []

    def forward(self, flow: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            self.shapes.append(len(flow))
        return torch.tanh(self.mix(flow.mean((2, 3)) / 255))


@pytest.fixture(scope="module")
def data() -> batches.Data:
    pictures = np.random.default_rng(0).integers(0, 256, (26, 6, 6, 3), np.uint8)
    return batches.load({"flow": pictures}, np.arange(26) % 3, np.zeros((26, 3), np.int64), "cpu")


def _fitted(data: batches.Data, precision: Precision) -> tuple[trainer.Outcome, Small]:
    models: list[Small] = []
    with trainer.seeded("compiling"):
        outcome = trainer.fit(lambda: (models.append(Small()), models[-1])[1], RECIPE, data, ROWS, 3, ("x",), precision)
    return outcome, models[-1]


def test_a_compiled_training_is_the_eager_one_but_for_rounding(data: batches.Data) -> None:
    (eager, _), (once, model), (again, _) = (_fitted(data, x) for x in (EAGER, COMPILED, COMPILED))
    assert list(once.state) == list(eager.state) == ["mix.weight", "mix.bias"]
    for name in eager.state:
        torch.testing.assert_close(once.state[name], eager.state[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(once.test, eager.test, rtol=1e-4)
    assert once.weights == again.weights and np.array_equal(once.validation, again.validation)
    # of each epoch's batches of 8, 8 and 4 the last, and the clips that are scored
    assert model.shapes == [4, 3, 3] * 2


def test_compiling_pays_where_it_saves_twice_what_it_costs() -> None:
    assert Compiling(70.0, 0.02).pays(7_001) and not Compiling(70.0, 0.02).pays(6_999)
    assert not Compiling(0.0, -0.01).pays(1e9)


def test_a_probe_of_compiling_takes_turns(data: batches.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of invented clocks: an eager step takes 4 s, a compiled one 60 and then 2."""
    seconds = {False: iter([9.0, *[4.0] * 9]), True: iter([60.0, *[2.0] * 9])}
    asked: list[bool] = []

    def stepper(*given: object) -> object:
        compiled = given[-1].compiled  # type: ignore[attr-defined]
        return lambda: (asked.append(compiled), next(seconds[compiled]))[1]

    monkeypatch.setattr(probes, "_stepper", stepper)
    assert probes.compiling(Small, RECIPE, data, EAGER) == Compiling(58.0, 2.0 / 8)
    assert asked == [False, True] * (1 + probes.FEWEST)
    assert probes.compiling(Small, replace(RECIPE, batch_size=27), data, EAGER) is None
    monkeypatch.setattr(probes.shutil, "which", lambda name: None)
    assert probes.compiling(Small, RECIPE, data, EAGER) is None
