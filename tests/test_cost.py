"""What a model costs, against counts by hand."""

import time

import pytest
import toy

from mer_bench import catalog
from mer_bench.contracts import resolve
from mer_bench.training import cost


@pytest.fixture
def place(tmp_path, monkeypatch):
    toy.install(monkeypatch, toy.corpus(signal=40))
    (tmp_path / "tiny.py").write_text(toy.MODEL)
    return tmp_path


def test_a_network_s_parameters_and_multiplications(place):
    name = str(place / "tiny.py")
    setting = resolve(name, catalog.baseline(name), pinned={"hidden": 5})
    found = cost.measure("toy", setting, "cpu")
    # a convolution 3 x 5 x 5 -> 5 with stride 3 on 28 pixels has 8 x 8 places; 2 x 2 pooled places into 3 classes
    assert found.parameters == (75 * 5 + 5) + 10 + (20 * 3 + 3)
    assert found.macs == 64 * 75 * 5 + 20 * 3
    assert 0 < found.latency < 1000


def test_a_model_with_a_fit_of_its_own_has_a_latency_alone(place):
    setting = resolve("ridge_flow", catalog.baseline("ridge_flow"))
    found = cost.measure("toy", setting, "cpu")
    assert (found.parameters, found.macs) == (None, None) and found.latency > 0


def test_a_slow_call_is_not_repeated_for_minutes(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    calls = []
    assert cost._median(lambda: calls.append(1)) == 1000
    assert len(calls) == cost.WARM + 1
