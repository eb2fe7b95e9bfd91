import math
import warnings

import numpy as np
import pytest
import torch

from mer_bench.contracts import Recipe
from mer_bench.training import batches

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
    return batches.load(dict(zip(("onset", "apex"), arrays, strict=True)), labels, given, "cpu")


def flows(count=6, size=SIZE):
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    return batches.load({"flow": pictures}, np.arange(count) % 3, np.zeros((count, 3), np.int64), "cpu")


def moving(key, count=6, size=SIZE):
    """A view other than `flow` and `onset_apex`, as `inputs` stores it."""
    rng = np.random.default_rng(2)
    side = (size, size)
    shape = {"uv": (*side, 2), "clip": (4, *side), "flow_clip": (5, *side, 3), "apex": (1, *side, 3)}[key]
    stored = rng.integers(0, 256, (count, *shape), np.uint8)
    stored = rng.normal(size=stored.shape).astype(np.float32) if key == "uv" else stored
    return batches.load({key: stored}, np.arange(count) % 3, np.zeros((count, 3), np.int64), "cpu"), stored


def rows(data):
    return torch.arange(len(data.labels))


def unnormalised(picture):
    """Back to bytes."""
    std, mean = np.array(batches.STD)[:, None, None], np.array(batches.MEAN)[:, None, None]
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


OTHERS = ("uv", "clip", "flow_clip", "apex")
SOME = 0
"""A generator that mirrors some of four clips."""


@pytest.mark.parametrize(
    "data", [colours(), flows(), *(moving(key)[0] for key in OTHERS)], ids=["colours", "flow", *OTHERS]
)
@pytest.mark.parametrize("recipe", [Recipe(), None, Recipe(jitter=0.2, colour=0.0)])
def test_without_augmentation_nothing_changes_by_a_bit(data, recipe):
    plain, drawn = batches.batch(data, rows(data)), batches.batch(data, rows(data), recipe, generator())
    assert all(torch.equal(plain[key], drawn[key]) for key in data.pictures)


def test_augmentation_needs_a_generator():
    data = colours()
    strong = Recipe(flip=1.0, rotate=20.0, shift=0.3, colour=0.5)
    assert torch.equal(batches.batch(data, rows(data), strong)["apex"], batches.batch(data, rows(data))["apex"])


def test_colours_are_normalised_and_flow_is_not():
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    none = np.zeros((2, 3), np.int64)
    apex = batches.batch(batches.load({"apex": picture}, np.zeros(2), none, "cpu"), torch.arange(2))["apex"]
    wanted = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(apex.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-5)
    flow = batches.batch(batches.load({"flow": picture}, np.zeros(2), none, "cpu"), torch.arange(2))["flow"]
    assert flow.dtype == torch.float32
    assert (flow.numpy() == picture.transpose(0, 3, 1, 2)).all()


def test_other_views_are_laid_out_for_networks():
    def shown(key):
        data, stored = moving(key)
        return batches.batch(data, rows(data))[key].numpy(), stored

    flow_clip, stored = shown("flow_clip")
    assert flow_clip.dtype == np.float32 and (flow_clip == stored.transpose(0, 4, 1, 2, 3)).all()
    uv, stored = shown("uv")
    assert (uv == stored.transpose(0, 3, 1, 2)).all()
    clip, stored = shown("clip")
    np.testing.assert_allclose(clip, (stored[:, None] / 255 - 0.449) / 0.226, atol=1e-5)
    apex, stored = shown("apex")
    wanted = (stored[:, 0] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(apex, wanted.transpose(0, 3, 1, 2), atol=1e-5)


def test_arrays_on_disk_that_cannot_be_written_are_fine():
    pictures = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    pictures.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches.load({"flow": pictures}, np.zeros(3), np.zeros((3, 3), np.int64), "cpu")


def test_rows_are_picked_in_the_order_asked():
    data = flows()
    asked = torch.tensor([4, 0, 4])
    assert torch.equal(batches.batch(data, asked)["flow"], batches.batch(data, rows(data))["flow"][asked])


def test_a_flip_mirrors_both_pictures():
    data = colours()
    plain, flipped = batches.batch(data, rows(data)), batches.batch(data, rows(data), Recipe(flip=1.0), generator())
    for key in ("onset", "apex"):
        np.testing.assert_allclose(flipped[key], plain[key].flip(-1), atol=1e-4)


def test_a_mirrored_flow_moves_the_other_way():
    data = flows()
    plain = batches.batch(data, rows(data))["flow"].flip(-1)
    flipped = batches.batch(data, rows(data), Recipe(flip=1.0), generator())["flow"]
    np.testing.assert_allclose(flipped[:, 0], 255 - plain[:, 0], atol=1e-2)
    np.testing.assert_allclose(flipped[:, 1:], plain[:, 1:], atol=1e-2)


def test_about_so_many_are_flipped_and_whole_clips():
    data = colours(count=200)
    plain = batches.batch(data, rows(data))
    flipped = batches.batch(data, rows(data), Recipe(flip=0.3), generator())
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
    plain = batches.batch(data, rows(data))
    moved = batches.batch(data, rows(data), Recipe(shift=0.25), generator())
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
    data = batches.load({"onset": picture, "apex": picture}, np.zeros(80), np.zeros((80, 3), np.int64), "cpu")
    turned = batches.batch(data, torch.arange(80), Recipe(rotate=30.0), generator())
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
    plain = batches.batch(data, rows(data))
    found = batches.batch(data, rows(data), recipe, generator(3))
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


@pytest.mark.parametrize("key", OTHERS)
@pytest.mark.parametrize("settings", [{"flip": 1.0}, {"flip": 0.5, "rotate": 15.0, "shift": 0.2}])
def test_geometry_of_other_views_against_a_slow_warp(key, settings):
    """Every frame of a clip moves alike; what is mirrored moves the other way; bare vectors turn with the picture."""
    (data, _), recipe = moving(key, 4), Recipe(**settings)
    plain = batches.batch(data, rows(data))[key].double().numpy()
    found = batches.batch(data, rows(data), recipe, generator(SOME))[key]
    draws = torch.rand(6, 4, generator=generator(SOME)).numpy()
    assert found.shape == plain.shape and 0 < (draws[0] < 0.5).sum() < 4
    for clip in range(4):
        mirror = draws[0, clip] < recipe.flip
        angle = (2 * draws[1, clip] - 1) * math.radians(recipe.rotate)
        moved = [round((2 * d - 1) * recipe.shift * SIZE) for d in draws[2:4, clip].astype(float)]
        frames = plain[clip].copy() if plain.ndim == 5 else plain[clip][:, None].copy()
        if key == "flow_clip" and mirror:
            frames[0] = 255 - frames[0]
        border = key in ("uv", "flow_clip")
        warped = np.stack([slow_warp(frames[:, t], angle, moved, mirror, border) for t in range(frames.shape[1])], 1)
        if key == "uv":
            # the picture turns by -angle, then is mirrored; so do its vectors
            turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
            warped = np.einsum("ij,jthw->ithw", np.diag([-1 if mirror else 1, 1]) @ turn, warped)
        wanted = warped if plain.ndim == 5 else warped[:, 0]
        np.testing.assert_allclose(found[clip], wanted, atol=2e-2 if key == "flow_clip" else 1e-3)


def test_a_face_that_widens_still_widens_when_turned_and_mirrored():
    """The field u = x, v = y looks the same from every side; only its border is made up."""
    y, x = np.mgrid[:21, :21].astype(np.float32) - 10
    stored = np.tile(np.stack([x, y], 2), (8, 1, 1, 1))
    data = batches.load({"uv": stored}, np.zeros(8), np.zeros((8, 3), np.int64), "cpu")
    plain = batches.batch(data, rows(data))["uv"]
    turned = batches.batch(data, rows(data), Recipe(flip=0.5, rotate=30.0), generator())["uv"]
    np.testing.assert_allclose(turned[..., 5:-5, 5:-5], plain[..., 5:-5, 5:-5], atol=1e-4)


def test_a_grey_clip_changes_its_light_as_one():
    data, _ = moving("clip", 20)
    plain = batches.batch(data, rows(data))["clip"]
    changed = batches.batch(data, rows(data), Recipe(colour=0.2), generator())["clip"]
    for before, after in zip(plain, changed, strict=True):
        gain, lift = np.polyfit(before.ravel(), after.ravel(), 1)
        np.testing.assert_allclose(after, gain * before + lift, atol=1e-4)
        assert 0.8 < gain < 1.2 and abs(lift) < 0.2


def test_an_apex_alone_may_move_in_time():
    grey = 10 * np.arange(5)[:, None] + np.arange(9)
    stored = np.broadcast_to(grey[..., None, None, None], (5, 9, SIZE, SIZE, 3)).astype(np.uint8)
    data = batches.load({"apex": stored}, np.zeros(5), np.array([[0, 2, 1]] * 5), "cpu")
    seen = set()
    for number in range(20):
        pictures = batches.batch(data, rows(data), Recipe(jitter=0.2), generator(number))["apex"]
        seen |= set((np.rint([unnormalised(p)[0, 0, 0] for p in pictures]) - 10 * np.arange(5)).astype(int).tolist())
    assert seen == {2, 3, 4, 5}


def test_colour_changes_gain_and_lift_of_both_pictures_alike():
    data = colours(count=40)
    plain, changed = batches.batch(data, rows(data)), batches.batch(data, rows(data), Recipe(colour=0.2), generator())
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
    assert torch.equal(batches.batch(flows(), rows(flows()), Recipe(colour=0.2), generator())["flow"], flows_plain())


def flows_plain():
    return batches.batch(flows(), rows(flows()))["flow"]


@pytest.mark.parametrize("reach", [(0, 0, 0), (2, 1, 0), (4, 4, 4), (1, 0, 3)])
def test_jitter_picks_every_frame_within_reach_and_no_other(reach):
    data = colours(count=20, near=True, reach=reach)
    seen = {"onset": set(), "apex": set()}
    for number in range(20):
        pictures = batches.batch(data, rows(data), Recipe(jitter=0.2), generator(number))
        for key, found in seen.items():
            frames = np.rint([unnormalised(p)[0, 0, 0] for p in pictures[key]]) - 10 * np.arange(20)
            found.update(frames.astype(int).tolist())
    onset, back, forward = reach
    assert seen["onset"] == set(range(onset + 1))
    assert seen["apex"] == set(range(4 - back, 4 + forward + 1))


def test_without_jitter_the_annotated_frames_are_shown():
    data = colours(count=5, near=True, reach=(4, 4, 4))
    for recipe, drawn in ((None, None), (Recipe(jitter=0.2), None), (Recipe(), generator())):
        pictures = batches.batch(data, rows(data), recipe, drawn)
        grey = {k: np.rint(unnormalised(x[i])[0, 0, 0]) - 10 * i for k, x in pictures.items() for i in [2]}
        assert grey == {"onset": 0, "apex": 4}


def test_augmentation_depends_on_the_generator_alone():
    data, recipe = colours(), Recipe(flip=0.5, rotate=10, shift=0.1, colour=0.1)
    torch.manual_seed(1)
    first = batches.batch(data, rows(data), recipe, generator(5))["apex"]
    torch.manual_seed(2)
    assert torch.equal(first, batches.batch(data, rows(data), recipe, generator(5))["apex"])
    assert not torch.equal(first, batches.batch(data, rows(data), recipe, generator(6))["apex"])


@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_numbers_drawn_ahead_are_those_of_one_batch_after_the_other(jitter):
    data = colours(20, near=True, reach=(2, 3, 1))
    recipe = Recipe(jitter=jitter, flip=0.5, rotate=10, shift=0.1, colour=0.1)
    parts = [torch.arange(7), torch.arange(7, 18), torch.arange(18, 20)]
    one_by_one, sizes = generator(5), [len(part) for part in parts]
    ahead = torch.split(batches.draw(data, recipe, sizes, generator(5)), sizes, 1)
    for part, drawn in zip(parts, ahead, strict=True):
        wanted = batches.batch(data, part, recipe, one_by_one)
        found = batches.batch(data, part, recipe, drawn)
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)


@pytest.mark.parametrize("size", [(5, 5), (4, 7)])
def test_pixels_are_looked_up_where_affine_grid_says(size):
    height, width = size
    theta = torch.randn(3, 2, 3, generator=generator())
    wanted = torch.nn.functional.affine_grid(theta, [3, 1, height, width], align_corners=False)
    found = batches._looked_up((width, height), *(theta[:, row].unbind(1) for row in range(2)))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("key", ["onset", "flow", "uv", "clip", "flow_clip"])
def test_a_cpu_reads_a_view_where_it_is(key, tmp_path):
    """No copy in a process: what is on disk is mapped, and shared by all that map it."""
    data, stored = moving("apex" if key == "onset" else key) if key != "flow" else (flows(), None)
    stored = np.zeros((6, SIZE, SIZE, 3), np.uint8) if stored is None else stored
    np.save(tmp_path / "view.npy", stored)
    mapped = np.load(tmp_path / "view.npy", mmap_mode="r")
    (name,) = data.pictures
    again = batches.load({name: mapped}, np.zeros(6), np.zeros((6, 3), np.int64), "cpu")
    assert again.pictures[name].data_ptr() == mapped.ctypes.data
    assert batches.batch(again, rows(again))[name].is_contiguous()


@pytest.mark.parametrize("warped", [False, True])
@pytest.mark.parametrize("keys", [("onset", "apex"), ("flow",)])
def test_channels_last_is_a_layout_and_nothing_else(keys: tuple[str, ...], warped: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = {key: rng.integers(0, 256, (5, 6, 6, 3), np.uint8) for key in keys}
    arrays = {key: array[:, None] if key != "flow" else array for key, array in arrays.items()}
    data = batches.load(arrays, np.arange(5) % 2, np.zeros((5, 3), np.int64), "cpu")
    recipe = Recipe(epochs=1, batch_size=2, lr=1e-3, flip=0.5 * warped, rotate=3.0 * warped)
    rows = torch.tensor([3, 0, 4])
    for asked in (None, recipe):
        found = [
            batches.batch(data, rows, asked, torch.Generator().manual_seed(0) if asked else None, laid)
            for laid in (False, True)
        ]
        for key in keys:
            assert torch.equal(found[0][key], found[1][key])
            if not (asked and warped):
                assert found[0][key].is_contiguous()
                assert found[1][key].is_contiguous(memory_format=torch.channels_last)
