"""How a method must behave once it can be built: gradients, seeds, evaluation clip by clip, and that it can learn.

Checks as in `contract`, on the same eight clips; a fault in one says nothing about the next, so all are asked.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mer_bench.contracts import MerBenchError
from mer_bench.training import fold
from mer_bench.verifying.contract import CLASSES, LABELS, Case, Check

if TYPE_CHECKING:
    from torch import Tensor

STEPS, RATES = 200, (3e-3, 3e-4)
"""Of Adam, in which eight clips are to be memorised; a model that the first rate breaks may try the second."""


def every_weight_learns(case: Case) -> None:
    """Every trainable parameter gets a finite gradient."""
    model = case.build()
    _loss(model, case.tensors()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            cause = "it is created and never used, or cut off by detach or no_grad"
            raise MerBenchError(f"parameter {name} gets no gradient: {cause}; use it or remove it")
        if parameter.requires_grad and not parameter.grad.isfinite().all():
            cure = "look for a root, a logarithm or a division at 0"
            raise MerBenchError(f"parameter {name} gets a gradient that is NaN or infinite; {cure}")


def obeys_its_seed(case: Case) -> None:
    """Another seed gives other weights and another stream of numbers; the same seed gives the same training."""
    import torch

    cure = "let torch's own generator draw them (nn.init, torch.randn) and seed nothing"
    streams = (_generators_after(case, number) for number in (1, 2))
    for library, one, two in zip(("torch", "numpy", "random"), *streams, strict=True):
        if one == two:
            raise MerBenchError(f"weights or dropout ignore the seed: the file seeds {library} itself; {cure}")
    first, other = (case.build(number).state_dict() for number in (1, 2))
    drawn = [name for name, value in first.items() if value.is_floating_point() and _varies(value)]
    if drawn and all(torch.equal(first[name], other[name]) for name in drawn):
        raise MerBenchError(f"weights ignore the seed: two seeds give the same {drawn[0]}; {cure}")
    once, again = (_trained(case, 1).state_dict() for _ in range(2))
    moved = [name for name in once if not _same(once[name], again[name])]
    if moved:
        raise MerBenchError(
            f"two trainings under one seed differ ({moved[0]}): some randomness comes from elsewhere; draw it from the "
            "global generators of torch, numpy or random, which are seeded for every fold"
        )


def judges_each_clip_alone(case: Case) -> None:
    """Evaluation keeps nothing between clips: a row of a batch equals that clip shown alone, before and after."""
    import torch

    model, shown = _trained(case, 0).eval(), case.tensors()
    buffers = {name: value.clone() for name, value in model.state_dict().items()}
    batch, _ = _said(model, shown, 0), _said(model, case.tensors(seed=1), 0)
    if not _same(batch, _said(model, shown, 0)):
        raise MerBenchError(
            "its forward keeps state between clips: in evaluation the same clips are answered otherwise after others "
            "were shown; change what you keep only while self.training"
        )
    if not _same(batch, _said(model, shown, 1)):
        raise MerBenchError("answers at random in evaluation; switch dropout and noise off unless self.training")
    changed = [name for name, value in model.state_dict().items() if not _same(value, buffers[name])]
    if changed:
        cure = "update it only while self.training"
        raise MerBenchError(f"its forward keeps state between clips: {changed[0]} changes in evaluation; {cure}")
    alone = torch.cat([_said(model, {k: v[i : i + 1] for k, v in shown.items()}, 0) for i in range(len(LABELS))])
    if not torch.allclose(batch, alone, rtol=1e-4, atol=1e-5 * max(1.0, float(batch.abs().max())), equal_nan=True):
        raise MerBenchError(
            "a clip's answer depends on the clips beside it: in evaluation take no mean, variance or rank over the "
            "batch, which holds the test subject's clips (BatchNorm: track_running_stats=True)"
        )


def is_all_in_its_weights(case: Case) -> None:
    """A trained model's state dict, loaded into a new one, gives the same answers."""
    model, again = _trained(case, 0), case.build(1)
    again.load_state_dict(model.state_dict())
    if not _same(_said(model.eval(), case.tensors(), 0), _said(again.eval(), case.tensors(), 0)):
        raise MerBenchError(
            "its answers depend on more than its state dict, so kept weights cannot repeat them: make what it learns "
            "or draws a parameter or a buffer (register_buffer, nn.ModuleList)"
        )


def memorises_eight_clips(case: Case) -> None:
    """Adam finds weights that answer eight clips of random pixels right, in evaluation."""
    import torch

    shown, labels = case.tensors(), torch.from_numpy(LABELS)
    for rate in RATES:
        model, loss = _fitted(case, rate)
        for _ in range(20):  # batch norm's running statistics settle on the trained weights
            model(**shown)
        right = int((_said(model.eval(), shown, 0).argmax(1) == labels).sum())
        if right == len(labels):
            return
    raise MerBenchError(
        f"cannot memorise eight clips: {right} of 8 right after {STEPS} steps of Adam, loss {loss.item():.2f}; is "
        "every layer connected, and are the inputs scaled to about -1..1 (flow comes in 0..255)?"
    )


def _fitted(case: Case, rate: float) -> tuple[Any, Tensor]:
    import torch

    from mer_bench.training import trainer

    model, shown = case.build(), case.tensors()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with trainer.seeded("memorise", STEPS):
        for _ in range(STEPS):
            loss = _loss(model.train(), shown)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loss < 0.02:
                break
    return model, loss.detach()


def gives_probabilities(case: Case) -> None:
    """A classical model's rows are probabilities."""
    answer = _predicted(case)
    if (answer < 0).any() or not np.allclose(answer.sum(1), 1, atol=1e-3):
        raise MerBenchError("predict_proba's rows should be at least 0 and sum to 1; normalise them (softmax)")


def repeats_itself(case: Case) -> None:
    """A classical model gives the same answers after the same fit."""
    if not np.array_equal(_predicted(case), _predicted(case)):
        raise MerBenchError(
            "two fits under one seed differ: some randomness comes from elsewhere; draw it from the global generators "
            "of numpy or random, which are seeded for every fold (random_state=None)"
        )


def judges_each_clip_alone_too(case: Case) -> None:
    """A classical model keeps nothing between clips and takes no statistics of the clips it predicts."""
    model, shown = case.build(), case.arrays()
    model.fit(shown, LABELS)
    batch = np.asarray(model.predict_proba(shown))
    alone = [np.asarray(model.predict_proba({k: v[i : i + 1] for k, v in shown.items()})) for i in range(len(LABELS))]
    if not np.allclose(batch, np.concatenate(alone), atol=1e-6):
        raise MerBenchError(
            "a clip's answer depends on the clips beside it: predict_proba may take no mean, variance or rank over the "
            "clips it is shown, which are the test subject's; fit such things in fit"
        )
    if not np.array_equal(batch, np.asarray(model.predict_proba(shown))):
        raise MerBenchError("predict_proba keeps state between clips: the same clips are answered otherwise later")


def stands_absent_classes(case: Case) -> None:
    """A fold's training clips may lack a class, or hold one alone."""
    for labels in ([0] * 8, [2] * 8, [0, 2] * 4, [1, 1, 1, 2] * 2):
        model = case.build()
        model.fit(case.arrays(), np.array(labels))
        answer = np.asarray(model.predict_proba(case.arrays(seed=1)))
        if answer.shape != (len(LABELS), CLASSES) or not np.isfinite(answer).all():
            raise MerBenchError(
                f"fitted on labels {sorted(set(labels))} alone, it loses a column or answers NaN; give absent classes "
                "probability 0"
            )


def _predicted(case: Case) -> np.ndarray:
    from mer_bench.training import trainer

    with trainer.seeded("fit"):
        model = case.build()
        model.fit(case.arrays(), LABELS)
        return np.asarray(model.predict_proba(case.arrays(seed=1)))


def _loss(model: Any, shown: Mapping[str, Tensor]) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(model(**shown), torch.from_numpy(LABELS))


def _trained(case: Case, seed: int, steps: int = 2) -> Any:
    """The model after a few steps, built and trained under a seed."""
    import torch

    from mer_bench.training import trainer

    with trainer.seeded("trained", seed):
        model = case.build(seed).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            _loss(model, case.tensors()).backward()
            optimizer.step()
    return model


def _said(model: Any, shown: Mapping[str, Tensor], seed: int) -> Tensor:
    import torch

    from mer_bench.training import trainer

    with torch.no_grad(), trainer.seeded("said", seed):
        answer: Tensor = model(**{key: value.clone() for key, value in shown.items()})
    return answer


def _varies(value: Tensor) -> bool:
    return bool((value != value.flatten()[:1]).any())


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal bit by bit; NaN equals NaN, which is another check's fault."""
    import torch

    return torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))


def _generators_after(case: Case, number: int) -> tuple[bytes, ...]:
    """The states of torch's, numpy's and Python's generators after building and one step forward under a seed."""
    import torch

    from mer_bench.training import trainer

    with trainer.seeded("stream", number):
        fold.builder(case.setting, CLASSES)().train()(**case.tensors())
        numbers: Any = np.random.get_state()
        stream = numbers[1].tobytes() + bytes(str(numbers[2:]), "ascii")
        return torch.get_rng_state().numpy().tobytes(), stream, repr(random.getstate()).encode()


NETWORK: Mapping[str, Check] = {
    "every weight gets a finite gradient": every_weight_learns,
    "weights obey the seed, and it alone": obeys_its_seed,
    "judges each clip alone": judges_each_clip_alone,
    "its weights are all it has learned": is_all_in_its_weights,
    "memorises eight clips": memorises_eight_clips,
}
REPEATABLE = (obeys_its_seed, repeats_itself)
"""Without these the canary is not asked."""
CLASSICAL: Mapping[str, Check] = {
    "gives probabilities": gives_probabilities,
    "repeats itself under one seed": repeats_itself,
    "judges each clip alone": judges_each_clip_alone_too,
    "stands absent classes": stands_absent_classes,
}
