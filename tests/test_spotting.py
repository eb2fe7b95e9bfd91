"""Where a face moves: the head taken off, lids left out, a drawn apex found, and what has no face told."""

import filmed
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from mer_bench.contracts import MerBenchError
from mer_bench.pixels import faces, spotting

FPS = filmed.COHORT.fps


def numbered(images, first=0):
    return enumerate(images, first)


def test_the_apex_of_a_drawn_clip_is_found():
    images, (onset, apex, offset) = filmed.drawn()
    found = spotting.spot(numbered(images), FPS)
    length = offset - onset + 1
    assert abs(found.apex - apex) <= 0.1 * length
    assert abs(found.onset - onset) <= 0.2 * length and abs(found.offset - offset) <= 0.2 * length
    assert found.onset < found.apex < found.offset
    assert (found.frames, found.looks) == (len(images), (2, 2) if len(images) <= 26 else found.looks)
    assert list(found.curve) == list(range(len(images))) and max(found.curve, key=found.curve.get) == found.apex


def test_numbers_of_frames_are_kept():
    images, _ = filmed.drawn()
    at_0, at_36 = (spotting.spot(numbered(images, first), FPS) for first in (0, 36))
    assert [n - 36 for n in (at_36.onset, at_36.apex, at_36.offset)] == [at_0.onset, at_0.apex, at_0.offset]


def test_frames_without_a_face_are_not_followed():
    images, _ = filmed.drawn()
    every = round(spotting.BEAT * FPS)
    found = spotting.spot(numbered([*filmed.wall(every), *images, *filmed.wall(every)]), FPS)
    assert min(found.curve) >= every and max(found.curve) < every + len(images)
    assert found.looks[1] < found.looks[0] and every <= found.onset < found.apex


@pytest.mark.parametrize("images", [[], filmed.wall(3)[:1], filmed.wall(30)])
def test_no_face_is_one_line(images):
    with pytest.raises(MerBenchError, match="no face is found") as caught:
        spotting.spot(numbered(images), FPS)
    assert "\n" not in str(caught.value)


def test_a_picture_that_stands_still_has_no_movement():
    images, _ = filmed.drawn()
    with pytest.raises(MerBenchError, match="nothing moves"):
        spotting.spot(numbered([images[0]] * 12), FPS)


def test_a_head_that_leaves_its_place_begins_another_stretch():
    images, _ = filmed.drawn()
    aside = [np.roll(image, 40, axis=1) for image in images]
    follower = spotting._Follower(FPS)
    for count, image in enumerate([*images, *aside]):
        follower.see(count, image, beat=count in (0, len(images) - 1, len(images), 2 * len(images) - 1))
    follower.end()
    assert [(s.numbers[0], s.numbers[-1]) for s in follower.stretches] == [
        (0, len(images) - 1),
        (len(images), 2 * len(images) - 1),
    ]
    first, second = (s.alignment for s in follower.stretches)
    assert spotting.moved(first, second) == pytest.approx(40 / filmed.COHORT.iod, abs=0.1)


def test_a_large_picture_is_looked_at_small_and_the_face_found_in_its_place():
    image = filmed.drawn()[0][0]
    large = filmed.cv2.resize(image, None, fx=5, fy=5, interpolation=filmed.cv2.INTER_CUBIC)
    small, found = faces.align(image), spotting.looked_for(large)
    eyes = (faces.eyes(small) + 0.5) * 5 - 0.5
    assert np.abs(faces.eyes(found) - eyes).max() < 0.1 * filmed.COHORT.iod * 5


@given(st.floats(-300, 300), st.floats(-300, 300), st.floats(10, 200), st.floats(-0.5, 0.5))
def test_eyes_are_where_the_alignment_takes_them_from(x, y, across, tilt):
    left = np.array([x, y])
    right = left + across * np.array([np.cos(tilt), np.sin(tilt)])
    assert faces.eyes(faces.from_eyes(left, right)) == pytest.approx(np.stack([left, right]), abs=1e-6)


@given(st.lists(st.floats(-0.05, 0.05), min_size=6, max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_what_the_whole_head_does_is_taken_off_and_a_muscle_is_left(motion, seed):
    x, y = spotting.places()
    across, down = spotting._rigid(x.ravel(), y.ravel())
    head = np.stack([across @ motion, down @ motion], 1).reshape(1, spotting.GRID, spotting.GRID, 2)
    noise = np.random.default_rng(seed).normal(0, 1e-5, head.shape)
    assert np.abs(spotting.skin(head + noise)).max() < 1e-4
    used = spotting.kept_cells()
    muscle = np.zeros_like(head)
    corner = (np.hypot(x - 0.4, y - 1.0) < 0.12) & used
    muscle[0, corner] = 0.02, 0.0
    left = spotting.skin(head + noise + muscle)[0]
    assert left[corner[used], 0].mean() == pytest.approx(0.02, rel=0.1)
    assert np.abs(left[~corner[used]]).max() < 0.002


def test_the_cells_that_count_lie_on_the_face_and_not_on_the_lids():
    x, y = spotting.places()
    used = spotting.kept_cells()

    def cell(right, below):
        return used[np.unravel_index(np.hypot(x - right, y - below).argmin(), used.shape)]

    assert not cell(0.5, 0.0) and not cell(-0.5, 0.05) and not cell(-0.97, -0.47) and not cell(0.97, 1.4)
    assert cell(0.5, -0.25) and cell(0.0, 0.5) and cell(0.4, 1.0) and cell(-0.4, 1.0)


@given(st.integers(3, 60), st.floats(0.2, 6))
def test_smoothing_is_that_of_scipy(frames, deviation):
    values = np.random.default_rng(frames).normal(size=(frames, 4))
    half = int(np.ceil(3 * deviation))
    wanted = gaussian_filter1d(values, deviation, axis=0, mode="nearest", radius=half)
    assert np.allclose(spotting.smoothed(values, deviation), wanted)


def test_slow_drift_cancels_in_the_contrast_and_a_bump_stays():
    time = np.arange(200) / 100
    drift = 0.1 * time[:, None, None] * np.ones((200, 5, 2))
    # at its ends the smoothing bends what is straight
    assert spotting.contrast(drift, 100.0)[40:-40].max() < 1e-9 and spotting.contrast(drift, 100.0).max() < 0.001
    bump = drift.copy()
    bump[:, 2, 0] += 0.02 * np.exp(-(((time - 1) / 0.06) ** 2))
    curve = spotting.contrast(bump, 100.0)
    assert abs(int(curve.argmax()) - 100) <= 1 and curve.max() == pytest.approx(0.02 / np.sqrt(5), rel=0.1)
    onset, offset = spotting.feet(curve, 100, 30)
    assert 80 <= onset <= 92 and 108 <= offset <= 120


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.data())
def test_feet_enclose_the_apex(values, data):
    apex = data.draw(st.integers(0, len(values) - 1))
    far = data.draw(st.integers(1, 20))
    onset, offset = spotting.feet(values, apex, far)
    assert max(apex - far, 0) <= onset <= apex <= offset <= min(apex + far, len(values) - 1)


def test_a_face_that_moves_all_the_time_is_not_clear():
    images, _ = filmed.drawn()
    whole = [*images, *images[::-1]] * 3
    found = spotting.spot(numbered(whole), FPS)
    assert not found.clear
