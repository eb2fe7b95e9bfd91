"""A remote MLflow: runs recorded through a real `mlflow server`, read back, and shown by its pages' interface."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from invented_results import measured, searched

from mer_bench.answering import commands
from mer_bench.records import tracking
from mer_bench.reports import pages

SECONDS = 120


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server of our own; it is ended by its process id."""
    folder = tmp_path_factory.mktemp("server")
    try:
        port = free_port()
    except OSError as error:
        pytest.skip(f"no local port can be bound: {error}")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "kept")]
    # runs are all that is asked of it; its seven processes for jobs would only take time to start
    off = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**os.environ, **off}
    environment.pop("MLFLOW_TRACKING_URI", None)
    log = (folder / "log").open("w")
    running = subprocess.Popen(
        [*command, *store], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        limit = time.monotonic() + SECONDS
        while not healthy(address):
            if running.poll() is not None or time.monotonic() > limit:
                pytest.fail(f"mlflow server did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.3)
        yield address
    finally:
        os.killpg(running.pid, 15)
        running.wait(30)
        log.close()


def healthy(address):
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as said:
            return said.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_runs_on_a_remote_server_make_the_same_report(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker = tracking.open()
    made = {}
    for found in (measured(), measured("ridge_flow", 0.8), searched(trials=6)):
        with tracker.run(found.model, found.kind, found.model, found.task, found.question) as run_id:
            for trial in found.evidence.trials if found.kind == "search" else ():
                state = "FAIL" if trial.error else "COMPLETE"
                tracker.trial(run_id, trial.number, trial.values, {"inner_uf1": trial.inner_uf1}, state, None)
            files = {"figures/a.svg": "<svg/>", "predictions/last.csv": "clip\n"}
            tracker.finish(run_id, found, None, files, {"mlflow.note.content": "**UF1**"})
        made[run_id] = found
    assert {f.run_id: f.result for f in tracker.results(page=2)} == made
    written = commands.report(tmp_path / "reports")
    assert "- ridge\\_flow against mmnet · 6 trials: " in written[0].read_text()
    assert not (tmp_path / "mlruns" / "mlflow.db").exists() and pages.TEMPLATES.is_dir()
    assert capsys.readouterr().out == ""  # --json owns stdout; MLflow likes to print addresses there
    # what the server's own pages show
    run_id = next(iter(made))
    with urllib.request.urlopen(f"{server}/api/2.0/mlflow/runs/get?run_id={run_id}") as said:
        run = json.load(said)["run"]["data"]
    assert {"last.uf1", "last.uf1.low", "oracle-epoch.uf1", "latency", "macs"} <= {m["key"] for m in run["metrics"]}
    assert {"setting.recipe.lr", "seeds"} <= {p["key"] for p in run["params"]}
    assert {t["key"]: t["value"] for t in run["tags"]}["mlflow.note.content"] == "**UF1**"
    with urllib.request.urlopen(f"{server}/api/2.0/mlflow/artifacts/list?run_id={run_id}&path=figures") as said:
        assert [f["path"] for f in json.load(said)["files"]] == ["figures/a.svg"]
