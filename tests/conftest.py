"""The order of the tests."""

import pytest

LONGEST = (
    "test_search", "test_survival", "test_canary", "test_baselines", "test_cli", "test_run", "test_comparing",
    "test_spaces", "test_server",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the processes that share the files end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
