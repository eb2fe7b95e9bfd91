"""What a search may change in MMNet; names are setting names, so every suggestion can be given by hand with `--set`.

Sizes are those of the published scale: a task's scale shrinks `image_size` and `width` by the same factors. No corner
costs more than about 1.5 times the published network. Epochs are not searched: selection finds the epoch.
Written out (rather than generated from a table), because knobs are conditional and each range has a source: *scripts*
are the public MMNet scripts and their re-implementation at SZU, *ablation* is a part the paper argues for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def suggest(trial: Any) -> Mapping[str, Any] | None:
    """Ask an Optuna trial for model options and recipe fields; the published setting lies inside."""
    _optimisation(trial)
    _augmentation(trial)
    _motion(trial)
    _position(trial)
    return None


def _optimisation(trial: Any) -> None:
    # Scripts: 8e-4, and 4e-4 to 1e-3 elsewhere; one 8e-3, at another scale of data, is left out.
    trial.suggest_float("lr", 1e-4, 3e-3, log=True)
    # Scripts: .6 and .7 on all parameters; .05 is the customary value.
    trial.suggest_float("weight_decay", 0.05, 0.8, log=True)
    # Scripts: 24, 32, 64; 16 for small folds.
    trial.suggest_categorical("batch_size", [16, 24, 32, 64])
    # Scripts: exponential .987, almost constant over a few epochs; the others reach zero.
    if trial.suggest_categorical("schedule", ["exponential", "cosine", "onecycle"]) == "exponential":
        trial.suggest_float("gamma", 0.9, 1.0)
    # Common practice on few clips; the scripts use neither.
    trial.suggest_float("label_smoothing", 0.0, 0.2)
    trial.suggest_categorical("class_weights", ["none", "balanced"])


def _augmentation(trial: Any) -> None:
    # Scripts: .5.
    trial.suggest_categorical("flip", [0.0, 0.5])
    # Scripts: 3 and 4 degrees.
    trial.suggest_float("rotate", 0.0, 5.0)
    # Scripts: padding of 4 and 15 pixels at 224.
    trial.suggest_float("shift", 0.0, 15 / 224)


def _motion(trial: Any) -> None:
    # Measured at SZU: difference 79.1 %, flow 79.4 % on CAS(ME)^3, so neither is settled.
    trial.suggest_categorical("motion", ["difference", "flow"])
    # Scripts: 224 and 1; smaller is cheaper and overfits less.
    trial.suggest_categorical("image_size", [112, 160, 224])
    trial.suggest_categorical("width", [0.5, 0.75, 1.0])
    # Depth where a map is small: a second block costs 7 % in stage 3 or 4 and 30 % in stage 1.
    trial.suggest_categorical("blocks", ["1-1-1-1", "1-1-1-2", "1-1-2-1", "1-1-2-2"])
    # Ablation: continuity of attention. The scripts define a second pooling of the map and never use it.
    if trial.suggest_categorical("prior", [True, False]):
        trial.suggest_categorical("map_pool", ["max", "avg"])
    # Scripts: flatten; a later port replaces it by an average.
    trial.suggest_categorical("head", ["flatten", "gap"])


def _position(trial: Any) -> None:
    # Ablation: addition in the paper; none is the main branch alone.
    if trial.suggest_categorical("fusion", ["add", "concat", "gated", "none"]) == "none":
        return
    # Ablation: after stage 4. Earlier than 3 means thousands of tokens at 224 pixels.
    trial.suggest_categorical("fusion_after", [3, 4])
    # Scripts: 1 pixel a token; more shows the branch finer skin at the same number of tokens.
    trial.suggest_categorical("patch_size", [1, 2, 4])
    # Scripts: depth 2 and 3, four heads, ratio 4 and 2.
    depth = trial.suggest_int("pc_depth", 0, 3)
    if depth > 0:
        trial.suggest_categorical("pc_heads", [2, 4, 8])
        trial.suggest_categorical("pc_mlp_ratio", [2.0, 4.0])
    # Scripts: 0 and .3; it rises from 0 at the first block, so it needs a second.
    if depth > 1:
        trial.suggest_float("pc_drop_path", 0.0, 0.3)
