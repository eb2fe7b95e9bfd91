"""Clusters of this machine: nodes that die and join, devices, data prepared once a node, folds of a plain run."""

import json
import shutil

import crowd
import numpy as np
import pytest

from mer_bench.contracts import MerBenchError
from mer_bench.records import provenance
from mer_bench.searching import cluster
from mer_bench.training import fold

pytestmark = pytest.mark.chaos
SEARCH = ("search", "small.py", "--task", "specks-3", "--sampler", "qmc", "--json", "--no-refit")


def on(place):
    """Nodes that trained something."""
    return {said["RAY_RAYLET_PID"] for lines in crowd.notes(place).values() for said in lines}


def test_trials_run_on_both_nodes_one_dies_another_joins(place, monkeypatch):
    with crowd.cluster(monkeypatch, {"num_cpus": 1}, {"num_cpus": 1}) as found:
        first, second = sorted(found.worker_nodes, key=crowd.raylet)
        names = {crowd.raylet(first), crowd.raylet(second)}
        driver = crowd.command(*SEARCH, "--trials", 6, "--address", found.address)
        crowd.until(lambda: on(place) == names or driver.poll() is not None)
        assert on(place) == names
        crowd.kill_node(found, first, place)
        third = found.add_node(num_cpus=1)
        said = crowd.answer(driver)
        assert crowd.raylet(third) in on(place), "a node that joins takes trials"
    assert said["trials"] == 6
    assert not [end for end in crowd.audit(crowd.study_folder(place), 6) if end["state"] != "COMPLETE"]
    assert crowd.recorded(place) == [(number, "FINISHED") for number in range(6)]
    for said in (line for lines in crowd.notes(place).values() for line in lines):
        assert not said["mlflow"], "workers open no database"
        assert (said["OMP_NUM_THREADS"], said["OMP_WAIT_POLICY"], said["MALLOC_ARENA_MAX"]) == ("1", "PASSIVE", "1")


@pytest.mark.parametrize("devices, share, seen", [(4, 1, {"0", "1", "2", "3"}), (1, 0.25, {"0"})])
def test_four_trials_have_a_device_each_or_share_one(place, monkeypatch, devices, share, seen):
    """The devices are made up: Ray hands them out all the same, by CUDA_VISIBLE_DEVICES."""
    with crowd.cluster(monkeypatch, {"num_cpus": 4, "num_gpus": devices}) as found:
        options = ("--trials", 4, "--address", found.address, "--gpus-per-trial", share, "--trials-in-flight", 4)
        driver = crowd.command(*SEARCH, *options)
        crowd.until(lambda: len(crowd.workers(place)) == 4 or driver.poll() is not None)
        saw = [crowd.notes(place)[pid][-1]["CUDA_VISIBLE_DEVICES"] for pid in crowd.workers(place)]
        assert len(saw) == 4 and set(saw) == seen
        crowd.answer(driver)
    crowd.audit(crowd.study_folder(place), 4)


def test_data_are_prepared_once_a_node(place, monkeypatch):
    homes = [place / f"home-{i}" for i in range(2)]
    for home in homes:
        (home / "datasets").mkdir(parents=True)
        (home / "datasets" / "specks.py").write_text((place / "home" / "datasets" / "specks.py").read_text())
    nodes = [{"num_cpus": 2, "env_vars": {"MER_BENCH_HOME": str(home)}} for home in homes]
    with crowd.cluster(monkeypatch, *nodes) as found:
        crowd.answer(crowd.command(*SEARCH, "--trials", 4, "--address", found.address))
    made = (place / "log" / "made").read_text().split()
    assert sorted(made) == sorted(map(str, [place / "home", *homes])), "drawn once a node, with two workers each"
    for home in homes:
        assert len([p for p in (home / "inputs").iterdir() if not p.name.startswith(".")]) == 1
    assert isinstance(fold.view_of("specks-3", "flow@28").arrays["flow"], np.memmap)


def test_a_run_spreads_its_folds_over_nodes_and_says_the_same(place, monkeypatch):
    said = ("run", "small.py", "--task", "specks-3", "--seeds", 2, "--json")
    here = crowd.answer(crowd.command(*said, "--workers", 1))
    with crowd.cluster(monkeypatch, {"num_cpus": 1}, {"num_cpus": 1}) as found:
        there = crowd.answer(crowd.command(*said, "--address", found.address))
        assert on(place) == {crowd.raylet(node) for node in found.worker_nodes}
    assert there["rules"] == here["rules"]


def test_a_folder_that_nodes_do_not_share_is_told_before_anything_is_trained(place, monkeypatch):
    with crowd.cluster(monkeypatch, {"num_cpus": 1}) as found, cluster.joined(cluster.Cluster(None, found.address)):
        cluster.check_shared(place)
        cluster.check_harness()
        with pytest.raises(MerBenchError, match="is not seen on"):
            cluster.check_shared(place / "elsewhere")
        edited = shutil.copytree(provenance.HERE, place / "mer_bench")
        (edited / "splits.py").write_text("x = 1")
        monkeypatch.setattr(provenance, "HERE", edited)
        with pytest.raises(MerBenchError, match="would train by another mer-bench"):
            cluster.check_harness()


def test_an_address_where_nothing_answers_is_an_error_in_one_line(place):
    driver = crowd.command(*SEARCH, "--trials", 2, "--address", "127.0.0.1:1")
    assert driver.wait(120) == 1
    assert "no Ray cluster answers at 127.0.0.1:1" in (place / "driver.err").read_text().splitlines()[-1]


def test_what_is_recorded_of_a_search_is_what_it_said(place):
    said = crowd.answer(crowd.command(*SEARCH, "--trials", 2))
    assert json.loads((crowd.study_folder(place) / "study.json").read_text())["question"]["sampler"] == "qmc"
    assert said["effort"]["complete"] == 2
