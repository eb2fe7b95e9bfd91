"""What a search may change in R3D-18: how it is trained, and how large it is.

Names are setting names. The paper is about actions in ordinary videos, so nothing here is a published micro-expression
setting; ranges are what others use on data this small. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the default setting lies inside."""
    # Practice: what learns from scratch within a few dozen epochs.
    trial.suggest_float("lr", 5e-5, 3e-3, log=True)
    # Practice: none, the customary .05, and more.
    trial.suggest_float("weight_decay", 0.0, 0.2)
    # Practice: a fold has a hundred clips or a few hundred.
    trial.suggest_categorical("batch_size", [8, 16, 32])
    trial.suggest_categorical("schedule", ["constant", "cosine", "onecycle"])
    # Practice on few clips.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    # Practice: MMNet's scripts turn by 3 and 4 degrees and shift by up to a fifteenth of the side.
    trial.suggest_float("rotate", 0.0, 5.0)
    trial.suggest_float("shift", 0.0, 0.1)
    # Paper: 112 and 1; no corner is dearer.
    trial.suggest_categorical("image_size", [56, 80, 112])
    trial.suggest_categorical("width", [0.25, 0.5, 1.0])
    trial.suggest_float("dropout", 0.0, 0.7)
    return None
