"""Compiled training steps: what they change, what they leave alone, and when they are asked for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from torch import Tensor, nn

from mer_bench import catalog
from mer_bench.answering import commands, reproduce
from mer_bench.contracts import MerBenchError, Recipe, resolve
from mer_bench.training import batches, loso, probes, trainer
from mer_bench.training.probes import Compiling, Step
from mer_bench.training.trainer import Precision

RECIPE = Recipe(epochs=2, batch_size=8, lr=1e-2)
ROWS = (np.arange(20), np.arange(20, 23), np.arange(23, 26))
EAGER, COMPILED = Precision(), Precision(compiled=True)


class Small(nn.Module):
    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.mix, self.drop, self.number = nn.Linear(3, 3), nn.Dropout(0.3), number
        self.shapes: list[int] = []

    def forward(self, flow: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            self.shapes.append(len(flow))
        return torch.tanh(self.mix(self.drop(flow.mean((2, 3)) / 255))) + self.number


@pytest.fixture(scope="module")
def data() -> batches.Data:
    pictures = np.random.default_rng(0).integers(0, 256, (26, 6, 6, 3), np.uint8)
    return batches.load({"flow": pictures}, np.arange(26) % 3, np.zeros((26, 3), np.int64), "cpu")


def _fitted(data: batches.Data, precision: Precision, number: int = 0) -> tuple[trainer.Outcome, Small]:
    models: list[Small] = []

    def build() -> Small:
        models.append(Small(number))
        return models[-1]

    return trainer.fit(build, RECIPE, data, ROWS, 3, ("x",), precision), models[-1]


compiler = pytest.mark.skipif(trainer.lacks_compiler("cpu"), reason="no g++ or clang++")
SEEN_EAGER = [4, 3, 3] * 2
"""Of each epoch's batches of 8, 8 and 4 the last, and the clips that are scored."""


@compiler
def test_a_compiled_training_is_the_eager_one_but_for_rounding(data: batches.Data) -> None:
    (eager, _), (once, model), (again, _) = (_fitted(data, x) for x in (EAGER, COMPILED, COMPILED))
    assert list(once.state) == list(eager.state) == ["mix.weight", "mix.bias"]
    for name in eager.state:
        torch.testing.assert_close(once.state[name], eager.state[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(once.test, eager.test, rtol=1e-4)
    assert once.weights == again.weights and np.array_equal(once.validation, again.validation)
    assert model.shapes == SEEN_EAGER


@compiler
def test_what_was_compiled_for_earlier_folds_does_not_count(data: batches.Data) -> None:
    """A number that is not a weight is compiled in, so that each of these models is compiled anew."""
    with torch._dynamo.config.patch(recompile_limit=1):
        assert [_fitted(data, COMPILED, number)[1].shapes for number in range(3)] == [SEEN_EAGER] * 3


def test_without_a_compiler_nothing_is_compiled(data: batches.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.shutil, "which", lambda name: None)
    with pytest.raises(MerBenchError, match=r"install g\+\+"):
        _fitted(data, COMPILED)


def test_compiling_pays_where_it_saves_twice_what_it_costs() -> None:
    assert Compiling(60.0, 5.0, 0.02).pays(7_001, 2) and not Compiling(60.0, 5.0, 0.02).pays(6_999, 2)
    assert not Compiling(0.0, 0.0, -0.01).pays(1e9, 1)


def _in_turn(monkeypatch: pytest.MonkeyPatch, off: float = 0.0) -> list[tuple[str, bool]]:
    """Steps of invented clocks: an eager one takes 4 s, a compiled one first 60 s, of another model 8 s, and then 2."""
    asked: list[tuple[str, bool]] = []
    firsts = iter([("a", 9.0), ("b", 60.0), ("c", 8.0)])

    def stepper(*given: object) -> object:
        (name, first), compiled = next(firsts), given[-1].compiled  # type: ignore[attr-defined]
        times = itertools.chain([first], itertools.repeat(2.0 if compiled else 4.0))

        def step() -> Step:
            asked.append((name, compiled))
            return Step(next(times), 1.0 + off * compiled)

        return step

    monkeypatch.setattr(probes, "_stepper", stepper)
    return asked


def test_a_probe_of_compiling_takes_turns(data: batches.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _in_turn(monkeypatch)
    assert probes.compiling(Small, RECIPE, data, EAGER) == Compiling(52.0, 6.0, 2.0 / 8)
    assert asked == [("a", False), ("b", True)] * (1 + probes.FEWEST) + [("c", True)]
    assert probes.compiling(Small, replace(RECIPE, batch_size=27), data, EAGER) is None


def test_a_step_that_learns_something_else_compiled_is_not(
    data: batches.Data, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _in_turn(monkeypatch, off=0.1)
    assert probes.compiling(Small, RECIPE, data, EAGER) is None
    assert "its first losses would be 1.1 instead of 1" in caplog.text


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(
    data: batches.Data, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(model: nn.Module) -> None:
        model.compile(backend=lambda graph, inputs: 1 / 0)

    monkeypatch.setattr(trainer, "compile_steps", fails)
    assert probes.compiling(Small, RECIPE, data, EAGER) is None
    assert "not compiled, trained as it is: " in caplog.text and "division by zero" in caplog.text


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A method's file, beside the toy corpus."""
    toy.install(monkeypatch, toy.corpus(signal=60, sizes=(6, 5, 4)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    (tmp_path / "tiny.py").write_text(toy.MODEL)
    return str(tmp_path / "tiny.py")


def test_only_a_run_of_an_hour_is_asked_and_once(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = resolve(tiny, catalog.baseline(tiny), scale=toy.TASK.scale)
    answers: list[Compiling | None] = [None, Compiling(60.0, 1.0, 1.0)]
    monkeypatch.setattr(trainer.shutil, "which", lambda name: name)
    assert setting.recipe is not None
    hour = 3600 / (15 * setting.recipe.epochs)
    monkeypatch.setattr(probes, "probe", lambda *given: probes.Found(EAGER, hour / 8))
    monkeypatch.setattr(probes, "compiling", lambda *given: answers.pop(0))
    asked = [loso.probe("toy", setting, "cpu", trainings).compiled for trainings in (0, 7.9, 8.1, 8.1, 8.1, 7.9)]
    assert asked == [False, False, False, True, True, False] and not answers
    monkeypatch.setattr(trainer.shutil, "which", lambda name: None)
    assert not loso.probe("toy", setting, "cpu", 8.1).compiled


@compiler
def test_a_compiled_run_is_reproduced(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "HOUR", 0.0)
    monkeypatch.setattr(probes, "MARGIN", -1e9)
    run = commands.run(tiny, "toy", rules=("last",), workers=1, settings={"epochs": 2, "batch_size": 4})
    assert run.result.question["compiled"] is True
    again = reproduce.reproduce(run.run_id, workers=1)
    assert again.clips == 15 and not len(again.differing) and not again.changed
