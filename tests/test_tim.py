"""TIM against the published algorithm written out, and against what interpolation must do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.pixels import tim


def published(frames: np.ndarray, length: int) -> np.ndarray:
    """Zhou, Zhao, Pietikainen 2011, section 3, step by step, on frames (n, pixels) that are linearly independent."""
    n = len(frames)
    mean = frames.mean(0)
    left, scale, right = np.linalg.svd((frames - mean).T, full_matrices=False)
    basis, q = left[:, : n - 1], scale[: n - 1, None] * right[: n - 1]
    path = np.diag(np.ones(n - 1), 1)
    path = path + path.T
    _, vectors = np.linalg.eigh(np.diag(path.sum(0)) - path)
    w = np.linalg.lstsq(q @ q.T, q @ vectors[:, 1:], rcond=None)[0]

    def curve(t: float) -> np.ndarray:
        k = np.arange(1, n)
        return np.sin(np.pi * k * t + np.pi * (n - k) / (2 * n))

    size = (w.T @ q[:, 0]) / curve(1 / n)
    places = 1 / n + (1 - 1 / n) * np.arange(length) / (length - 1)
    return np.stack([mean + basis @ np.linalg.solve(w.T, size * curve(t)) for t in places])


@pytest.mark.parametrize("count", [2, 3, 7, 10, 23])
@pytest.mark.parametrize("length", [2, 10])
def test_mixing_the_frames_is_the_published_algorithm(count: int, length: int) -> None:
    frames = np.random.default_rng(count).normal(100, 30, (count, 60))
    np.testing.assert_allclose(tim.weights(count, length) @ frames, published(frames, length), atol=1e-6)


counts, lengths = st.integers(1, 120), st.integers(2, 20)


@given(counts, lengths)
def test_first_and_last_frame_are_kept_and_brightness_is_shared_out(count: int, length: int) -> None:
    weights = tim.weights(count, length)
    assert weights.shape == (length, count)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-9)
    np.testing.assert_allclose(weights[0], np.eye(count)[0], atol=1e-9)
    np.testing.assert_allclose(weights[-1], np.eye(count)[-1], atol=1e-9)


@given(st.integers(2, 60))
def test_a_clip_of_the_right_length_stays_as_it_is(count: int) -> None:
    np.testing.assert_allclose(tim.weights(count, count), np.eye(count), atol=1e-9)


@given(counts, lengths)
def test_what_brightens_steadily_does_so_afterwards(count: int, length: int) -> None:
    steady = tim.weights(count, length) @ np.arange(count)
    assert (np.diff(steady) > (0 if count > 1 else -1)).all()
    places = np.linspace(0, count - 1, length)
    assert np.abs(steady - places).max() < 0.2


def test_slow_motion_is_followed_exactly() -> None:
    """Any cosine of the curve, between frames too."""
    nodes, places = np.arange(30) + 0.5, np.linspace(0.5, 29.5, 10)
    for k in (0, 1, 4):
        np.testing.assert_allclose(
            tim.weights(30, 10) @ np.cos(np.pi * k * nodes / 30), np.cos(np.pi * k * places / 30)
        )


def test_bytes_are_rounded_and_cut_off_and_repeated_frames_stand() -> None:
    frames = np.zeros((5, 2, 3), np.uint8)
    frames[2:] = 255
    found = tim.interpolate(frames, 10)
    wanted = np.rint(tim.weights(5, 10) @ frames.reshape(5, -1)).clip(0, 255).reshape(10, 2, 3)
    assert found.dtype == np.uint8 and (found == wanted).all()
    assert not found[0].any() and (found[-1] == 255).all()
    assert (tim.interpolate(np.full((1, 2, 2), 77, np.uint8), 10) == 77).all()
    assert (tim.interpolate(np.full((40, 2, 2), 77, np.uint8), 10) == 77).all()
