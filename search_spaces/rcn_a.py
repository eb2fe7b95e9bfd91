"""What a search may change in RCN-A: how it is trained, its width, its grid and its recurrence.

Names are setting names. Sources: *script* is the authors', *MEB* another benchmark's, *practice* what others do on
small data. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Script: SGD at 5e-4, Adam commented out; MEB: SGD at 1e-4 and 1e-2.
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        trial.suggest_float("momentum", 0.8, 0.95)
    trial.suggest_float("lr", 1e-4, 2e-2, log=True)
    # Script: constant, beside a decay that it makes and never uses.
    trial.suggest_categorical("schedule", ["constant", "cosine"])
    # Script: 64; MEB: 128.
    trial.suggest_categorical("batch_size", [32, 64, 128])
    # Script: 64, 32 in its README.
    trial.suggest_categorical("maps", [16, 32, 64])
    # Script: 7, 5 in its README and its classes.
    trial.suggest_categorical("pool", [5, 7])
    # Script: two, a third commented out.
    trial.suggest_int("steps", 1, 3)
    # Script: .5.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Script: none; MEB: 5e-4 and 1e-3.
    trial.suggest_float("weight_decay", 0.0, 0.01)
    # Script: it offers a balanced loss and cross-entropy, its default.
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    # None of the following in either; practice.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
