"""What every method's file must be, checked on eight invented clips: one code for the catalogue and for a user's file.

    name ─► BASELINE ─► case, at its small size ─► STRUCTURE, in order ─► behaviour ─► canary

A check is a function of a `Case` that raises a `MerBenchError` with what is wrong and the cure. The clips are random
pixels in the shapes that `frames.View` gives, shown as the harness shows them. The checks of this module ask whether a
model can be built and shown clips; a fault here ends the examination, because nothing further can be asked.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mer_bench import catalog
from mer_bench.contracts import Baseline, MerBenchError, Scale, Setting, resolve
from mer_bench.pixels import frames
from mer_bench.searching import space
from mer_bench.training import fold

if TYPE_CHECKING:
    import torch

CLASSES = 3
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 0])
SMALL = Scale(image_size=48, width=0.25)
"""The size of a model whose file states no `small`: that of the embedded corpus."""
ALLOWED = ("contracts", "seeds", "layers", "vision", "classical")
"""What a model's file may import of mer_bench; clips and their labels lie behind the rest."""
FLOATS = ("uv",)
"""Arrays that are stored as float32, about -4..4; all others are bytes."""


@dataclass(frozen=True, eq=False)
class Case:
    """A method resolved at its small size."""

    name: str
    baseline: Baseline
    setting: Setting

    def build(self, seed: int = 0, classes: int = CLASSES) -> Any:
        """The model, made under a seed."""
        from mer_bench.training import trainer

        with trainer.seeded("contract", seed):
            return fold.builder(self.setting, classes)()

    def arrays(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Eight clips of random pixels, as the cache stores them."""
        return pictures(self.setting.view, len(LABELS), seed)

    def tensors(self, seed: int = 0) -> dict[str, torch.Tensor]:
        """The same clips as a network is shown them."""
        return tensors(self.arrays(seed))

    @property
    def network(self) -> bool:
        """Whether it is trained by a recipe, not by a `fit` of its own."""
        return self.setting.recipe is not None


Check = Callable[[Case], None]


def case(name: str) -> Case:
    """`FILE[:PRESET]` at the size its contract is checked at.

    Raises:
        UsageError: an option without a default, an unknown setting or preset, or a view that does not exist.
    """
    stem, preset = catalog.split(name)
    baseline = catalog.baseline(name)
    sized = {key.split(".")[-1] for key in baseline.small} & {"image_size", "width"}
    setting = resolve(stem, baseline, preset, baseline.small, Scale() if sized else SMALL)
    frames.parse_view(setting.view)
    return Case(name, baseline, setting)


def pictures(view: str, clips: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random pixels as the cache stores a view: name -> (clips, ...)."""
    rng, made = np.random.default_rng(seed), {}
    for name, shape in frames.parse_view(view).shapes.items():
        made[name] = rng.integers(0, 256, (clips, *shape), np.uint8)
        if name in FLOATS:
            made[name] = ((made[name] - 127.5) / 32).astype(np.float32)
    return made


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Stored clips as a network is shown them: floats, channels before rows and columns."""
    import torch

    from mer_bench.training import batches

    count = len(next(iter(arrays.values())))
    data = batches.load(arrays, np.zeros(count, np.int64), np.zeros((count, 3), np.int64), "cpu")
    return batches.batch(data, torch.arange(count))


def keeps_to_its_inputs(case: Case) -> None:
    """The file imports nothing of mer_bench that leads to clips and labels."""
    stem = catalog.split(case.name)[0]
    path = Path(stem) if stem.endswith(".py") else catalog.folder("baseline") / f"{stem}.py"
    for name, line in _imported(ast.parse(path.read_bytes())):
        parts = name.split(".")
        if parts[0] == "mer_bench" and not (parts[1:2] and (parts[1] in ALLOWED or parts[1].startswith("_"))):
            raise MerBenchError(
                f"imports {name} in line {line}: labels and test clips lie behind it; a model sees its clips through "
                f"forward or fit alone and may import mer_bench.{', mer_bench.'.join(ALLOWED)}"
            )


def _imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names that a file imports anywhere, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def has_presets_that_exist(case: Case) -> None:
    """Every preset names settings that the model or its recipe has."""
    for preset in case.baseline.presets:
        resolve(catalog.split(case.name)[0], case.baseline, preset)


def is_one_kind_of_model(case: Case) -> None:
    """It can be built; it is a torch module with a recipe, or has `fit` and `predict_proba`."""
    from torch import nn

    model = case.build()
    module, kind = isinstance(model, nn.Module), type(model).__name__
    if case.network and not module:
        cure = "return an nn.Module, or leave the recipe out and define fit and predict_proba"
        raise MerBenchError(f"has a recipe, but its model ({kind}) is no torch module; {cure}")
    if module and not case.network:
        raise MerBenchError(f"its model ({kind}) is a torch module without a recipe; add recipe=Recipe(...)")
    lacking = [name for name in ("fit", "predict_proba") if not module and not callable(getattr(model, name, None))]
    if lacking:
        raise MerBenchError(f"its model ({kind}) lacks {' and '.join(lacking)}; define both, or give it a recipe")


def names_its_arguments(case: Case) -> None:
    """`forward` asks for what the view holds."""
    if case.network:
        fold.named(case.build(), case.setting, case.arrays())


def answers_a_row_a_clip(case: Case) -> None:
    """One row a clip and one column a class, all finite, for three classes and for five."""
    for classes in (CLASSES, 5):
        answer = _answer(case, classes)
        fold.checked(answer, case.setting.model, len(LABELS), classes)
        if not np.isfinite(answer).all():
            raise MerBenchError("answers NaN or infinity to ordinary clips; look for a division, a root or a logarithm")


def _answer(case: Case, classes: int) -> np.ndarray:
    import torch

    model = case.build(classes=classes)
    if not case.network:
        model.fit(case.arrays(), LABELS % classes)
        return np.asarray(model.predict_proba(case.arrays()))
    answer = model(**case.tensors())
    if not isinstance(answer, torch.Tensor):
        raise MerBenchError(f"forward returns a {type(answer).__name__}; return the logits alone")
    return np.asarray(answer.detach())


def has_a_space_around_its_default(case: Case) -> None:
    """The search space, if there is one, holds the published setting, and what it proposes can be resolved."""
    if case.baseline.suggest is None and catalog.split(case.name)[0] not in catalog.names("space"):
        return
    searched = space.Space(case.name, {})
    searched.default()
    for view in space.views(searched, SMALL):
        frames.parse_view(view)


STRUCTURE: Mapping[str, Check] = {
    "imports no labels": keeps_to_its_inputs,
    "its presets exist": has_presets_that_exist,
    "can be built, and is a network or has a fit": is_one_kind_of_model,
    "its arguments are the view's": names_its_arguments,
    "answers a row a clip, a column a class": answers_a_row_a_clip,
    "its default lies in its search space": has_a_space_around_its_default,
}
