import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from mer_bench import trainer
from mer_bench.contracts import Recipe
from mer_bench.trainer import Precision

PLAIN = Precision()
SIZE = 12


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(number=0):
    return torch.Generator().manual_seed(number)


def colours(count=6, near=False, reach=None):
    """Onset and apex; every frame of every clip has its own grey, so that a picture tells its frame."""
    rng = np.random.default_rng(0)
    frames = (5, 9) if near else (1, 1)
    if near:
        grey = [10 * np.arange(count)[:, None] + np.arange(f) for f in frames]
        arrays = [np.broadcast_to(g[..., None, None, None], (*g.shape, SIZE, SIZE, 3)).astype(np.uint8) for g in grey]
    else:
        arrays = [rng.integers(0, 256, (count, f, SIZE, SIZE, 3), np.uint8) for f in frames]
    labels = np.arange(count) % 3
    given = np.zeros((count, 3), np.int64) if reach is None else np.array([reach] * count)
    return trainer.load(dict(zip(("onset", "apex"), arrays, strict=True)), labels, given, "cpu")


def flows(count=6, size=SIZE):
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    return trainer.load({"flow": pictures}, np.arange(count) % 3, np.zeros((count, 3), np.int64), "cpu")


def rows(data):
    return torch.arange(len(data.labels))


def unnormalised(picture):
    """Back to bytes."""
    std, mean = np.array(trainer.STD)[:, None, None], np.array(trainer.MEAN)[:, None, None]
    return (picture.numpy() * std + mean) * 255


def slow_warp(picture, angle, moved, mirror, border):
    """Bilinear warp of (C, S, S), pixel by pixel: where each pixel of the result comes from."""
    side = picture.shape[-1]
    middle = (side - 1) / 2
    out = np.zeros_like(picture)

    def at(row, column):
        if border:
            row, column = min(max(row, 0), side - 1), min(max(column, 0), side - 1)
        inside = 0 <= row < side and 0 <= column < side
        return picture[:, row, column] if inside else np.zeros(len(picture))

    for row in range(side):
        for column in range(side):
            x, y = (column - middle) * (-1 if mirror else 1), row - middle
            x, y = math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
            x, y = x + moved[0] + middle, y + moved[1] + middle
            if border:
                x, y = min(max(x, 0), side - 1), min(max(y, 0), side - 1)
            left, top = math.floor(x), math.floor(y)
            for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                weight = (1 - abs(x - c)) * (1 - abs(y - r))
                out[:, row, column] += weight * at(r, c)
    return out


@pytest.mark.parametrize("data", [colours(), flows()], ids=["colours", "flow"])
@pytest.mark.parametrize("recipe", [Recipe(), None, Recipe(jitter=0.2, colour=0.0)])
def test_without_augmentation_nothing_changes_by_a_bit(data, recipe):
    plain, drawn = trainer.batch(data, rows(data)), trainer.batch(data, rows(data), recipe, generator())
    assert all(torch.equal(plain[key], drawn[key]) for key in data.pictures)


def test_augmentation_needs_a_generator():
    data = colours()
    strong = Recipe(flip=1.0, rotate=20.0, shift=0.3, colour=0.5)
    assert torch.equal(trainer.batch(data, rows(data), strong)["apex"], trainer.batch(data, rows(data))["apex"])


def test_colours_are_normalised_and_flow_is_not():
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    none = np.zeros((2, 3), np.int64)
    apex = trainer.batch(trainer.load({"apex": picture}, np.zeros(2), none, "cpu"), torch.arange(2))["apex"]
    wanted = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(apex.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-5)
    flow = trainer.batch(trainer.load({"flow": picture}, np.zeros(2), none, "cpu"), torch.arange(2))["flow"]
    assert flow.dtype == torch.float32
    assert (flow.numpy() == picture.transpose(0, 3, 1, 2)).all()


def test_arrays_on_disk_that_cannot_be_written_are_fine():
    pictures = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    pictures.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.load({"flow": pictures}, np.zeros(3), np.zeros((3, 3), np.int64), "cpu")


def test_rows_are_picked_in_the_order_asked():
    data = flows()
    asked = torch.tensor([4, 0, 4])
    assert torch.equal(trainer.batch(data, asked)["flow"], trainer.batch(data, rows(data))["flow"][asked])


def test_a_flip_mirrors_both_pictures():
    data = colours()
    plain, flipped = trainer.batch(data, rows(data)), trainer.batch(data, rows(data), Recipe(flip=1.0), generator())
    for key in ("onset", "apex"):
        np.testing.assert_allclose(flipped[key], plain[key].flip(-1), atol=1e-4)


def test_a_mirrored_flow_moves_the_other_way():
    data = flows()
    plain = trainer.batch(data, rows(data))["flow"].flip(-1)
    flipped = trainer.batch(data, rows(data), Recipe(flip=1.0), generator())["flow"]
    np.testing.assert_allclose(flipped[:, 0], 255 - plain[:, 0], atol=1e-2)
    np.testing.assert_allclose(flipped[:, 1:], plain[:, 1:], atol=1e-2)


def test_about_so_many_are_flipped_and_whole_clips():
    data = colours(count=200)
    plain = trainer.batch(data, rows(data))
    flipped = trainer.batch(data, rows(data), Recipe(flip=0.3), generator())
    same = {k: (flipped[k] - plain[k]).abs().amax((1, 2, 3)) < 1e-3 for k in plain}
    assert torch.equal(same["onset"], same["apex"])
    assert 0.2 < 1 - same["apex"].float().mean() < 0.4


def whole_shift(plain, moved, reach, fill):
    """The one whole-pixel shift (right, down) that explains a picture; fill(canvas, y, x) says what is uncovered."""
    side = plain.shape[-1]
    found = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            source = [np.arange(side) - d for d in (down, right)]
            wanted = plain[:, np.clip(source[0], 0, side - 1)][:, :, np.clip(source[1], 0, side - 1)]
            if fill == "zeros":
                outside = [(s < 0) | (s >= side) for s in source]
                wanted = np.where(outside[0][:, None] | outside[1], 0, wanted)
            if np.abs(wanted - moved).max() < 1e-2:
                found.append((right, down))
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("fill", ["zeros", "border"])
def test_a_shift_moves_by_whole_pixels(fill):
    data = colours(count=60) if fill == "zeros" else flows(count=60)
    plain = trainer.batch(data, rows(data))
    moved = trainer.batch(data, rows(data), Recipe(shift=0.25), generator())
    seen = []
    for clip in range(60):
        shifts = {whole_shift(plain[k][clip].numpy(), moved[k][clip].numpy(), 4, fill) for k in plain}
        assert len(shifts) == 1, "onset and apex move together"
        seen.append(shifts.pop())
    rights, downs = zip(*seen, strict=True)
    assert set(rights) == set(downs) == set(range(-3, 4))
    assert len(set(seen)) > 20


def test_a_rotation_turns_about_the_middle_and_both_ways():
    """A bright spot right of the middle ends on the circle through it; the middle stays."""
    side = 33
    picture = np.zeros((80, 1, side, side, 3), np.uint8)
    picture[:, :, 16, 26] = 255
    picture[:, :, 16, 16] = 255
    data = trainer.load({"onset": picture, "apex": picture}, np.zeros(80), np.zeros((80, 3), np.int64), "cpu")
    turned = trainer.batch(data, torch.arange(80), Recipe(rotate=30.0), generator())
    assert torch.equal(turned["onset"], turned["apex"])
    angles = []
    for clip in turned["apex"]:
        light = unnormalised(clip)[0]
        y, x = np.mgrid[:side, :side] - 16
        light = np.where((light > 1) & (np.hypot(x, y) < 13), light, 0)
        spot = np.where(np.hypot(x, y) > 5, light, 0)
        middle = light[14:19, 14:19]
        assert np.unravel_index(middle.argmax(), middle.shape) == (2, 2)
        cx, cy = (spot * x).sum() / spot.sum(), (spot * y).sum() / spot.sum()
        assert math.hypot(cx, cy) == pytest.approx(10, abs=0.3)
        angles.append(math.degrees(math.atan2(cy, cx)))
    assert -31 < min(angles) < -20 and 20 < max(angles) < 31


@pytest.mark.parametrize("motion", [False, True])
@pytest.mark.parametrize(
    "settings", [{"rotate": 25.0}, {"rotate": 15.0, "shift": 0.2}, {"flip": 0.5, "rotate": 15.0, "shift": 0.2}]
)
def test_geometry_against_a_slow_warp(settings, motion):
    data, recipe = (flows(4) if motion else colours(4)), Recipe(**settings)
    plain = trainer.batch(data, rows(data))
    found = trainer.batch(data, rows(data), recipe, generator(3))
    draws = torch.rand(6, 4, generator=generator(3)).numpy()
    for clip in range(4):
        mirror = draws[0, clip] < recipe.flip
        angle = (2 * draws[1, clip] - 1) * math.radians(recipe.rotate)
        moved = [round((2 * d - 1) * recipe.shift * SIZE) for d in draws[2:4, clip].astype(float)]
        for key, picture in plain.items():
            start = picture[clip].double().numpy().copy()
            if motion and mirror:
                start[0] = 255 - start[0]
            wanted = slow_warp(start, angle, moved, mirror, border=motion)
            np.testing.assert_allclose(found[key][clip], wanted, atol=2e-2 if motion else 1e-3)


def test_colour_changes_gain_and_lift_of_both_pictures_alike():
    data = colours(count=40)
    plain, changed = trainer.batch(data, rows(data)), trainer.batch(data, rows(data), Recipe(colour=0.2), generator())
    fits = []
    for clip in range(40):
        lines = [np.polyfit(plain[k][clip].ravel(), changed[k][clip].ravel(), 1) for k in plain]
        np.testing.assert_allclose(lines[0], lines[1], atol=1e-4)
        gain, lift = lines[0]
        np.testing.assert_allclose(changed["apex"][clip], gain * plain["apex"][clip] + lift, atol=1e-4)
        fits.append((gain, lift))
    gains, lifts = np.array(fits).T
    assert 0.8 < gains.min() < 0.9 and 1.1 < gains.max() < 1.2
    assert -0.2 < lifts.min() < -0.1 and 0.1 < lifts.max() < 0.2
    assert torch.equal(trainer.batch(flows(), rows(flows()), Recipe(colour=0.2), generator())["flow"], flows_plain())


def flows_plain():
    return trainer.batch(flows(), rows(flows()))["flow"]


@pytest.mark.parametrize("reach", [(0, 0, 0), (2, 1, 0), (4, 4, 4), (1, 0, 3)])
def test_jitter_picks_every_frame_within_reach_and_no_other(reach):
    data = colours(count=20, near=True, reach=reach)
    seen = {"onset": set(), "apex": set()}
    for number in range(20):
        pictures = trainer.batch(data, rows(data), Recipe(jitter=0.2), generator(number))
        for key, found in seen.items():
            frames = np.rint([unnormalised(p)[0, 0, 0] for p in pictures[key]]) - 10 * np.arange(20)
            found.update(frames.astype(int).tolist())
    onset, back, forward = reach
    assert seen["onset"] == set(range(onset + 1))
    assert seen["apex"] == set(range(4 - back, 4 + forward + 1))


def test_without_jitter_the_annotated_frames_are_shown():
    data = colours(count=5, near=True, reach=(4, 4, 4))
    for recipe, drawn in ((None, None), (Recipe(jitter=0.2), None), (Recipe(), generator())):
        pictures = trainer.batch(data, rows(data), recipe, drawn)
        grey = {k: np.rint(unnormalised(x[i])[0, 0, 0]) - 10 * i for k, x in pictures.items() for i in [2]}
        assert grey == {"onset": 0, "apex": 4}


def test_augmentation_depends_on_the_generator_alone():
    data, recipe = colours(), Recipe(flip=0.5, rotate=10, shift=0.1, colour=0.1)
    torch.manual_seed(1)
    first = trainer.batch(data, rows(data), recipe, generator(5))["apex"]
    torch.manual_seed(2)
    assert torch.equal(first, trainer.batch(data, rows(data), recipe, generator(5))["apex"])
    assert not torch.equal(first, trainer.batch(data, rows(data), recipe, generator(6))["apex"])


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
    cosine = Recipe(epochs=10, lr=lr, schedule="cosine")
    for epoch, share, wanted in ((0, 0, 1), (5, 0, 0.5), (2, 0.5, (1 + math.sqrt(0.5)) / 2), (9, 1.0, 0)):
        assert trainer.learning_rate(cosine, epoch, share) == pytest.approx(lr * wanted)
    onecycle = Recipe(epochs=10, lr=lr, schedule="onecycle")
    for epoch, share, wanted in ((0, 0, 0.04), (1, 0.5, 0.52), (3, 0, 1), (6, 0.5, 0.5), (9, 1.0, 0)):
        assert trainer.learning_rate(onecycle, epoch, share) == pytest.approx(lr * wanted)


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_learning_rates_are_torchs_at_the_start_of_an_epoch(schedule):
    recipe = Recipe(epochs=7, lr=0.1, schedule=schedule)
    steps = torch.optim.SGD([nn.Parameter(torch.zeros(1))], recipe.lr)
    kinds = torch.optim.lr_scheduler
    kind = kinds.ExponentialLR(steps, recipe.gamma) if schedule == "exponential" else kinds.CosineAnnealingLR(steps, 7)
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
def test_batches_keep_the_order_and_none_holds_one_clip(count, size):
    parts = trainer.batches(torch.arange(count), size)
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


def test_scoring_other_clips_changes_no_training():
    assert train(split=(SPLIT[0], SPLIT[1][:0], SPLIT[2][:1])).weights == train().weights


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
        "flow": (data.labels * 100).to(torch.uint8).view(-1, 1, 1, 1, 1).expand(24, 1, 3, SIZE, SIZE).contiguous()
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
    found = trainer.probe(lambda: Net(3), RECIPE, flows(8), steps=2)
    assert isinstance(found, Precision)
    assert torch.equal(torch.rand(3), wanted)


def test_a_probe_takes_a_format_that_clearly_pays(monkeypatch):
    times = {(False, False): 1.0, (False, True): 0.95, (True, False): 0.8, (True, True): 0.75}
    monkeypatch.setattr(trainer, "_time_steps", lambda *a: times[a[4].bf16, a[4].channels_last])
    assert trainer.probe(lambda: Net(3), RECIPE, flows(8)) == Precision(bf16=True)
