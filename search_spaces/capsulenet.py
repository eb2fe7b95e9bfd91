"""What a search may change in CapsuleNet: how it is trained and augmented, its routing and its size.

Names are setting names; sizes are those of the published scale. Sources: *script* is the public one, *practice* what
others do on small data. No corner costs more than the published network. Epochs are not searched: selection finds the
epoch. `weights` is left to the user, by `--set`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    _optimisation(trial)
    # Script: 8 degrees, .5, crops of 224 out of 234 x 240, colours by .2.
    trial.suggest_float("rotate", 0.0, 10.0)
    trial.suggest_categorical("flip", [0.0, 0.5])
    trial.suggest_float("shift", 0.0, 8 / 224)
    trial.suggest_float("colour", 0.0, 0.3)
    # Script: three rounds; one is no routing at all.
    trial.suggest_int("rounds", 1, 3)
    # Ours: the script's margin loss has no such factor; 10 is a probability of .9999 at lengths 1, 0, 0.
    trial.suggest_float("sharpness", 5.0, 20.0)
    # Script: 224 and 1; smaller is cheaper and overfits less.
    trial.suggest_categorical("image_size", [112, 160, 224])
    trial.suggest_categorical("width", [0.25, 0.5, 1.0])
    return None


def _optimisation(trial: Any) -> None:
    # Script: 1e-4.
    trial.suggest_float("lr", 3e-5, 1e-3, log=True)
    # Script: .9 an epoch.
    if trial.suggest_categorical("schedule", ["exponential", "cosine"]) == "exponential":
        trial.suggest_float("gamma", 0.85, 1.0)
    # Script: 32.
    trial.suggest_categorical("batch_size", [16, 32, 64])
    # Script: none; practice.
    trial.suggest_float("weight_decay", 0.0, 0.01)
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    # Script: classes made even by frames around the apex.
    trial.suggest_categorical("class_weights", ["none", "balanced"])
