"""Three kills (a worker, the driver, a node) of one search on a cluster of two nodes; `chaos/` has thirty.

Drivers are forked from a process that has imported everything, which saves most of a driver's start.
"""

import multiprocessing
import os

import crowd
import pytest

NODE = {"num_cpus": 1}


def search(address, resume, environment):
    """A driver: the whole command, as `mer-bench search --address` gives it."""
    os.environ.update(environment)
    from mer_bench.answering import commands

    options = {"trials": 3, "sampler": "qmc", "rules": ("nested-no-refit",), "refit": False, "resume": resume}
    commands.search("small.py", "specks-3", address=address, **options)


@pytest.fixture(scope="module")
def drivers():
    """Starts drivers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["ray.tune", "mer_bench.answering.commands", "mer_bench.training.trainer", "optuna", "mlflow"]
    )

    def start(address, resume=False):
        driver = context.Process(target=search, args=(address, resume, dict(os.environ)))
        driver.start()
        return driver

    return start


def test_a_search_survives_its_workers_its_driver_and_a_node(tmp_path, monkeypatch, drivers):
    place = crowd.settle(tmp_path, monkeypatch, pause=0.3)
    with crowd.cluster(monkeypatch, NODE, head=1) as found:
        driver = drivers(found.address)

        def more(folds):
            target = crowd.finished(crowd.study_folder(place)) + folds
            crowd.until(lambda: crowd.finished(crowd.study_folder(place)) >= target or not driver.is_alive())
            assert driver.is_alive(), "the search was over, or failed, before everything was killed"

        more(1)
        crowd.kill(max(crowd.workers(place)))
        more(1)
        crowd.kill(driver.pid)
        driver.join()
        driver = drivers(found.address, resume=True)
        more(1)
        crowd.kill_node(found, max(found.worker_nodes, key=crowd.raylet), place)
        driver.join(300)
        assert driver.exitcode == 0
    folder = crowd.study_folder(place)
    assert [end["state"] for end in crowd.audit(folder, 3)] == ["COMPLETE"] * 3
    assert crowd.recorded(place) == [(number, "FINISHED") for number in range(3)]
    assert crowd.again(folder, 1), "folds trained before, between and after the kills are those of a calm search"
