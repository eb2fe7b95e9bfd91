"""What a search may change in any timm backbone (`timm:NAME`): how it is trained.

Names are setting names. Backbone, view, picture size and weights stay as asked: they are the question, and what sizes a
backbone can take differs between them. Ranges are what others use to train from scratch, or go on training, on small
data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the default lies inside."""
    # Practice on few clips; backbones themselves differ.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Practice: from what goes on training pretrained weights to what learns from scratch within a few dozen epochs.
    trial.suggest_float("lr", 1e-5, 3e-3, log=True)
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
