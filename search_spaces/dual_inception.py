"""What a search may change in Dual-Inception: how it is trained, and its hidden layer.

Names are setting names. Sources: *script* is the authors' (Keras), *port* Off-TANet's, *practice* what others do on
small data. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Script: 1e-4 (5e-5 in its unused settings); port: 1e-3.
    trial.suggest_float("lr", 3e-5, 2e-3, log=True)
    # Script: 3 (100 in its unused settings); port: 64.
    trial.suggest_categorical("batch_size", [3, 16, 64, 128])
    # Script and port: 1024; smaller overfits less.
    trial.suggest_categorical("hidden", [128, 256, 512, 1024])
    # Script and port: none; .5 is OFF-ApexNet's, whose head is alike.
    trial.suggest_float("dropout", 0.0, 0.7)
    # The script asks for class weights, by a word that its library does not know.
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    # None of the following in either; practice.
    trial.suggest_float("weight_decay", 0.0, 0.01)
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
