"""Searches by drivers of their own on clusters of this machine, and what it takes to kill parts of them; not a test.

The model notes, each time a worker builds it: the node (its raylet's process), the devices it sees, whether MLflow is
loaded, and the environment that workers should have. The notes lie in `$CROWD_LOG`, one file a worker process.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import specks

from mer_bench import predictions
from mer_bench.contracts import Scale, Setting
from mer_bench.searching import studies
from mer_bench.searching.space import Space
from mer_bench.training import fold

HERE = Path(__file__).resolve().parent
FOLDS = [f"specks/{i:02d}" for i in range(len(specks.SIZES))]
ILL = ("no", "raises", "memory", "nan", "hangs", "holds", "dies")

MODEL = """
import json
import os
import re
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe

SEEN = ("RAY_RAYLET_PID", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MALLOC_ARENA_MAX")


def note():
    if "RAY_RAYLET_PID" in os.environ:
        said = {name: os.environ.get(name, "") for name in SEEN} | {"mlflow": "mlflow" in sys.modules}
        with (Path(os.environ["CROWD_LOG"]) / str(os.getpid())).open("a") as log:
            log.write(json.dumps(said) + chr(10))


class Small(nn.Module):
    def __init__(self, num_classes: int, *, hidden: int = 4, ill: str = "no"):
        super().__init__()
        note()
        self.ill = ill
        layers = nn.Conv2d(3, hidden, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2)
        self.net = nn.Sequential(*layers, nn.Linear(hidden * 4, num_classes))
        time.sleep(float(os.environ["CROWD_PAUSE"]) * ("RAY_RAYLET_PID" in os.environ))

    def forward(self, flow: Tensor) -> Tensor:
        if self.ill == "raises":
            raise RuntimeError("a layer of 7 channels was given 3")
        if self.ill == "memory":
            raise MemoryError
        if self.ill == "hangs":
            time.sleep(3600)
        if self.ill == "holds":
            re.match("(a+)+$", "a" * 64 + "b")
        if self.ill == "dies":
            os._exit(9)
        return self.net(flow / 255) * (torch.nan if self.ill == "nan" else 1)


def suggest(trial):
    trial.suggest_float("lr", 1e-6, 1e-1, log=True)
    trial.suggest_categorical("hidden", [4, 6, 8])
    trial.suggest_categorical("ill", ["no", "raises", "memory", "nan", "hangs", "holds", "dies"][: ILLS])


BASELINE = Baseline(model=Small, view="flow@28", recipe=Recipe(epochs=4, batch_size=8, lr=1e-2), suggest=suggest)
"""


def settle(folder, patch, pause=0.0, ills=1):
    """A working folder with the model and a home with the corpus, for this process and all that it starts."""
    home, log = folder / "home", folder / "log"
    (home / "datasets").mkdir(parents=True)
    log.mkdir()
    shutil.copy(HERE / "specks.py", home / "datasets" / "specks.py")
    (folder / "small.py").write_text(MODEL.replace("ILLS", str(ills)))
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    for name, value in {"MER_BENCH_HOME": home, "CROWD_LOG": log, "CROWD_PAUSE": pause, "PYTHONPATH": path}.items():
        patch.setenv(name, str(value))
    for name in ("MLFLOW_TRACKING_URI", "MER_BENCH_DATA", "RAY_ADDRESS"):
        patch.delenv(name, raising=False)
    patch.chdir(folder)
    return folder


@contextmanager
def cluster(patch, *nodes, head=0):
    """A Ray cluster of a head with so many processors and these nodes; nobody else's Ray finds it or is disturbed."""
    import ray
    from ray.cluster_utils import Cluster

    patch.setattr(ray._private.utils, "write_ray_address", lambda *args: None)
    # a dead node refuses at once; a busy machine's answers late, and is not to be thought dead for it
    patient = {"health_check_timeout_ms": 60000, "health_check_initial_delay_ms": 30000}
    head = {"num_cpus": head, "include_dashboard": False, "_system_config": patient}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        for node in nodes:
            found.add_node(**node)
        yield found
    finally:
        found.shutdown()


def raylet(node):
    """The process that is a node, as workers note it."""
    return str(node.all_processes["raylet"][0].process.pid)


def command(*words):
    """`mer-bench` in a process of its own; what it prints goes to files beside."""
    run = [sys.executable, "-c", "from mer_bench.door.cli import main; main()", *map(str, words)]
    with Path("driver.out").open("w") as out, Path("driver.err").open("a") as err:
        return subprocess.Popen(run, stdout=out, stderr=err)


def answer(driver):
    """What a command with --json said."""
    assert driver.wait(600) == 0, Path("driver.err").read_text()[-2000:]
    return json.loads(Path("driver.out").read_text())


def study_folder(place):
    """The one study below a working folder; None while there is none."""
    return next(iter((place / "mlruns" / "tables").glob("small.py-specks-3-*")), None)


def finished(folder):
    """Folds on record."""
    found = 0
    for trial in folder.glob("trial-*") if folder else ():
        end = trial / "ended.json"
        found += json.loads(end.read_text())["folds"] if end.is_file() else len(list(trial.glob("folds/*/pass.json")))
    return found


def notes(place):
    """Worker process -> what it noted."""
    files = (place / "log").iterdir()
    return {int(f.name): [json.loads(line) for line in f.read_text().splitlines()] for f in files if f.name.isdigit()}


def alive(pid):
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def workers(place):
    """Worker processes that run, each with its node; one whose first note is not written yet is none."""
    return {pid: said[-1]["RAY_RAYLET_PID"] for pid, said in sorted(notes(place).items()) if said and alive(pid)}


def kill(*pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def kill_node(found, node, place):
    """A machine is gone, all at once."""
    kill(*(pid for pid, on in workers(place).items() if on == raylet(node)))
    found.remove_node(node, allow_graceful=False)


def until(said, seconds=300.0):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def audit(folder, trials):
    """No fold lost, none doubled: on disk, and each trial once in MLflow's database. Returns the trials' ends."""
    names = [f"trial-{number:04d}" for number in range(trials)]
    assert sorted(p.name for p in folder.glob("trial-*")) == names
    ends = [json.loads((folder / name / "ended.json").read_text()) for name in names]
    for name, end in zip(names, ends, strict=True):
        if not (folder / name / "pass").exists():
            assert end["state"] == "FAIL"
            continue
        parts = predictions.record(folder / name / "pass")["folds"]
        trained = sorted((part["seed"], part["fold"]) for part in parts)
        assert len(trained) == len(set(trained)) == end["folds"], name
        assert end["state"] != "COMPLETE" or trained == [(0, fold) for fold in FOLDS], name
        whole = sorted({(part["seed"], part["fold"]) for part in parts if not part["diverged"]})
        for table in (predictions.VALIDATION, predictions.TEST):
            rows = pl.read_parquet(folder / name / "pass" / table)
            assert sorted(rows.select("seed", "fold").unique().rows()) == whole, name
            assert not rows.select(pl.struct(predictions.KEYS).is_duplicated().any()).item(), name
        assert not (folder / name / "folds").exists(), name
    assert not list(folder.glob("ray-*"))
    return ends


def recorded(place):
    """Trial number -> status of its run in MLflow's database, read without MLflow; a list, so that doubles show."""
    query = "select t.value, r.status from tags t join runs r using (run_uuid) where t.key = 'mer_bench.trial'"
    with sqlite3.connect(place / "mlruns" / "mlflow.db") as store:
        rows = store.execute(f"{query} and r.lifecycle_stage = 'active'").fetchall()
    return sorted((int(number), status) for number, status in rows)


def tables(folder):
    """Every table of a study's trials and refits, by name."""
    found = [*folder.glob("trial-*/pass/*.parquet"), *folder.glob("refit-*/*.parquet")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found)}


def again(folder, number):
    """Train a trial's folds anew, here, from what is on record; whether every table comes out the same."""
    question = json.loads((folder / "study.json").read_text())["question"]
    formats = {name: question[name] for name in ("bf16", "channels_last")}
    part = folder / f"trial-{number:04d}" / "pass"
    for done in predictions.record(part)["folds"]:
        setting = Setting.from_dict(done["setting"])
        found = fold.train(fold.Training("specks-3", setting, done["seed"], done["fold"], validation=True, **formats))
        for name in predictions.TABLES:
            kept = pl.read_parquet(part / name).filter(pl.col("fold") == done["fold"])
            if not kept.equals(found.tables[name].sort([k for k in predictions.KEYS if k in kept.columns])):
                return False
    return True


def study(place, trials, **changes):
    """A study of the model, for searches in this process."""
    order = studies.shuffled(FOLDS, 0)
    space, settings = Space(str(place / "small.py"), {}), {"sampler": "random", "trials": trials, "seed": 0, **changes}
    return studies.Study(space, "specks-3", Scale(image_size=28), folder=place / "study", folds=order, **settings)
