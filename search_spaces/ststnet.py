"""What a search may change in STSTNet: how it is trained; its 1,683 parameters stay as they are.

Names are setting names. Sources: *script* is the public python script, *practice* what others do on small data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Script: 5e-5 at batch 256, which is slow; up to a rate that learns in a few dozen epochs.
    trial.suggest_float("lr", 2e-5, 2e-3, log=True)
    # Script: 256.
    trial.suggest_categorical("batch_size", [64, 128, 256])
    # Script: .5.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Script: none of the following; practice.
    trial.suggest_float("weight_decay", 0.0, 0.05)
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
