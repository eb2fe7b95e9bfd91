"""What a search may change in ResNet-18: how it is trained, on which motion, and how large its picture is.

Names are setting names. The network stays as it is; ranges are what others use to train it from scratch on small data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the default lies inside."""
    # As in MMNet's space: which picture of motion is better is not settled.
    trial.suggest_categorical("motion", ["flow", "difference"])
    # 224 as on ImageNet; smaller is cheaper and overfits less.
    trial.suggest_categorical("image_size", [112, 160, 224])
    # Practice on few clips; the network itself has none.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Practice: what learns from scratch within a few dozen epochs.
    trial.suggest_float("lr", 5e-5, 3e-3, log=True)
    # Practice: around the customary .05.
    trial.suggest_float("weight_decay", 1e-3, 0.3, log=True)
    # Practice: a fold has a hundred clips or a few hundred.
    trial.suggest_categorical("batch_size", [16, 32, 64])
    trial.suggest_categorical("schedule", ["constant", "cosine", "onecycle"])
    # Practice on few clips.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
