"""Ray, started on this machine or joined: where trials run, and folds when other machines help.

    no address      a Ray of our own, one worker a core, gone when the command ends
    --address       a running cluster; its nodes share the working folder, and each has Python and the corpora

Workers read inputs that their node has prepared once and write records to the shared folder; they open no database.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import processes
from mer_bench.contracts import MerBenchError
from mer_bench.processes import Item, Made
from mer_bench.records import provenance

OBJECT_STORE = 200 * 2**20
RETRIES = 10
PATIENCE = 20.0
"""Seconds that a cluster may take to answer."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_V2_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    # Ray's own memory of a search is never read: the record on disk is
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}
SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}


@dataclass(frozen=True)
class Cluster:
    """Where trials run.

    Attributes:
        workers: trials, or folds, at the same time; None for as many as a joined cluster has room for, now or later.
        address: of a running Ray cluster; None starts one on this machine.
        gpus_per_trial: share of a GPU that a trial takes; None divides this machine's among its workers, and takes a
            whole one on a cluster.
        device: cpu, cuda or mps.
    """

    workers: int | None
    address: str | None = None
    gpus_per_trial: float | None = None
    device: str = "cpu"

    @property
    def share(self) -> dict[str, float]:
        """What a trial takes."""
        if self.gpus_per_trial is None and self.device != "cuda":
            return {"cpu": 1}
        return {"cpu": 1, "gpu": self.gpus_per_trial or (1.0 if self.address else self._part())}

    def _part(self) -> float:
        return min(1.0, gpus() / (self.workers or 1))

    def spread(self, work: Callable[[Item], Made], items: Sequence[Item], doing: str) -> Iterator[Made]:
        """`work` over items on the cluster, as they are done; one that dies with its worker is done again.

        Raises:
            MerBenchError: workers died again and again, or a node has another mer-bench; or what `work` raises.
        """
        if not items:
            return
        with joined(self):
            if self.address:
                check_harness()
            import ray
            from ray.exceptions import RayError, RayTaskError

            share = {"num_cpus": self.share["cpu"], "num_gpus": self.share.get("gpu", 0)}
            task = ray.remote(work).options(max_retries=RETRIES, **share)
            rest = iter(items)
            running = [task.remote(item) for item in itertools.islice(rest, self.workers)]
            while running:
                (done,), running = ray.wait(running, num_returns=1)
                try:
                    yield ray.get(done)
                except RayTaskError as error:
                    raise error.cause from None
                except RayError as error:
                    raise MerBenchError(f"workers died again and again while {doing}: {_first_line(error)}") from None
                running += [task.remote(item) for item in itertools.islice(rest, 1)]


def gpus() -> int:
    """GPUs that torch finds on this machine."""
    import torch

    return torch.cuda.device_count()


@contextmanager
def joined(cluster: Cluster) -> Iterator[None]:
    """Connected to Ray: the caller's if there is one, the cluster at the address, or one of our own.

    Raises:
        MerBenchError: nothing answers at the address.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    environment = processes.calm()
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield
        return
    # Ray prints the deaths of nodes to stdout, which is for answers
    with redirect_stdout(sys.stderr):
        try:
            _join(cluster.address, environment) if cluster.address else _start(cluster)
            yield
        finally:
            ray.shutdown()


def check_shared(folder: Path) -> None:
    """Ask every node whether it sees a folder that this process sees.

    Raises:
        MerBenchError: one does not.
    """
    blind = [node for node, sees in _asked(os.path.isdir, str(folder)) if not sees]
    if blind:
        cure = "start the search in a folder that all nodes share"
        raise MerBenchError(f"{folder} is not seen on {', '.join(sorted(blind))}; {cure}")


def check_harness() -> None:
    """Ask every node whether it trains by the same harness as this process.

    Raises:
        MerBenchError: one does not.
    """
    other = [node for node, harness in _asked(provenance.harness) if harness != provenance.harness()]
    if other:
        cure = "install this one there: folds of two harnesses make no number"
        raise MerBenchError(f"{', '.join(sorted(other))} would train by another mer-bench; {cure}")


def _asked(work: Callable[..., Any], *about: str) -> list[tuple[str, Any]]:
    """(name of a node, what `work` says there), for every node that trains."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = {n["NodeID"]: n["NodeName"] for n in known if n["Alive"] and n["Resources"].get("CPU")}
    remote = ray.remote(num_cpus=0)(work)
    on = {n: remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(n, soft=True)) for n in nodes}
    answers = {n: there.remote(*about) for n, there in on.items()}
    return [(nodes[n], ray.get(answer)) for n, answer in answers.items()]


def _start(cluster: Cluster) -> None:
    """A Ray of our own: no dashboard, no log lines, little shared memory. `local`, or it would join one that runs."""
    import ray

    with _path():
        ray.init(
            "local",
            num_cpus=cluster.workers,
            num_gpus=gpus() if cluster.device == "cuda" else 0,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            **SILENT,
        )


def _join(address: str, environment: dict[str, str]) -> None:
    import ray

    try:
        host, _, port = address.rpartition(":")
        if port.isdigit():
            # Ray itself would ask for minutes
            socket.create_connection((host, int(port)), PATIENCE).close()
        ray.init(address, **SILENT, runtime_env={"env_vars": environment})
    except (OSError, ValueError, RuntimeError) as error:
        cure = "is it up, and does RAY_AUTH_MODE here agree with its nodes?"
        raise MerBenchError(f"no Ray cluster answers at {address} ({_first_line(error)}); {cure}") from None


@contextmanager
def _path() -> Iterator[None]:
    """Processes started now, and theirs, import what this one can: a `runtime_env` would start each worker twice."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
