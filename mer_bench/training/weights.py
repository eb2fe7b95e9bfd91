"""A trained model in one file: safetensors, with the question it answers as their metadata.

    arrays     a network's state dict, or what a classical model's `keep()` gives
    metadata   {"mer_bench": JSON of the facts: setting, task, classes, recipe in words, versions, echo}

*Echo*: what the model said, when it was kept, about two pictures drawn from a seed. It is asked again when the file is
read: code that has changed in a way that matters says something else, whatever its version is called. Nothing in the
file is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mer_bench.contracts import MerBenchError, Setting, UsageError
from mer_bench.pixels import frames
from mer_bench.seeds import seed
from mer_bench.training import fold

if TYPE_CHECKING:
    from torch import Tensor

KEY, FORMAT = "mer_bench", 1
ECHOES = 2
NEEDED = (
    "model", "setting", "pinned", "task", "task_version", "task_sha256", "classes", "recipe", "seed", "versions",
    "echo",
)  # fmt: skip
"""Facts without which a file is not read."""
ALIKE = 0.01
"""Probabilities of an echo may differ by so much between machines."""


@dataclass(frozen=True)
class Weights:
    """A model's arrays and the facts it was kept with, `NEEDED` at least."""

    state: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def setting(self) -> Setting:
        """The resolved setting."""
        return Setting.from_dict(self.facts["setting"])

    @property
    def classes(self) -> list[str]:
        """Names of the classes in label order."""
        return list(self.facts["classes"])


def write(file: Path, state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a model whole or not at all; the same model gives the same bytes."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    staged = file.with_name(f".{file.name}.{os.getpid()}.new")
    # tied weights share memory, which the format does not know
    own = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    try:
        save_file(own, staged, {KEY: json.dumps({"format": FORMAT, **facts}, sort_keys=True)})
        staged.replace(file)
    finally:
        staged.unlink(missing_ok=True)


def read(file: Path) -> Weights:
    """A file that `write` made.

    Raises:
        MerBenchError: it is missing, damaged, or none.
    """
    from safetensors import safe_open

    cure = "make it with `mer-bench fit MODEL --task TASK --out FILE`"
    if not file.is_file():
        raise MerBenchError(f"{file}: no such file of weights; {cure}")
    try:
        with safe_open(file, "pt") as stored:
            said, state = (stored.metadata() or {}).get(KEY), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except Exception as error:
        raise MerBenchError(f"{file} cannot be read as weights ({_short(error)}); {cure}") from None
    if said is None:
        raise MerBenchError(f"{file} holds weights, but not what they are for; {cure}")
    facts = json.loads(said)
    if facts.get("format") != FORMAT:
        raise MerBenchError(f"{file} is of format {facts.get('format')}, this version reads {FORMAT}; fit again")
    try:
        frames.parse_view(facts["setting"]["view"])
        found = Weights(state, {name: facts[name] for name in NEEDED} | facts)
        assert found.setting and found.classes and facts["echo"]
    except (KeyError, TypeError, AssertionError, MerBenchError) as error:
        raise MerBenchError(f"{file}: what it says of itself cannot be read ({_short(error)}); fit again") from None
    return found


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def state_of(model: Any, name: str) -> dict[str, Tensor]:
    """The arrays of a fitted classical model.

    Raises:
        UsageError: it does not know how to keep itself.
    """
    import torch

    if not (hasattr(model, "keep") and hasattr(model, "restore")):
        raise UsageError(f"{name} cannot be kept: it has no keep() that gives arrays and no restore(arrays)")
    return {key: torch.from_numpy(np.array(value)) for key, value in model.keep().items()}


def rebuilt(weights: Weights) -> Any:
    """The model that was kept: a network in evaluation mode on the CPU, or a classical model.

    Raises:
        UsageError: its method is not known here.
        MerBenchError: the arrays do not fit the method as it is here.
    """
    from mer_bench.training import trainer

    setting = weights.setting
    with trainer.seeded("rebuilt"), fold.one_thread():
        try:
            model = fold.builder(setting, len(weights.classes))()
        except TypeError as error:
            raise _other(weights, f"its settings are not known ({_short(error)})") from None
    if setting.recipe is None:
        try:
            model.restore({name: value.numpy() for name, value in weights.state.items()})
        except (AttributeError, KeyError, ValueError) as error:
            raise _other(weights, f"its arrays do not fit ({_short(error)})") from None
        return model
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in weights.state.items()}
    if odd := sorted(set(wanted.items()) ^ set(there.items())):
        raise _other(weights, f"{odd[0][0]} is {there.get(odd[0][0])} and should be {wanted.get(odd[0][0])}")
    model.load_state_dict(weights.state)
    return model.eval()


def check(weights: Weights, model: Any) -> None:
    """Ask a rebuilt model for its echo.

    Raises:
        MerBenchError: it says something else than when it was kept.
    """
    before, now = np.array(weights.facts["echo"]), np.array(echo(weights.setting, model, len(weights.classes)))
    if before.shape != now.shape or not np.abs(before - now).max() <= ALIKE:
        raise _other(weights, "it does not say what it said when it was kept")


def _other(weights: Weights, said: str) -> MerBenchError:
    versions = weights.facts.get("versions", {})
    made = f"mer-bench {versions.get('mer-bench', '?')}" + (
        f", commit {versions['commit'][:12]}" if versions.get("commit") else ""
    )
    return MerBenchError(
        f"weights of another version of {weights.setting.model}: {said}; made by {made}: use that, or fit again"
    )


def echo(setting: Setting, model: Any, classes: int) -> list[list[float]]:
    """What a model says about a few drawn pictures of its view, (ECHOES, classes), rounded."""
    shapes = frames.parse_view(setting.view).shapes
    drawn = {name: np.stack([_drawn(name, shape, n) for n in range(ECHOES)]) for name, shape in shapes.items()}
    return [[round(float(p), 4) for p in row] for row in said(setting, model, drawn, classes)]


def _drawn(name: str, shape: tuple[int, ...], number: int) -> np.ndarray:
    """Soft blobs in an array of a view, as bytes or, of vectors, in pixels."""
    rng = np.random.default_rng(seed("echo", name, number))
    *rest, height, width, channels = shape if shape[-1] in (2, 3) else (*shape, 1)
    blobs = [
        cv2.resize(rng.normal(size=(4, 4)), (width, height)) for _ in range(int(np.prod(rest, dtype=int)) * channels)
    ]
    values = np.stack(blobs).reshape(*rest, channels, height, width)
    array = np.moveaxis(values, len(rest), -1).reshape(shape)
    return array.astype(np.float32) if name == "uv" else (127 + 60 * array).clip(0, 255).astype(np.uint8)


def said(setting: Setting, model: Any, arrays: Mapping[str, np.ndarray], classes: int) -> np.ndarray:
    """Probabilities (N, classes) of a view's arrays (N, ...), on the CPU in full precision."""
    import torch

    from mer_bench.training import trainer

    count = len(next(iter(arrays.values())))
    with trainer.seeded("said"), fold.one_thread():
        if setting.recipe is None:
            answer = np.asarray(model.predict_proba(dict(arrays)))
        else:
            answer = trainer.score(model, shown(arrays), torch.arange(count), trainer.Precision()).numpy()
    return np.asarray(fold.checked(answer, setting.model, count, classes), np.float64)


def shown(arrays: Mapping[str, np.ndarray]) -> Any:
    """A view's arrays as a network is shown them, `batches.Data` on the CPU."""
    from mer_bench.training import batches

    count = len(next(iter(arrays.values())))
    return batches.load(arrays, np.zeros(count, np.int64), np.zeros((count, 3), np.int64), "cpu")


def attention(setting: Setting, model: Any, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The maps (h, w) in 0..1 of a model that has `attention_maps`, for the first clip; none for others."""
    import torch

    from mer_bench.training import batches

    maps = getattr(model, "attention_maps", None)
    if maps is None or setting.recipe is None:
        return []
    with torch.no_grad(), fold.one_thread():
        found = maps(**batches.batch(shown(arrays), torch.arange(1)))
    return [one[0, 0].float().numpy() for one in found]
