import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from test_batches import SIZE, colours, flows
from torch import nn

from mer_bench.contracts import MerBenchError, Recipe
from mer_bench.training import probes, trainer
from mer_bench.training.probes import Found
from mer_bench.training.trainer import Precision

PLAIN = Precision()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_learning_rates():
    lr = 0.5
    constant = Recipe(epochs=10, lr=lr)
    assert {trainer.learning_rate(constant, e, s) for e in range(10) for s in (0, 0.5)} == {lr}
    steps = Recipe(epochs=10, lr=lr, schedule="exponential", gamma=0.9)
    for epoch in range(10):
        assert trainer.learning_rate(steps, epoch, 0.0) == trainer.learning_rate(steps, epoch, 0.9)
        assert trainer.learning_rate(steps, epoch, 0.0) == pytest.approx(lr * 0.9**epoch)
        still = trainer.learning_rate(replace(steps, decay_epochs=4), epoch, 0.3)
        assert still == pytest.approx(lr * 0.9 ** min(epoch, 4))
        for never in (None, 0):
            stairs = replace(steps, schedule="step", decay_epochs=never)
            assert trainer.learning_rate(stairs, epoch, 0.3) == lr
    cosine = Recipe(epochs=10, lr=lr, schedule="cosine")
    for epoch, share, wanted in ((0, 0, 1), (5, 0, 0.5), (2, 0.5, (1 + math.sqrt(0.5)) / 2), (9, 1.0, 0)):
        assert trainer.learning_rate(cosine, epoch, share) == pytest.approx(lr * wanted)
    onecycle = Recipe(epochs=10, lr=lr, schedule="onecycle")
    for epoch, share, wanted in ((0, 0, 0.04), (1, 0.5, 0.52), (3, 0, 1), (6, 0.5, 0.5), (9, 1.0, 0)):
        assert trainer.learning_rate(onecycle, epoch, share) == pytest.approx(lr * wanted)


@pytest.mark.parametrize("schedule", ["cosine", "exponential", "step"])
def test_learning_rates_are_torchs_at_the_start_of_an_epoch(schedule):
    recipe = Recipe(epochs=7, lr=0.1, schedule=schedule, decay_epochs=3 if schedule == "step" else None)
    steps = torch.optim.SGD([nn.Parameter(torch.zeros(1))], recipe.lr)
    kinds = torch.optim.lr_scheduler
    kind = {
        "exponential": lambda: kinds.ExponentialLR(steps, recipe.gamma),
        "step": lambda: kinds.StepLR(steps, 3, recipe.gamma),
        "cosine": lambda: kinds.CosineAnnealingLR(steps, 7),
    }[schedule]()
    for epoch in range(7):
        assert trainer.learning_rate(recipe, epoch, 0.0) == pytest.approx(steps.param_groups[0]["lr"])
        steps.step()
        kind.step()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_class_weights_are_scikit_learns(labels):
    found = trainer.class_weights(Recipe(class_weights="balanced"), torch.tensor(labels), 5).numpy()
    present = np.unique(labels)
    # its K is the number of classes present, ours is the task's
    wanted = compute_class_weight("balanced", classes=present, y=labels) * len(present) / 5
    np.testing.assert_allclose(found[present], wanted, rtol=1e-6)
    assert set(found[np.setdiff1d(range(5), present)]) <= {0.0}


def test_no_class_weights():
    assert trainer.class_weights(Recipe(), torch.tensor([0, 1]), 2) is None


@given(st.integers(1, 60), st.integers(2, 20))
def test_cutting_keeps_the_order_and_none_holds_one_clip(count, size):
    parts = trainer.cut(torch.arange(count), size)
    assert torch.cat(parts).tolist() == list(range(count))
    assert all(len(p) == size for p in parts[:-2])
    assert all(2 <= len(p) <= size + 1 for p in parts) or count == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_optimizers(name, kind):
    model = Net(3)
    recipe = Recipe(optimizer=name, lr=0.01, weight_decay=0.3, momentum=0.7)
    steps = trainer.optimizer(recipe, model)
    (group,) = steps.param_groups
    assert type(steps) is kind and (group["lr"], group["weight_decay"]) == (0.01, 0.3)
    assert len(group["params"]) == len(list(model.parameters()))
    assert group.get("momentum", 0.7) == 0.7


class Net(nn.Module):
    """A tiny network with everything that needs care: BatchNorm and dropout."""

    def __init__(self, classes, scale=1.0):
        super().__init__()
        self.scale = scale
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, classes))

    def forward(self, flow):
        return self.head(self.body(flow / 255)) * self.scale


class Pair(nn.Module):
    """Shown two pictures, as MMNet is."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 3)

    def forward(self, onset, apex):
        return self.net((apex - onset).mean((2, 3)))


class Deep(Net):
    """Layers that multiply."""

    def __init__(self):
        super().__init__(3)
        self.head.extend([nn.Linear(3, 3), nn.Linear(3, 3)])


RECIPE = Recipe(epochs=3, batch_size=4, lr=1e-2, flip=0.5, rotate=5.0, shift=0.1, schedule="cosine")
SPLIT = (np.arange(0, 14), np.arange(14, 19), np.arange(19, 24))


def train(data=None, names=("t", 0, "c/01", "all"), recipe=RECIPE, split=SPLIT, model=lambda: Net(3), **more):
    data = flows(24) if data is None else data
    return trainer.fit(model, recipe, data, split, 3, names, more.pop("precision", PLAIN), **more)


def same(first, second):
    return (
        first.weights == second.weights
        and np.array_equal(first.validation, second.validation)
        and np.array_equal(first.test, second.test)
    )


def test_fit_gives_probabilities_of_every_epoch():
    said = train()
    assert (said.validation.shape, said.test.shape) == ((3, 5, 3), (3, 5, 3))
    assert said.test.dtype == np.float32
    np.testing.assert_allclose(said.test.sum(-1), 1, rtol=1e-5)
    assert set(said.state) == set(Net(3).state_dict())
    assert said.weights == trainer.digest(said.state)


def test_the_last_epoch_is_what_the_returned_weights_say():
    said = train()
    model = Net(3)
    model.load_state_dict(said.state)
    again = trainer.score(model, flows(24), torch.arange(14, 24), PLAIN).numpy()
    assert np.array_equal(again, np.concatenate([said.validation[-1], said.test[-1]]))


def test_same_names_same_bits_whatever_was_drawn_before():
    first = train()
    torch.rand(1000), np.random.default_rng().random()
    torch.manual_seed(99)
    assert same(first, train())


@pytest.mark.parametrize("names", [("t", 1, "c/01", "all"), ("t", 0, "c/02", "all"), ("t", 0, "c/01", "held")])
def test_other_names_other_weights(names):
    assert not same(train(), train(names=names))


def test_fit_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train()
    assert torch.equal(torch.rand(3), wanted)


def test_training_never_sees_the_labels_it_is_scored_on():
    data = flows(24)
    labels = data.labels.clone()
    labels[14:] = (labels[14:] + 1) % 3
    scrambled = replace(data, labels=labels)
    assert same(train(data), train(scrambled))
    assert same(
        train(data, recipe=replace(RECIPE, class_weights="balanced")),
        train(scrambled, recipe=replace(RECIPE, class_weights="balanced")),
    )
    labels = data.labels.clone()
    labels[0] = (labels[0] + 1) % 3
    assert not same(train(data), train(replace(data, labels=labels)))


def test_training_never_sees_the_pictures_it_is_scored_on():
    data = flows(24)
    pictures = {"flow": data.pictures["flow"].clone()}
    pictures["flow"][19:] = 255 - pictures["flow"][19:]
    first, second = train(data), train(replace(data, pictures=pictures))
    assert first.weights == second.weights
    assert np.array_equal(first.validation, second.validation)
    assert not np.array_equal(first.test, second.test)


class Noisy(Net):
    """Draws numpy's numbers, in evaluation too."""

    def forward(self, flow):
        return super().forward(flow) + torch.from_numpy(np.random.normal(size=(len(flow), 1))).float()


class Remembering(Net):
    """Keeps a mean of every clip it is shown, in evaluation too, and takes it off."""

    def __init__(self, classes, buffer=True):
        super().__init__(classes)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, flow):
        self.mean.mul_(0.9).add_(0.1 * flow.mean())
        return super().forward(flow - self.mean)


class Rebinding(Remembering):
    """The same, by another tensor each time."""

    def forward(self, flow):
        self.mean = 0.9 * self.mean + 0.1 * flow.mean()
        return Net.forward(self, flow - self.mean)


@pytest.mark.parametrize("model", [lambda: Net(3), lambda: Noisy(3)])
def test_scoring_other_clips_changes_no_training(model):
    whole = train(model=model)
    assert train(model=model, split=(SPLIT[0], SPLIT[1][:0], SPLIT[2][:1])).weights == whole.weights
    fewer = train(model=model, split=(SPLIT[0], SPLIT[1], SPLIT[2][:1]))
    assert fewer.weights == whole.weights and np.array_equal(fewer.validation, whole.validation)


@pytest.mark.parametrize("model", [Remembering, Rebinding])
def test_a_model_that_learns_from_what_it_is_scored_on_is_refused(model):
    with pytest.raises(MerBenchError, match="changes mean while it is scored on test clips"):
        train(model=lambda: model(3))


@pytest.mark.parametrize("precision", [PLAIN, Precision(channels_last=True), Precision(bf16=True)])
@pytest.mark.parametrize("values", [1, 50 * SIZE * SIZE, 2**30])
def test_batches_made_together_are_those_made_alone(monkeypatch, values, precision):
    """One at a time, two at a time and all at once: the same numbers, and as many of them."""
    recipe, shown = replace(RECIPE, jitter=0.2, colour=0.1, batch_size=4), {}

    class Shown(Pair):
        def forward(self, onset, apex):
            if self.training:
                shown.setdefault(trainer.AHEAD, []).append((onset.clone(), apex.clone()))
            return super().forward(onset, apex)

    def told(ahead):
        monkeypatch.setattr(trainer, "AHEAD", ahead)
        return train(colours(24, near=True, reach=(2, 2, 2)), recipe=recipe, model=Shown, precision=precision)

    assert same(told(0), told(values))
    alone, together = shown[0], shown[values]
    assert [len(onset) for onset, _ in together] == [4, 4, 4, 2] * recipe.epochs
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(one, other, strict=True))


def test_stop_after_repeats_the_start_of_the_schedule():
    whole, stopped = train(), train(stop_after=1)
    assert stopped.test.shape[0] == 2
    assert np.array_equal(stopped.test, whole.test[:2])
    assert stopped.weights != whole.weights
    assert same(train(stop_after=2), whole)


def test_two_pictures_reach_the_model_by_name():
    said = train(colours(24), model=Pair)
    assert np.isfinite(said.test).all()


def test_it_learns_what_can_be_learned():
    data = flows(24)
    pictures = {
        "flow": (data.labels * 100).to(torch.uint8).view(-1, 1, 1, 1, 1).expand(24, 1, SIZE, SIZE, 3).contiguous()
    }
    said = train(replace(data, pictures=pictures), recipe=Recipe(epochs=40, batch_size=8, lr=2e-2))
    assert (said.test[-1].argmax(1) == data.labels[19:].numpy()).all()


@pytest.mark.parametrize("model", [lambda: Net(3, scale=math.inf), lambda: Net(3, scale=math.nan)])
def test_a_loss_that_is_no_number_is_an_error_that_names_the_training(model):
    with pytest.raises(trainer.Diverged, match=r"epoch 0 of t/0/c/01/all; lower lr=0\.01"):
        train(model=model)


@pytest.mark.parametrize("epochs", [1, 5])
def test_a_learning_rate_that_explodes(epochs):
    # the only step of the only epoch already: its loss was a number, the probabilities after it are none
    recipe = Recipe(epochs=epochs, batch_size=14, lr=1e38, optimizer="sgd", weight_decay=0.0)
    with pytest.raises(trainer.Diverged, match=r"in epoch 0 of .*lower lr=1e\+38"):
        train(recipe=recipe, model=Deep)


def test_clipping_limits_a_step():
    plain = Recipe(epochs=1, batch_size=14, lr=1.0, optimizer="sgd", momentum=0.0, weight_decay=0.0)
    torch.manual_seed(trainer.seed("t", 0, "c/01", "all", "init"))
    start = Pair().state_dict()

    def moved(recipe):
        said = train(colours(24), model=Pair, recipe=recipe)
        return math.sqrt(sum(float(((said.state[k] - start[k]) ** 2).sum()) for k in start))

    assert moved(plain) > 0.01
    assert moved(replace(plain, clip_norm=0.01)) == pytest.approx(0.01, rel=1e-3)


def test_a_digest_reads_names_and_bits():
    state = {"a": torch.zeros(2), "b": torch.ones(())}
    assert trainer.digest(state) == trainer.digest(dict(reversed(state.items())))
    assert trainer.digest(state) != trainer.digest({"a": torch.zeros(2), "c": torch.ones(())})
    assert trainer.digest(state) != trainer.digest({"a": torch.tensor([0.0, -0.0]), "b": torch.ones(())})


@pytest.mark.parametrize("precision", [Precision(channels_last=True), Precision(bf16=True)])
def test_precision_changes_little(precision):
    """The same network and clips, scored in another format."""
    torch.manual_seed(0)
    model, data = Net(3), flows(24)
    plain = trainer.score(model, data, torch.arange(24), PLAIN)
    other = trainer.score(model, data, torch.arange(24), precision)
    assert other.dtype == torch.float32
    np.testing.assert_allclose(plain, other, atol=2e-2)


def test_a_probe_answers_with_a_format_and_keeps_the_random_state():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    found = probes.probe(lambda: Net(3), RECIPE, flows(8), steps=2)
    assert isinstance(found.precision, Precision) and found.seconds > 0
    assert torch.equal(torch.rand(3), wanted)


def in_turn(times):
    """`_times` of formats that take so long."""
    return lambda build, recipe, data, rows, two, steps: [[times[x.bf16, x.channels_last]] * 3 for x in two]


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        ((1.0, 0.96, 0.8, 0.77), Found(Precision(bf16=True), 0.8 / 4)),
        ((1.0, 0.96, 0.8, 0.75), Found(Precision(bf16=True, channels_last=True), 0.75 / 4)),
        ((1.0, 0.94, 0.86, 0.86), Found(Precision(channels_last=True), 0.94 / 4)),
        ((1.0, 0.94, 0.96, 0.84), Found(Precision(bf16=True, channels_last=True), 0.84 / 4)),
        ((1.0, 0.96, 0.91, 0.91), Found(Precision(), 1.0 / 4)),
    ],
)
def test_a_probe_takes_numbers_that_gain_a_tenth_and_a_layout_that_gains_half_of_it(monkeypatch, seconds, wanted):
    formats = [(False, False), (False, True), (True, False), (True, True)]
    monkeypatch.setattr(probes, "slower_in_bf16", lambda: 1.0)
    monkeypatch.setattr(probes, "_times", in_turn(dict(zip(formats, seconds, strict=True))))
    assert probes.probe(lambda: Net(3), RECIPE, flows(8)) == wanted


def test_a_probe_offers_no_bf16_to_convolutions_over_time(monkeypatch):
    times = {(False, False): 1.0, (False, True): 0.5, (True, False): 0.2, (True, True): 0.1}
    monkeypatch.setattr(probes, "slower_in_bf16", lambda: 1.0)
    monkeypatch.setattr(probes, "_times", in_turn(times))
    assert probes.probe(lambda: nn.Conv3d(1, 1, 1), RECIPE, flows(8)).precision == Precision(channels_last=True)
    assert probes.probe(lambda: Net(3), RECIPE, flows(8)).precision == Precision(bf16=True, channels_last=True)


@pytest.mark.parametrize(("slower", "tried"), [(0.6, True), (1.9, True), (2.1, False), (90.0, False)])
def test_a_processor_without_bf16_is_not_kept_waiting_by_steps_in_it(monkeypatch, slower, tried):
    asked = []

    def times(build, recipe, data, rows, two, steps):
        asked.extend(two)
        return [[1.0] * 3] * 2

    monkeypatch.setattr(probes, "slower_in_bf16", lambda: slower)
    monkeypatch.setattr(probes, "_times", times)
    assert probes.probe(lambda: Net(3), RECIPE, flows(8)).precision == PLAIN
    assert any(precision.bf16 for precision in asked) is tried


def test_how_much_slower_bf16_is_is_one_convolution_over_another(monkeypatch):
    assert 0.05 < probes.slower_in_bf16() < 1000
    monkeypatch.setattr(probes, "_lone", {torch.bfloat16: 6.0, torch.float32: 0.5}.get)
    assert probes.slower_in_bf16() == 12


@pytest.mark.parametrize("channels_last", [False, True])
def test_two_frames_get_the_gradient_of_their_convolution(channels_last):
    """In the formats a probe may choose; written as a sum over kernel places."""
    torch.manual_seed(0)
    conv = Precision(channels_last=channels_last).place(nn.Conv3d(16, 16, 3, padding=1, bias=False))
    clip, back = torch.randn(4, 16, 2, 3, 3), torch.randn(4, 16, 2, 3, 3)
    conv(Precision(channels_last=channels_last).lay(clip)).backward(back)
    padded = nn.functional.pad(clip, (1,) * 6)
    for t, y, x in np.ndindex(3, 3, 3):
        seen = padded[:, :, t : t + 2, y : y + 3, x : x + 3]
        wanted = torch.einsum("bothw,bithw->oi", back, seen)
        torch.testing.assert_close(conv.weight.grad[:, :, t, y, x], wanted, rtol=1e-3, atol=1e-4)


def test_memory_format_of_pictures_and_of_clips():
    """Both kinds of convolution in one model, which `Module.to` cannot lay."""
    model = nn.ModuleDict({"flat": nn.Conv2d(3, 4, 3), "deep": nn.Conv3d(3, 4, 3), "last": nn.Linear(4, 2)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    laid = trainer.Precision(channels_last=True)
    assert laid.place(model) is model
    assert model["flat"].weight.is_contiguous(memory_format=torch.channels_last)
    assert model["deep"].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert laid.lay(torch.zeros(2, 3, 4, 5, 5)).is_contiguous(memory_format=torch.channels_last_3d)
    plain = torch.zeros(2, 3, 5, 5)
    assert trainer.Precision().lay(plain) is plain and not laid.lay(plain).is_contiguous()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("large", [1.0, 3e38])
def test_one_number_that_is_none_is_found_among_many(bad, dtype, large):
    tensors = [torch.zeros(0), torch.ones(()), torch.full((3, 4), large), torch.zeros(7, dtype=dtype)]
    assert trainer.finite(tensors)
    tensors[-1][3] = bad
    assert not trainer.finite(tensors)


def test_nothing_waits_for_the_device_inside_an_epoch(monkeypatch):
    """Whatever reads a number back to the host, or moves numbers drawn on it, happens before the first batch."""
    asked, data = [], colours(24, near=True, reach=(2, 2, 2))
    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda x, *a, o=original, n=name, **k: (asked.append(n), o(x, *a, **k))[1]
        )
    recipe = replace(RECIPE, jitter=0.2, colour=0.1, clip_norm=1.0)
    torch.manual_seed(0)
    model = Pair()
    steps = trainer.optimizer(replace(recipe, optimizer="sgd"), model)
    rows, criterion = torch.arange(24), nn.CrossEntropyLoss()
    trainer.one_epoch(model, steps, criterion, data, rows, recipe, 0, torch.Generator().manual_seed(0), PLAIN)
    assert asked == []


def test_a_probe_of_slow_steps_is_cut_short(monkeypatch):
    steps = []
    monkeypatch.setattr(trainer, "one_epoch", lambda *a: steps.append(1) or torch.zeros(()))
    monkeypatch.setattr(probes.time, "perf_counter", lambda: 15.0 * len(steps))
    both = (PLAIN, Precision(bf16=True))
    assert probes._times(lambda: Net(3), RECIPE, flows(8), torch.arange(4), both, 20) == [[15.0] * 3] * 2
    assert len(steps) == 2 * probes.FEWEST
