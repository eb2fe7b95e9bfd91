"""How long does a report of 10,000 trials take, and how much memory?

    python tests/benchmarks/report_scale.py [FOLDER] [--studies 50] [--trials 200]

Writes so many studies of invented numbers through the tracking code itself (26 subjects, five classes, every trial a
child run, each rule's counts by subject), then runs `mer-bench report` on them in a process of its own and prints its
wall-clock seconds and largest resident memory. A FOLDER that holds the runs already is reported without writing again.
Target: 15 s, 2 GB. The studies have no folders, so the report does not weigh their knobs: a search does so at its end,
for its own page, and a report that finds a folder whose study was never weighed takes half a second more for it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from mer_bench import bootstrap, metrics
from mer_bench.records import scores, tracking
from mer_bench.records.evidence import Curve, Evidence, Trial

CLASSES = ("happiness", "surprise", "disgust", "repression", "others")
SIZES = (9, 13, 7, 5, 19, 5, 9, 3, 14, 14, 10, 12, 8, 4, 3, 4, 36, 3, 16, 11, 2, 2, 12, 7, 7, 17)
RULES = ("nested", "nested-no-refit", "shared", "shared-no-refit", "oracle-trial")
KNOBS = 15
PARTS = ("low", "high", "recall", "precision")


def score(rule: str, skill: float, rng: np.random.Generator) -> scores.RuleScore:
    """Counts of 26 invented subjects, and what they come to."""
    truth = np.random.default_rng(0)
    by_subject = {}
    for number, size in enumerate(SIZES, 1):
        labels = truth.choice(5, size, p=(0.13, 0.1, 0.25, 0.11, 0.41))
        said = np.where(rng.random(size) < skill, labels, rng.integers(0, 5, size))
        by_subject[f"casme2/{number:02d}"] = [metrics.confusion(labels, said, 5).tolist()]
    counts = np.array(list(by_subject.values()))
    pooled = counts.sum(0)
    interval = bootstrap.subject_bootstrap(counts, metrics.uf1, replicates=500, seed=1)
    f1, clips = metrics.f1_per_class(pooled).mean(0), pooled[0].sum(-1)
    return scores.RuleScore(
        uf1=float(f1.mean()), uar=float(metrics.uar(pooled).mean()), accuracy=float(metrics.accuracy(pooled).mean()),
        uf1_interval=(interval.low, interval.high), weighted_f1=0.5, mean_of_folds_f1=0.4,
        leaky=rule.startswith("oracle"), by_subject=by_subject,
        per_class={
            name: {"f1": float(f1[k]), **dict.fromkeys(PARTS, 0.5), "clips": int(clips[k])}
            for k, name in enumerate(CLASSES)
        },
    )  # fmt: skip


def study(number: int, trials: int) -> scores.Result:
    """An invented study."""
    rng = np.random.default_rng(number)
    tried = tuple(
        Trial(n, {f"knob_{k:02d}": float(rng.random()) for k in range(KNOBS)}, float(rng.uniform(0.3, 0.6)), 9.0)
        for n in range(trials)
    )
    folds = [f"casme2/{n:02d}" for n in range(1, 27)]
    record = Evidence(
        (Curve("validation UF1", (tuple(rng.uniform(0.3, 0.6, 30).tolist()),)),),
        tried,
        {rule: {fold: (int(rng.integers(trials)), 9) for fold in folds} for rule in ("nested", "shared")},
        0,
    )
    rules = {rule: score(rule, 0.35 + number / 200, rng) for rule in RULES}
    name = "mmnet" if number == 0 else f"model {number:02d}"
    return scores.Result(
        kind="search", model=name, setting_name="searched", task="casme2-5", task_version=1, task_sha256="invented",
        seeds=1, clips=sum(SIZES), subjects=26, folds_done=26, folds_total=26, trials=trials, strictness="strict",
        chance=dict.fromkeys(rules, 0.19), rules=rules, parameters=10_000 * (number + 1), seconds=3600.0, device="cpu",
        banner="INVENTED numbers: nothing was measured", question={"trials": trials, "number": number},
        macs=10**7 * (number + 1), latency=1.0 + number, evidence=record,
    )  # fmt: skip


def write(studies: int, trials: int) -> None:
    """Record the studies below the current folder."""
    tracker = tracking.open()
    for number in range(studies):
        made = replace(study(number, trials), seconds=60.0 * number)
        with tracker.run(made.model, "search", made.model, made.task, made.question) as run_id:
            for trial in made.evidence.trials if made.evidence else ():
                numbers = {"inner_uf1": trial.inner_uf1, "seconds": trial.seconds}
                tracker.trial(run_id, trial.number, trial.values, numbers, "COMPLETE", Path("/nowhere"))
            tracker.finish(run_id, made)
        print(f"{number + 1}/{studies} studies written", file=sys.stderr, flush=True)


def main() -> None:
    """Write, report, print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", nargs="?")
    asked.add_argument("--studies", type=int, default=50)
    asked.add_argument("--trials", type=int, default=200)
    words = asked.parse_args()
    folder = Path(words.folder or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    root = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    os.chdir(folder)
    if not (folder / "mlruns" / "mlflow.db").is_file():
        write(words.studies, words.trials)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from mer_bench.door.cli import main; main()", "report"], check=True, stdout=sys.stderr
    )
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    page = (folder / "reports" / "leaderboard.html").stat().st_size / 1e6
    said = {
        "trials": words.studies * words.trials,
        "seconds": round(seconds, 1),
        "GiB": round(memory, 2),
        "page_MB": round(page, 1),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
