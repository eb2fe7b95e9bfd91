"""What a search may change in HTNet: how it is trained, its depth and its width.

Names are setting names. Sources: *script* is the authors', with what its comments tried; *practice* what others do on
small data. No corner costs more than the published network. Epochs are not searched: selection finds the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    # Script: 5e-5 at batch 256, STSTNet's recipe; up to a rate that learns in a few dozen epochs.
    trial.suggest_float("lr", 2e-5, 1e-3, log=True)
    # Script: 256.
    trial.suggest_categorical("batch_size", [64, 128, 256])
    # Script: 256; 96 and 192 in its comments.
    trial.suggest_categorical("dim", [96, 192, 256])
    # Script: 3; 6 in its comments.
    trial.suggest_categorical("heads", [3, 6])
    # Script: 2-2-10, and 2-2-8 in its sister; 2-2-20 in its comments is left out, at twice the cost.
    trial.suggest_categorical("blocks", ["1-1-2", "2-2-4", "2-2-8", "2-2-10"])
    # Script: crops at row x and column y, which is a slip.
    trial.suggest_categorical("swap", [True, False])
    # Script: none of the following; practice.
    trial.suggest_float("dropout", 0.0, 0.3)
    trial.suggest_float("weight_decay", 0.0, 0.05)
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 0.1)
    return None
