import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from mer_bench import catalog
from mer_bench.contracts import Dataset, MerBenchError, UsageError
from mer_bench.pixels import cache

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    return tmp_path / "home"


def slow_build(folder: Path) -> None:
    with (folder.parent.parent / "log").open("a") as log:
        log.write("built\n")
    time.sleep(0.3)
    (folder / "a.txt").write_text("whole")


def publish_slowly(folder: Path) -> None:
    cache.publish(folder, slow_build)


def hang(folder: Path) -> None:
    def build(staged: Path) -> None:
        (staged / "half").write_text("half")
        (folder.parent / "started").touch()
        time.sleep(60)

    cache.publish(folder, build)


def test_publish_makes_a_folder_once_and_whole(tmp_path: Path) -> None:
    seen = []

    def build(staged: Path) -> None:
        seen.append(staged)
        (staged / "deep").mkdir()
        (staged / "deep" / "x").write_text("1")

    folder = tmp_path / "sub" / "thing"
    assert cache.publish(folder, build) == folder == cache.publish(folder, build)
    assert (folder / "deep" / "x").read_text() == "1"
    assert len(seen) == 1 and seen[0] != folder


def test_a_failed_build_passes_its_error_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(staged: Path) -> None:
        (staged / "half").write_text("half")
        raise MerBenchError("no such frame")

    with pytest.raises(MerBenchError, match="no such frame"):
        cache.publish(tmp_path / "thing", fail)
    assert [p.name for p in tmp_path.iterdir()] == [".thing.lock"]
    assert cache.publish(tmp_path / "thing", lambda staged: None).is_dir()


def test_of_many_writers_of_a_new_file_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "note"
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(lambda n: cache.write_new(path, str(n)), range(40)))
    assert wrote.count(True) == 1 and path.read_text() == str(wrote.index(True))
    assert [p.name for p in path.parent.iterdir()] == ["note"]


def test_two_processes_build_once(tmp_path: Path) -> None:
    workers = [SPAWN.Process(target=publish_slowly, args=(tmp_path / "thing",)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"
    assert (tmp_path / "thing" / "a.txt").read_text() == "whole"


def test_a_killed_process_leaves_no_lock_and_its_rubbish_is_swept(tmp_path: Path) -> None:
    worker = SPAWN.Process(target=hang, args=(tmp_path / "thing",))
    worker.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(10)
    assert list(tmp_path.glob(".writing-*")) and not (tmp_path / "thing").exists()
    cache.publish(tmp_path / "thing", lambda staged: None)
    assert not list(tmp_path.glob(".writing-*"))


def test_home_is_where_the_environment_says(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.home() == own_home
    monkeypatch.delenv("MER_BENCH_HOME")
    assert cache.home() == Path("~/.cache/mer-bench").expanduser()


def test_key_depends_on_every_value_but_not_on_order() -> None:
    assert cache.key({"a": 1, "b": 2}) == cache.key({"b": 2, "a": 1}) != cache.key({"a": 1, "b": 3})
    with pytest.raises(TypeError):
        cache.key({"a": object()})


def test_a_corpus_is_found_as_added_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, added = tmp_path / "data" / "megc2019_flow", tmp_path / "elsewhere"
    listed.mkdir(parents=True)
    added.mkdir()
    monkeypatch.setenv("MER_BENCH_DATA", os.pathsep.join([str(tmp_path / "nothing"), str(tmp_path / "data")]))
    assert cache.root("megc2019_flow") == listed
    with pytest.raises(MerBenchError, match=r"\.csv is missing"):
        cache.add("megc2019_flow", added)
    sheet = added / "combined_3_class2_for_optical_flow.csv"
    sheet.write_text("dataset,sub,filename_o,label\n")
    assert cache.add("megc2019_flow", added) == added
    assert cache.root("megc2019_flow") == added
    sheet.unlink()
    added.rmdir()
    with pytest.raises(MerBenchError, match="mer-bench data add megc2019_flow PATH"):
        cache.root("megc2019_flow")


def test_a_missing_corpus_is_told_with_its_cure_and_licence() -> None:
    with pytest.raises(MerBenchError, match=r"mer-bench data add megc2019_flow PATH.*licence"):
        cache.root("megc2019_flow")


def test_add_refuses_unknown_names_and_paths(tmp_path: Path, own_home: Path) -> None:
    with pytest.raises(UsageError, match=r"known: .*megc2019_flow"):
        cache.add("megc2091", tmp_path)
    with pytest.raises(MerBenchError, match="is no folder"):
        cache.add("megc2019_flow", tmp_path / "nothing")
    assert not own_home.exists()


def test_a_damaged_registry_is_told(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "corpora.json").write_text("{")
    with pytest.raises(MerBenchError, match="damaged"):
        cache.registry()


def test_a_generated_corpus_is_made_once_for_each_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: Path, tick: object) -> None:
        assert callable(tick)
        tick(1, 1)
        (folder / "sheet.json").write_text(json.dumps(1))

    drawn = Dataset(title="", read_annotations=lambda root: None, licence="", make=make, signature="one")  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(catalog, "dataset", lambda name: drawn)
    ticks = []
    first = cache.root("drawn", lambda *step: ticks.append(step))
    assert cache.root("drawn", lambda *step: ticks.append(step)) == first
    assert ticks == [(1, 1, "drawing drawn")] and (first / "sheet.json").is_file()
    drawn = replace(drawn, signature="two")
    assert cache.root("drawn") != first
