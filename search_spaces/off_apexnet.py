"""What a search may change in OFF-ApexNet: how it is trained, and how wide its hidden layers are.

Names are setting names. Sources: *port* is Off-TANet's, *MEB* the other public script, *practice* what others do on
small data. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Port and MEB: 1e-4; up to a rate that learns in a few dozen epochs.
    trial.suggest_float("lr", 3e-5, 3e-3, log=True)
    # Port: 64; MEB: 32; STSTNet, its successor: 256.
    trial.suggest_categorical("batch_size", [32, 64, 256])
    # Port: 1024; smaller overfits less.
    trial.suggest_categorical("hidden", [128, 256, 512, 1024])
    # Port: no activation after a convolution; MEB: ReLU.
    trial.suggest_categorical("conv_relu", [True, False])
    # Port and MEB: .5.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Port: none; MEB: 1e-3.
    trial.suggest_float("weight_decay", 0.0, 0.01)
    # None of the following in either; practice.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
