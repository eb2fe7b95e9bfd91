"""The order of the tests, and what their processes start with."""

import os

import pytest

from mer_bench import processes

LONGEST = (
    "test_search", "test_survival", "test_canary", "test_baselines", "test_cli", "test_run", "test_comparing",
    "test_spaces", "test_server",
)  # fmt: skip

# two processes share the tests, and each library in them would start as many threads as there are cores
processes.calm()
# Ray's workers give way to everything else by default; beside other tests they would stand still
os.environ.setdefault("RAY_worker_niceness", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the processes that share the files end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
