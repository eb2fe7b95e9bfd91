"""Tests that kill processes for minutes: `python -m pytest tests/chaos -m chaos -n 0 [--kills 30] [--trials 12]`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=30, help="how many processes or nodes are killed")
    parser.addoption("--trials", type=int, default=12, help="of the searches they are killed in; eight folds each")
    parser.addoption("--chaos-seed", type=int, default=0, help="of what is killed, and when")


def pytest_configure(config):
    config.addinivalue_line("markers", "chaos: kills processes for minutes; only run when asked for by -m chaos")


def pytest_collection_modifyitems(config, items):
    if "chaos" not in config.getoption("markexpr"):
        left = [item for item in items if item.get_closest_marker("chaos")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder whose workers pause a moment in each fold, so that a kill hits one."""
    import crowd

    return crowd.settle(tmp_path, monkeypatch, pause=0.5)
