"""Random SIGKILLs of workers, drivers and nodes; then the study is what it would have been.

python -m pytest tests/chaos/test_kills.py -m chaos -n 0 --kills 30 --trials 12
"""

import shutil
import time

import crowd
import numpy as np
import pytest

pytestmark = pytest.mark.chaos
NODE = {"num_cpus": 1}


def words(trials, *more):
    return ("search", "small.py", "--task", "specks-3", "--trials", trials, "--json", *more)


def disturbed(found, place, kills, rng, folds, start):
    """Run a search of at least so many folds to its end under kills, spread over its folds; what was killed, in order.

    A fold that has died twice is left alone until it is on record: three deaths end a trial, which is meant.
    """
    driver, done, folder = start(), [], None

    def over():
        return driver.poll() is not None

    while True:
        # some folds pass while there is nobody to kill, so a third of them is kept in hand
        left = max(1, (2 * folds // 3 - crowd.finished(folder)) // (kills - len(done) + 1))
        target = crowd.finished(folder) + int(rng.integers(1, left + 1))
        while not over() and crowd.finished(folder) < target:
            time.sleep(0.02)
            folder = crowd.study_folder(place)
        if over():
            return done, crowd.answer(driver)
        time.sleep(rng.uniform(0, min(1.0, left / 4)))
        if len(done) == kills or twice_dead(folder) or not (victims := list(crowd.workers(place))):
            continue
        what = str(rng.choice(["worker", "driver", "node"]))
        if what == "worker":
            crowd.kill(int(rng.choice(victims)))
        elif what == "node":
            nodes = sorted(found.worker_nodes, key=crowd.raylet)
            crowd.kill_node(found, nodes[rng.integers(len(nodes))], place)
            found.add_node(**NODE)
        else:
            crowd.kill(driver.pid)
            driver.wait()
            driver = start("--resume")
        done.append(what)


def twice_dead(folder):
    notes = folder.glob("trial-*/folds/*.begun")
    return [n for n in notes if n.read_text().count(chr(10)) > 2 and not n.with_suffix("").is_dir()]


@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_a_search_survives(place, tmp_path_factory, monkeypatch, request, sampler):
    option = request.config.getoption
    kills, trials, rng = option("--kills"), option("--trials"), np.random.default_rng(option("--chaos-seed"))
    strict = sampler == "qmc"
    folds = trials * (len(crowd.FOLDS) if strict else 3)
    began = time.monotonic()
    with crowd.cluster(monkeypatch, NODE, NODE) as found:
        said = words(trials, "--sampler", sampler, "--address", found.address)
        killed, answer = disturbed(found, place, kills, rng, folds, lambda *more: crowd.command(*said, *more))
    print(f"\n{sampler}: {killed.count('worker')} workers, {killed.count('driver')} drivers, ", end="")
    print(f"{killed.count('node')} nodes killed in {time.monotonic() - began:.0f} s")
    assert len(killed) == kills, "the search was over before"
    folder = crowd.study_folder(place)
    ends = crowd.audit(folder, trials)
    assert not [end for end in ends if end["state"] == "FAIL"]
    assert [number for number, _ in crowd.recorded(place)] == list(range(trials))
    assert {status for _, status in crowd.recorded(place)} == {"FINISHED"}
    if strict:
        calm = crowd.settle(tmp_path_factory.mktemp("calm"), monkeypatch)
        # a busy machine's probe may choose another number format, which would be another question
        shutil.copytree(place / "home" / "probes", calm / "home" / "probes")
        undisturbed = crowd.answer(crowd.command(*words(trials, "--sampler", sampler)))
        assert crowd.tables(folder) == crowd.tables(crowd.study_folder(calm))
        assert answer["rules"] == undisturbed["rules"] and answer["strictness"] == "strict"
    for number in rng.choice(trials, min(5, trials), replace=False):
        assert crowd.again(folder, int(number)), number
