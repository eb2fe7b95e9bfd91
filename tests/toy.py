"""An invented corpus of random pictures, small enough to train on in a test; not a test itself."""

import numpy as np
import polars as pl

from mer_bench import catalog, clips
from mer_bench.contracts import Scale, Task
from mer_bench.pixels import inputs
from mer_bench.searching import control, trials
from mer_bench.training import fold

TASK = Task(
    corpora=("toy",),
    classes=("negative", "positive", "surprise"),
    class_map={"negative": "negative", "positive": "positive", "surprise": "surprise"},
    clips=0,
    subjects=0,
    scale=Scale(image_size=28),
)
SIZES = (7, 3, 9, 5, 6, 4, 8, 1)

MODEL = """
from torch import Tensor, nn

from mer_bench.contracts import Baseline, Recipe


class Tiny(nn.Module):
    def __init__(self, num_classes: int, *, hidden: int = 6, dropout: float = 0.2) -> None:
        super().__init__()
        layers = nn.Conv2d(3, hidden, 5, 3), nn.BatchNorm2d(hidden), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        self.net = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden * 4, num_classes))

    def forward(self, flow: Tensor) -> Tensor:
        return self.net(flow / 255)


def suggest(trial):
    trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    trial.suggest_categorical("hidden", [4, 6, 8])
    trial.suggest_categorical("class_weights", ["none", "balanced"])


BASELINE = Baseline(
    model=Tiny, view="flow@28", recipe=Recipe(epochs=4, batch_size=8, lr=1e-2, flip=0.5, shift=0.1), suggest=suggest
)
"""


def corpus(signal: float, sizes=SIZES, seed: int = 0) -> inputs.Inputs:
    """Clips of subjects of these sizes; `signal` is how much brighter a class's own corner is."""
    rng = np.random.default_rng(seed)
    subjects = [f"toy/{i:02d}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = rng.permutation(np.arange(len(subjects)) % 3)
    pictures = rng.normal(120, 30, (len(subjects), 28, 28, 3))
    for row, label in enumerate(labels):
        top, left = divmod(int(label), 2)
        pictures[row, top * 14 : top * 14 + 14, left * 14 : left * 14 + 14] += signal
    table = pl.DataFrame(
        {
            "clip": [f"{s}/{i:03d}" for i, s in enumerate(subjects)],
            "corpus": ["toy"] * len(subjects),
            "subject": subjects,
            "label": pl.Series(labels, dtype=pl.Int8),
        }
    )
    return inputs.Inputs(table, {"flow": pictures.clip(0, 255).astype(np.uint8)}, key="toy")


def relabelled(data: inputs.Inputs, subject: str) -> inputs.Inputs:
    """The same pictures with all of one subject's labels set to 0, everywhere: class counts change too."""
    moved = pl.when(pl.col("subject") == subject).then(0).otherwise(pl.col("label"))
    return inputs.Inputs(data.clips.with_columns(moved.cast(pl.Int8).alias("label")), data.arrays, key="toy")


def repainted(data: inputs.Inputs, subject: str) -> inputs.Inputs:
    """The same labels with one subject's pictures turned into bright noise."""
    flow = np.array(data.arrays["flow"])
    rows = (data.clips["subject"] == subject).to_numpy()
    flow[rows] = np.random.default_rng(9).integers(150, 256, flow[rows].shape, dtype=np.uint8)
    return inputs.Inputs(data.clips, {"flow": flow}, key="toy")


def install(monkeypatch, data: inputs.Inputs) -> None:
    """Make task `toy` known in this process."""
    known = catalog.task
    monkeypatch.setattr(catalog, "task", lambda name: TASK if name == "toy" else known(name))
    monkeypatch.setattr(inputs, "load", lambda task, view, tick=None: data)
    monkeypatch.setattr(clips, "check", lambda *args: None)
    fold.forget()


def settle(folder, monkeypatch, data):
    """A working folder with the model, a home and a store of its own, on this corpus."""
    (folder / "tiny.py").write_text(MODEL)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MER_BENCH_HOME", str(folder / "home"))
    install(monkeypatch, data)
    return folder


def in_this_process(study, cluster, on_end, budget=None):
    """`tune.search` without Ray and without racing."""
    brain = control.Control(study, on_end, budget)
    while (number := brain.next()) is not None:
        for place in range(len(study.folds)):
            trials.run_fold(study, number, place)
        trials.close(study, number, trials.COMPLETE)
        brain.end(number)
    return trials.everything(study)
