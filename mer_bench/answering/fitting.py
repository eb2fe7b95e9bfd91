"""One model trained on everybody, for use on new footage: no fold, no score.

    task, recipe ─► every clip of every subject ─► last epoch, fixed in advance ─► FILE (weights.write)

Nobody is held out, so nothing here can say how good the model is; `mer-bench run MODEL --task T` says how good the same
recipe is on people it has not met. Weights are made for that question alone and carry it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mer_bench import catalog, classical
from mer_bench.answering import answers, ready
from mer_bench.answering.ready import Tick
from mer_bench.clips import sha256
from mer_bench.contracts import MerBenchError, Setting, UsageError
from mer_bench.pixels import faces, flow, inputs
from mer_bench.records import provenance
from mer_bench.reports import prose
from mer_bench.training import fold, loso, weights

if TYPE_CHECKING:
    from mer_bench.training.trainer import Precision

SUFFIX = ".safetensors"
EVERYBODY = "every subject"


@dataclass(frozen=True)
class Fitted:
    """A finished fit: where the weights lie, and the facts kept with them."""

    file: Path
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The `--json` object."""
        return {"weights": str(self.file), **self.facts}

    def words(self) -> str:
        """What a person is told."""
        facts = self.facts
        return f"{self.file}: {facts['model']} on {facts['task']}, {facts['recipe']}"


def fit(
    model: str,
    task: str,
    out: str | Path,
    *,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    scale: str = "task",
    tick: Tick | None = None,
) -> Fitted:
    """Train one model on all clips of a task and keep it.

    Args:
        model: `FILE[:PRESET]` or a path to a `.py` file.
        task: a task's name.
        out: the file, `.safetensors`.
        seed: of everything that is drawn.
        settings: model options and recipe fields by name.
        device: auto, cpu, cuda or mps.
        scale: `task` (the size the task states) or `paper`.
        tick: called with (done, total, text).

    Raises:
        UsageError: an unknown name, two tasks, or a model that cannot be kept.
        MerBenchError: a corpus is missing, or training diverged; no file is written then.
    """
    file = Path(out).expanduser()
    if file.suffix != SUFFIX:
        raise UsageError(f"--out {out} should end in {SUFFIX}")
    if ">" in task:
        raise UsageError(f"{task}: a fit holds nobody out; name one task")
    if seed < 0:
        raise UsageError(f"--seed {seed}: 0 or more")
    space, size, setting = ready.settled(ready.Command(model, task, settings, scale))
    place, asked = ready.usable(device), catalog.task(task)
    fold.forget()
    data = inputs.load(task, setting.view, tick=tick)
    loso.examine(task, setting)
    name = answers.shown(space.model)
    formats: dict[str, bool] = {}
    if setting.recipe is None:
        trained = _classical(setting, data, len(asked.classes), (task, seed), name)
    else:
        precision = loso.probe(task, setting, place, tick=tick)
        formats = asdict(precision)
        told = (lambda done, total: tick(done, total, f"{name} epochs")) if tick else None
        trained = _network(setting, data, len(asked.classes), (task, seed), place, precision, told)
    facts = {
        "model": name,
        "setting": setting.as_dict(),
        "pinned": {name: str(value) for name, value in space.pinned.items()},
        "task": task,
        "task_version": asked.version,
        "task_sha256": sha256(data.clips),
        "classes": list(asked.classes),
        "counts": [int((data.clips["label"] == k).sum()) for k in range(len(asked.classes))],
        "clips": len(data.clips),
        "subjects": data.clips["subject"].n_unique(),
        "banner": asked.banner,
        "recipe": _recipe(answers.setting_name("run", space, size), setting, data),
        "seed": seed,
        "device": place,
        "formats": formats,
        "code": catalog.fingerprint(space.model),
        "inputs": data.key,
        "faces_not_found": len(data.unfound),
        "ready_made_flow": any(catalog.dataset(corpus).read_flow is not None for corpus in asked.corpora),
        "pixels": [faces.version(), flow.version()],
        "versions": provenance.versions(),
    }
    kept = weights.Weights(trained, {**facts, "echo": [[0.0]]})
    echo = weights.echo(setting, weights.rebuilt(kept), len(asked.classes))
    if not np.isfinite(echo).all():
        raise MerBenchError(f"{name} gives probabilities that are not finite; nothing is kept")
    weights.write(file, trained, {**facts, "echo": echo})
    return Fitted(file, facts)


def _network(
    setting: Setting, data: inputs.Inputs, classes: int, names: tuple[str | int, ...], device: str,
    precision: Precision, told: Any,
) -> Mapping[str, Any]:  # fmt: skip
    from mer_bench.training import trainer

    assert setting.recipe is not None
    none = np.zeros(0, np.int64)
    with fold.one_thread():
        outcome = trainer.fit(
            fold.builder(setting, classes),
            setting.recipe,
            fold.data_of(data, setting, device),
            (np.arange(len(data.clips)), none, none),
            classes,
            (*names, EVERYBODY),
            precision,
            told=told,
        )
    return outcome.state


def _classical(
    setting: Setting, data: inputs.Inputs, classes: int, names: tuple[str | int, ...], name: str
) -> Mapping[str, Any]:
    from mer_bench.training import trainer

    with trainer.seeded(*names, EVERYBODY, "fit"), fold.one_thread():
        model = fold.builder(setting, classes)()
        if not (hasattr(model, "keep") and hasattr(model, "restore")):
            weights.state_of(model, name)  # says so before anything is described
        arrays = classical.described(model, data.arrays)
        rows = {key: np.asarray(array) for key, array in arrays.items()}
        model.fit(rows, data.clips["label"].to_numpy().astype(np.int64))
        return weights.state_of(model, name)


def _recipe(said: str, setting: Setting, data: inputs.Inputs) -> str:
    """What was done, in words."""
    clips, subjects = len(data.clips), data.clips["subject"].n_unique()
    length = f", {prose.plural(setting.recipe.epochs, 'epoch')}, the last one kept" if setting.recipe else ""
    return f"{said}{length}; trained on all {clips} clips of {prose.plural(subjects, 'subject')}, nobody held out"
