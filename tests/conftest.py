"""The order of the tests."""

import pytest

LONGEST = ("test_search", "test_baselines", "test_cli", "test_run", "test_canary", "test_spaces", "test_server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the processes that share the files end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
