"""What a search may change in Micro-Attention: how it is trained, its width and the size of its pictures.

Names are setting names; sizes are those of the published scale. Sources: *port* is Off-TANet's, *practice* what others
do on small data. No corner costs more than the published network. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Port: SGD at 1e-3 for this network, Adam at 1e-4 or 1e-3 for others.
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        trial.suggest_float("momentum", 0.8, 0.95)
    trial.suggest_float("lr", 1e-4, 1e-2, log=True)
    # Port: a tenth every 10 epochs; .3 every 60 and .9 every 50 for others.
    if trial.suggest_categorical("schedule", ["step", "cosine", "constant"]) == "step":
        trial.suggest_float("gamma", 0.1, 0.9)
        trial.suggest_int("decay_epochs", 5, 30)
    # Port: 10, 64 for others.
    trial.suggest_categorical("batch_size", [10, 32, 64])
    # Port: 224; 112 is a quarter of its cost.
    trial.suggest_categorical("image_size", [112, 224])
    # Port: 1; smaller is cheaper and overfits less.
    trial.suggest_categorical("width", [0.25, 0.5, 1.0])
    # Port: .5.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Port: 5e-4.
    trial.suggest_float("weight_decay", 1e-5, 0.01, log=True)
    # None of the following; practice.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
