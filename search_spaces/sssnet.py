"""What a search may change in SSSNet: how it is trained and how wide it is.

Names are setting names. Sources: *notebook* is MEB's on MEGC 2019, *MEB* its later benchmark, *practice* what others
do on small data. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Notebook: SGD at 1e-2; MEB: Adam at 1e-4.
    if trial.suggest_categorical("optimizer", ["sgd", "adam"]) == "sgd":
        trial.suggest_float("momentum", 0.8, 0.95)
    trial.suggest_float("lr", 5e-5, 3e-2, log=True)
    # Notebook: 128; MEB: 32, and 256 in one experiment.
    trial.suggest_categorical("batch_size", [32, 64, 128, 256])
    # Notebook: 32 and 256; MEB's first settings: 16 and 128.
    trial.suggest_categorical("maps", [16, 32])
    trial.suggest_categorical("hidden", [128, 256])
    # Notebook and MEB: .5.
    trial.suggest_float("dropout", 0.0, 0.7)
    # Notebook and MEB: 1e-3.
    trial.suggest_float("weight_decay", 1e-5, 0.01, log=True)
    # None of the following in either; practice.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
