"""Worker processes: kept for several spreads, replaced when they die, idle when nobody asks any more."""

import os
import resource
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import crowd
import pytest

from mer_bench import processes
from mer_bench.contracts import MerBenchError


def who(item):
    return os.getpid()


def note(path):
    time.sleep(0.1)
    path.touch()


def die(item):
    os._exit(9)


def asked(pool):
    return set(processes.spread(who, range(8), pool, "asking"))


def test_kept_processes_serve_every_spread_and_stop_when_nobody_asks(tmp_path):
    with processes.kept(2) as pool:
        first, second = asked(pool), asked(pool)
        assert len(first | second) <= 2 and os.getpid() not in first | second
        list(islice(processes.spread(note, [tmp_path / str(n) for n in range(40)], pool, "noting"), 1))
        assert asked(pool) <= first | second or len(first | second) == 1
        assert len(list(tmp_path.iterdir())) < 10, "what had not begun was not begun"


def test_kept_processes_that_died_are_replaced():
    with processes.kept(2) as pool:
        first = asked(pool)
        with pytest.raises(MerBenchError, match="died while dying"):
            list(processes.spread(die, range(4), pool, "dying"))
        again = asked(pool)
        assert again and not again & first


def test_one_worker_is_this_process():
    with processes.kept(1) as pool:
        assert asked(pool) == {os.getpid()}


def wait_for_ever(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def test_they_end_when_the_process_that_started_them_is_killed(tmp_path):
    code = (
        "import sys, test_processes; from mer_bench import processes\n"
        "list(processes.spread(test_processes.wait_for_ever, [sys.argv[1]] * 2, 2, 'waiting'))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    crowd.until(lambda: len(list(tmp_path.iterdir())) == 2, 60)
    workers = [int(file.name) for file in tmp_path.iterdir()]
    assert all(crowd.alive(pid) for pid in workers)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    crowd.until(lambda: not any(crowd.alive(pid) for pid in workers), 30)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
@pytest.mark.parametrize("values", [2**20, 2**24], ids=["4 MB", "64 MB"])
def test_kept_pages_are_not_asked_for_again(values: int) -> None:
    """Page faults of taking and giving back four tensors of so many numbers, in processes of their own."""
    script = (
        "import resource, sys; import torch; from mer_bench import processes\n"
        "if sys.argv[1] == 'keep': processes.keep_pages()\n"
        f"def step(): return [torch.ones({values}) for _ in range(4)]\n"
        "for _ in range(5): step()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10): step()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )

    def faults(*, keep: bool, **around: str) -> int:
        words = [sys.executable, "-c", script, "keep" if keep else "leave"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
        return int(subprocess.run(words, env={**clean, **around}, capture_output=True, text=True, check=True).stdout)

    pages = 10 * 4 * 4 * values // resource.getpagesize()
    assert faults(keep=True) < pages / 20
    assert faults(keep=True, MALLOC_TRIM_THRESHOLD_="0", MALLOC_MMAP_THRESHOLD_="65536") > pages / 2, "as asked"
