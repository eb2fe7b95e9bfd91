"""The order of the tests, and what their processes start with."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from mer_bench import processes

LONGEST = (
    "test_search", "test_survival", "test_canary", "test_baselines", "test_cli", "test_run", "test_comparing",
    "test_spaces", "test_server",
)  # fmt: skip

# three processes share the tests (two leave a tenth of two cores idle), and each library in them would start as many
# threads as there are cores
processes.calm()
# Ray's workers give way to everything else by default; beside other tests they would stand still
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# an example that waits for a busy machine is not wrong
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the processes that share the files end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def stores(tmp_path_factory):
    """A new store is a copy of an empty one: MLflow takes most of a second to make one. `test_tracking` lets it."""
    from mer_bench.records import tracking

    empty, known = tmp_path_factory.mktemp("store") / "mlflow.db", tracking.open

    def opened(uri=None):
        place = Path.cwd() / "mlruns" / "mlflow.db"
        if uri is None and "MLFLOW_TRACKING_URI" not in os.environ and not place.exists():
            with suppress(OSError):  # a place that cannot be written is for `open` to tell
                copied(place)
        return known(uri)

    def copied(place):
        if not empty.exists():
            from mlflow import MlflowClient

            MlflowClient(f"sqlite:///{empty}")
        place.parent.mkdir(exist_ok=True)
        part = place.with_name(f"{os.getpid()}.db")
        shutil.copy(empty, part)
        part.rename(place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "open", opened)
        yield
