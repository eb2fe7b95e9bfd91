"""Where trials run, without Ray: shares of devices, work handed to a pool. With Ray: test_search and `chaos`."""

import pytest

from mer_bench import processes
from mer_bench.answering import commands
from mer_bench.searching import cluster
from mer_bench.searching.cluster import Cluster
from mer_bench.training import loso


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        (Cluster(2), {"cpu": 1}),
        (Cluster(8, device="cuda"), {"cpu": 1, "gpu": 0.25}),
        (Cluster(1, device="cuda"), {"cpu": 1, "gpu": 1.0}),
        (Cluster(None, "head:6379"), {"cpu": 1}),
        (Cluster(None, "head:6379", device="cuda"), {"cpu": 1, "gpu": 1.0}),
        (Cluster(None, "head:6379", 0.25, "cuda"), {"cpu": 1, "gpu": 0.25}),
    ],
    ids=["no device", "two among eight", "no more than one", "elsewhere", "a whole one elsewhere", "as asked"],
)
def test_what_a_trial_takes(monkeypatch, asked, share):
    monkeypatch.setattr(cluster, "gpus", lambda: 2)
    assert asked.share == share


class Pool:
    """Workers elsewhere, backwards."""

    def spread(self, work, items, doing):
        assert doing == "training"
        return map(work, reversed(items))


def test_a_pool_gets_the_work_as_it_is():
    assert list(processes.spread(str, [1, 2, 3], Pool(), "training")) == ["3", "2", "1"]


def test_folds_go_to_the_pool_whatever_the_model(monkeypatch):
    monkeypatch.setattr(loso, "train", lambda training: training)
    assert list(loso._spread([], Pool())) == []


def test_a_run_asks_for_the_cluster_at_the_address(monkeypatch):
    seen = []

    def prepare(command):
        seen.append(command.address)
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "prepare", prepare)
    with pytest.raises(KeyboardInterrupt):
        commands.run("majority", address="head:6379")
    assert seen == ["head:6379"]


def test_nothing_to_do_joins_nothing():
    assert list(Cluster(None, "nowhere:1").spread(str, [], "training")) == []


def test_workers_of_any_kind_have_the_environment_that_the_caller_did_not_set(monkeypatch):
    for name in processes.ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert processes.calm() == {**processes.ENVIRONMENT, "OMP_NUM_THREADS": "3"}
