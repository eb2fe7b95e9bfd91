"""Prepared arrays go on after a kill, and never with rows that were not on disk for good."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mer_bench.pixels import cache, stores

CLIPS = [f"c/1/{i}" for i in range(150)]
SETTINGS = {"view": "flow@4", "versions": [1, "x"]}


def clip(row):
    return {"a": np.full((2, 3), row, np.uint8), "b": np.full(4, 255 - row, np.uint8)}, row % 10 != 0


def make(first, stop=None, asked=None):
    if asked is not None:
        asked.append(first)
    for row in range(first, len(CLIPS)):
        if row == stop:
            raise KeyboardInterrupt
        yield clip(row)


def holds_all(folder, unfound):
    for name in ("a", "b"):
        wanted = np.stack([clip(row)[0][name] for row in range(len(CLIPS))])
        assert (np.load(folder / f"{name}.npy") == wanted).all()
    assert unfound == CLIPS[::10] and not (folder / stores.PROGRESS).exists()


def test_everything_is_written_in_one_go(tmp_path):
    ticks = []
    holds_all(tmp_path, stores.write(tmp_path, SETTINGS, CLIPS, make, ticks.append))
    assert ticks == list(range(1, 151))


@pytest.mark.parametrize(("stop", "again"), [(10, 0), (64, 64), (100, 64), (149, 128)])
def test_an_interrupted_preparation_goes_on_at_the_last_flush(tmp_path, stop, again):
    with pytest.raises(KeyboardInterrupt):
        stores.write(tmp_path, SETTINGS, CLIPS, lambda first: make(first, stop), lambda done: None)
    # what lies beyond the last flush is not trusted
    (half,) = tmp_path.glob("a.npy")
    array = np.lib.format.open_memmap(half, "r+")
    array[again:] = 77
    array.flush()
    asked = []
    holds_all(
        tmp_path, stores.write(tmp_path, SETTINGS, CLIPS, lambda first: make(first, None, asked), lambda done: None)
    )
    assert asked == [again]


@pytest.mark.parametrize("damage", ["other question", "broken record", "fewer rows", "no arrays"])
def test_progress_that_cannot_be_trusted_is_begun_anew(tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        stores.write(tmp_path, SETTINGS, CLIPS, lambda first: make(first, 100), lambda done: None)
    settings, record = SETTINGS, tmp_path / stores.PROGRESS
    if damage == "other question":
        settings = {**SETTINGS, "view": "flow@5"}
    elif damage == "broken record":
        record.write_text(record.read_text()[:30])
    elif damage == "fewer rows":
        np.save(tmp_path / "a.npy", np.zeros((3, 2, 3), np.uint8))
    else:
        for file in tmp_path.glob("*.npy"):
            file.unlink()
    asked = []
    holds_all(
        tmp_path, stores.write(tmp_path, settings, CLIPS, lambda first: make(first, None, asked), lambda done: None)
    )
    assert asked == [0]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_stores import CLIPS, SETTINGS, make
from mer_bench.pixels import cache, stores

def tick(done):
    if done == 100:
        os.kill(os.getpid(), signal.SIGKILL)

cache.publish(Path({place!r}), lambda folder: stores.write(folder, SETTINGS, CLIPS, make, tick), resume=True)
"""


def test_a_killed_process_leaves_no_entry_and_the_next_goes_on(tmp_path):
    place = tmp_path / "inputs" / "x"
    code = KILLED.format(tests=str(Path(__file__).parent), place=str(place))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not place.exists()
    assert json.loads((tmp_path / "inputs" / ".partial-x" / stores.PROGRESS).read_text())["done"] == 64
    asked, unfound = [], []
    cache.publish(
        place,
        lambda folder: unfound.extend(
            stores.write(folder, SETTINGS, CLIPS, lambda first: make(first, None, asked), lambda done: None)
        ),
        resume=True,
    )
    assert asked == [64]
    holds_all(place, unfound)
    assert not (tmp_path / "inputs" / ".partial-x").exists()
