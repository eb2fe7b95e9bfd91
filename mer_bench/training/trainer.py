"""One training loop for every model: a fold's clips in, probabilities of every epoch out.

Nothing waits for the device inside an epoch. The loop scores validation and test clips after each epoch and *chooses
nothing*: selection is a function over the stored tables.

    batch, (B, 3, S, S) each picture ─► model ─► logits (B, K) ─ softmax ─► probabilities (epochs, clips, K)
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mer_bench.contracts import MerBenchError, Recipe
from mer_bench.seeds import seed
from mer_bench.training.batches import Data, batch, draw

EVAL_BATCH = 256
AHEAD = 2**19
"""Values of pictures made at once: the dozens of calls that a batch takes cost a small one more than its values do."""
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Diverged(MerBenchError):  # noqa: N818
    """The training's loss or probabilities are no longer numbers."""


@dataclass(frozen=True)
class Precision:
    """Number format of the forward pass, memory format of pictures, and whether a step of a whole batch is compiled.

    The answer of a probe, part of the question.
    """

    bf16: bool = False
    channels_last: bool = False
    compiled: bool = False

    def autocast(self, device: str) -> AbstractContextManager[Any]:
        """bf16 autocast, or nothing."""
        return torch.autocast(device, dtype=torch.bfloat16) if self.bf16 else nullcontext()

    def lay(self, batch: Tensor) -> Tensor:
        """Pictures (B, C, H, W) or clips (B, C, T, H, W), or weights of their convolutions, in this memory format."""
        wanted = CHANNELS_LAST.get(batch.ndim) if self.channels_last else None
        return batch if wanted is None else batch.contiguous(memory_format=wanted)

    def place(self, model: nn.Module) -> nn.Module:
        """The model with its convolutions' weights in this memory format (`Module.to` cannot mix 2-D and 3-D)."""
        for weight in model.parameters():
            weight.data = self.lay(weight.data)
        if self.compiled:
            compile_steps(model)
        return model

    def whole(self, clips: int, recipe: Recipe) -> AbstractContextManager[Any]:
        """What a batch of so many clips is trained in: compiled if it is whole, so that one shape alone is compiled."""
        return nullcontext() if not self.compiled or clips == recipe.batch_size else eager()


def compile_steps(model: nn.Module) -> None:
    """Compile a model's `forward`, and its gradient, at the first call; its weights keep their names.

    Torch keeps what is compiled for every process and fold of this architecture, in `$TORCHINDUCTOR_CACHE_DIR`.
    """
    import torch._dynamo
    import torch._inductor.config as inductor

    inductor.compile_threads = 1  # here, not in processes of its own that outlive the training
    inductor.fallback_random = True  # what a step draws, it draws compiled or not
    # what a process compiled for earlier folds would count against torch's limit, beyond which it compiles no more: a
    # fold must be trained alike wherever and after whatever it is trained
    torch._dynamo.reset()
    model.compile(dynamic=False)


def lacks_compiler(device: str) -> bool:
    """Whether torch would look for a C++ compiler here, and find none."""
    return device == "cpu" and not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def eager() -> AbstractContextManager[Any]:
    """Nothing compiled is run or made within."""
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


@dataclass(frozen=True)
class Outcome:
    """What a fold's training said: probabilities (epochs, clips, classes) and the final weights with their hash."""

    validation: np.ndarray
    test: np.ndarray
    weights: str
    state: Mapping[str, Tensor]


def learning_rate(recipe: Recipe, epoch: int, share: float) -> float:
    """Learning rate `share` of the way (0..1) through an epoch; `exponential` and `step` change between epochs."""
    time = (epoch + share) / recipe.epochs
    if recipe.schedule == "exponential":
        steps = epoch if recipe.decay_epochs is None else min(epoch, recipe.decay_epochs)
        return recipe.lr * recipe.gamma**steps
    if recipe.schedule == "step":
        return recipe.lr * recipe.gamma ** (epoch // (recipe.decay_epochs or recipe.epochs))
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * time))
    if recipe.schedule == "onecycle":
        rise = 0.3
        if time < rise:
            return recipe.lr * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * time / rise)))
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * (time - rise) / (1 - rise)))
    return recipe.lr


def optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters, biases and positions included (as published)."""
    parameters = list(model.parameters())
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def class_weights(recipe: Recipe, labels: Tensor, classes: int) -> Tensor | None:
    """n / (K n_k) over the given training labels; an absent class gets 0."""
    if recipe.class_weights == "none":
        return None
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (classes * counts.clamp(min=1)), 0.0)


def cut(order: Tensor, size: int) -> list[Tensor]:
    """Cut an order into batches; a last one of fewer than two clips joins the one before (BatchNorm needs two)."""
    parts = list(torch.split(order, size))
    if len(parts) > 1 and len(parts[-1]) < 2:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def fit(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    data: Data,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: int,
    names: tuple[str | int, ...],
    precision: Precision,
    stop_after: int | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Train on `rows[0]`, score `rows[1]` (validation) and `rows[2]` (test) after each epoch.

    Args:
        build: makes the model, under a seed set here.
        recipe: how to train.
        data: the view.
        rows: training, validation and test rows of the view.
        classes: number of classes.
        names: what this training is called; every random decision is seeded from it.
        precision: from `probe`.
        stop_after: stop the schedule after this epoch (refits).
        told: called with (epochs done, epochs).

    Raises:
        Diverged: the loss, a validation clip's probability or a weight is not finite.
        MerBenchError: the model changes its weights or buffers while it is scored, or is to be compiled without a
            compiler.
    """
    device = data.labels.device.type
    if precision.compiled and lacks_compiler(device):
        raise MerBenchError("this is trained with a compiled step, which takes a C++ compiler; install g++ or clang++")
    with seeded(*names, "init"):
        model = precision.place(build().to(device))
        steps = optimizer(recipe, model)
        train, *scored = (torch.from_numpy(part).to(device) for part in rows)
        weights = class_weights(recipe, data.labels[train], classes)
        criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=recipe.label_smoothing)
        said: tuple[list[Tensor], list[Tensor]] = ([], [])
        epochs = recipe.epochs if stop_after is None else stop_after + 1
        for epoch in range(epochs):
            sow(seed(*names, "dropout", epoch))
            generator = torch.Generator().manual_seed(seed(*names, "order", epoch))
            loss = one_epoch(model, steps, criterion, data, train, recipe, epoch, generator, precision)
            before = _tensors(model)
            # apart, so that not even the number of test clips can move a bit of what validation clips score, or of what
            # is drawn in the next epoch
            for kept, part in zip(said, scored, strict=True):
                with seeded(*names, "score", epoch):
                    kept.append(score(model, data, part, precision) if len(part) else torch.zeros(0, classes))
            _unmoved(before, _tensors(model))
            # the last step may break the weights after the last loss was taken; test clips have no say in this
            if not finite([loss, said[0][-1], *model.parameters()]):
                where = f"epoch {epoch} of {'/'.join(map(str, names))}"
                raise Diverged(f"loss is {loss.item()}, or a weight is not finite, in {where}; lower lr={recipe.lr:g}")
            if told:
                told(epoch + 1, epochs)
    validation, test = (torch.stack(part).cpu().numpy() for part in said)
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    return Outcome(validation, spoken(test), digest(state), state)


@torch.no_grad()
def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number of all tensors is one; waits for the device once if so."""
    numbers = [x for x in tensors if x.numel()]
    # a processor sums squares twenty times as fast as it finds the largest, but they may overflow, which that cannot
    return any(math.isfinite(nn.utils.get_total_norm(numbers, order)) for order in (2.0, math.inf))


def _tensors(model: nn.Module) -> dict[str, tuple[Tensor, int]]:
    """A model's weights and buffers, and how often each was written to."""
    return {name: (x, x._version) for name, x in model.state_dict(keep_vars=True).items()}


def _unmoved(before: Mapping[str, tuple[Tensor, int]], after: Mapping[str, tuple[Tensor, int]]) -> None:
    """Raise unless they are the same tensors, untouched: what scoring leaves in a model, test clips have taught it."""
    for name, (x, writes) in after.items():
        if name not in before or before[name][0] is not x or before[name][1] != writes:
            raise MerBenchError(
                f"the model changes {name} while it is scored on test clips; change it in training alone"
            )


def spoken(test: np.ndarray) -> np.ndarray:
    """Test probabilities, uniform where a model had none: a clip it cannot answer must not undo its training."""
    lost = ~np.isfinite(test).all(-1, keepdims=True)
    answered: np.ndarray = np.where(lost, 1 / test.shape[-1], test)
    return answered


@contextmanager
def seeded(*names: str | int) -> Iterator[None]:
    """Python's, numpy's and torch's global generators, seeded from names and put back afterwards."""
    start, before = seed(*names), (random.getstate(), np.random.get_state())
    with torch.random.fork_rng(devices=[]):
        random.seed(start)
        np.random.seed(start % 2**32)
        sow(start)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def sow(start: int) -> None:
    """As `torch.manual_seed`, which without a GPU at work writes the caller's stack down for one: a millisecond."""
    at_work: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if at_work or torch.backends.mps.is_available():
        torch.manual_seed(start)
    else:
        torch.default_generator.manual_seed(start)


def one_epoch(
    model: nn.Module,
    steps: torch.optim.Optimizer,
    criterion: nn.Module,
    data: Data,
    train: Tensor,
    recipe: Recipe,
    epoch: int,
    generator: torch.Generator,
    precision: Precision,
) -> Tensor:
    """One pass over the training rows; the mean loss, still on the device."""
    model.train()
    order = train[torch.randperm(len(train), generator=generator).to(train.device)]
    parts = cut(order, recipe.batch_size)
    sizes = [len(part) for part in parts]
    draws = torch.split(draw(data, recipe, sizes, generator).to(train.device), sizes, 1)
    total = torch.zeros((), device=train.device)
    for i, (part, inputs) in enumerate(zip(parts, _ahead(data, parts, recipe, draws, precision), strict=True)):
        for group in steps.param_groups:
            group["lr"] = learning_rate(recipe, epoch, i / len(parts))
        with precision.autocast(train.device.type), precision.whole(len(part), recipe):
            logits = model(**inputs)
        loss = criterion(logits.float(), data.labels[part])
        steps.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        steps.step()
        total += loss.detach()
    return total / len(parts)


def _ahead(
    data: Data, parts: Sequence[Tensor], recipe: Recipe, draws: Sequence[Tensor], precision: Precision
) -> Iterator[dict[str, Tensor]]:
    """Each batch's augmented pictures, made together for as many batches as hold `AHEAD` values."""
    values = sum(stored[0, 0].numel() for stored in data.pictures.values())
    some = max(1, AHEAD // (values * len(parts[0])))
    for first in range(0, len(parts), some):
        together = parts[first : first + some]
        rows, drawn = torch.cat(list(together)), torch.cat(list(draws[first : first + some]), 1)
        made = batch(data, rows, recipe, drawn, precision.channels_last)
        sizes = [len(part) for part in together]
        split = {key: torch.split(precision.lay(pictures), sizes) for key, pictures in made.items()}
        yield from (dict(zip(split, pictures, strict=True)) for pictures in zip(*split.values(), strict=True))


@torch.no_grad()
def score(model: nn.Module, data: Data, rows: Tensor, precision: Precision) -> Tensor:
    """Probabilities (clips, classes) in evaluation mode, float32."""
    model.eval()
    said = []
    for part in torch.split(rows, EVAL_BATCH):
        inputs = {k: precision.lay(x) for k, x in batch(data, part, channels_last=precision.channels_last).items()}
        with precision.autocast(rows.device.type), eager() if precision.compiled else nullcontext():
            said.append(model(**inputs).float())
    return torch.softmax(torch.cat(said), 1)


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict: names and bytes."""
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(name.encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
