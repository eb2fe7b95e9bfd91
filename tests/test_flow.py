import cv2
import numpy as np
import pytest

from mer_bench.pixels import flow


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(3).normal(size=(flow.WORKING, flow.WORKING)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    grey = np.rint(128 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


def moved(image: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    return cv2.warpAffine(image, np.array(matrix), image.shape[:2], borderMode=cv2.BORDER_REFLECT)


def test_a_shift_is_found_right_and_down_positive(texture: np.ndarray) -> None:
    u, v = flow.field(texture, moved(texture, [[1, 0, 1.5], [0, 1, -0.75]]))
    inner = slice(24, -24)
    assert np.abs(u[inner, inner] - 1.5).mean() < 0.1
    assert np.abs(v[inner, inner] + 0.75).mean() < 0.1


def test_strain_of_linear_fields_is_exact() -> None:
    y, x = np.mgrid[:30, :40].astype(np.float64)
    np.testing.assert_allclose(flow.strain(0.3 * x, 0.4 * y), 0.5)
    np.testing.assert_allclose(flow.strain(0.2 * y, 0.6 * x), np.sqrt(0.5) * 0.8)
    np.testing.assert_allclose(flow.strain(-0.1 * y, 0.1 * x), 0, atol=1e-12)


@pytest.mark.parametrize("size", [28, 48, 224, 300])
def test_each_channel_fills_the_range(texture: np.ndarray, size: int) -> None:
    encoded = flow.encode(texture, moved(texture, [[1.02, 0, -1], [0, 0.99, 2]]), size)
    assert encoded.shape == (size, size, 3) and encoded.dtype == np.uint8
    assert (encoded.min((0, 1)) == 0).all() and (encoded.max((0, 1)) == 255).all()


def test_channels_are_u_v_strain(texture: np.ndarray) -> None:
    encoded = flow.encode(texture, moved(texture, [[1.04, 0, -4.5], [0, 1, 0]]), 28).astype(float)
    columns = np.corrcoef(encoded[4:-4, 4:-4, 0].mean(0), np.arange(20))[0, 1]
    assert columns > 0.95


def test_a_clip_has_one_range_a_channel(texture: np.ndarray) -> None:
    others = [moved(texture, [[1, 0, step], [0, 1, -step / 2]]) for step in (0.5, 1.0, 2.0)]
    clip = flow.encode_clip(texture, others, 56)
    assert clip.shape == (3, 56, 56, 3) and clip.dtype == np.uint8
    for channel in range(3):
        bare = []
        for other in others:
            u, v = flow.field(texture, other)
            whole = (u, v, flow.strain(u, v))[channel].astype(np.float32)
            bare.append(whole.reshape(56, 4, 56, 4).mean((1, 3)))
        low, high = np.min(bare), np.max(bare)
        assert np.abs(clip[..., channel] - (np.array(bare) - low) / (high - low) * 255).max() < 0.51
    across = clip[:, 8:-8, 8:-8, 0].mean((1, 2))
    assert across[0] < across[1] < across[2], "the face moves further and further right"
    assert (flow.encode_clip(texture, others[1:2], 28)[0] == flow.encode(texture, others[1], 28)).all()
    assert not flow.encode_clip(texture, [texture, texture], 28)[..., 2].any()


def test_vectors_are_pixels_of_the_working_size_whatever_theirs(texture: np.ndarray) -> None:
    after = moved(texture, [[1, 0, 1.5], [0, 1, -0.75]])
    u, v = flow.field(texture, after)
    found = flow.vectors(texture, after, 56)
    assert found.shape == (56, 56, 2) and found.dtype == np.float32
    for channel, whole in enumerate((u, v)):
        np.testing.assert_allclose(found[..., channel], whole.reshape(56, 4, 56, 4).mean((1, 3)), atol=1e-5)


def test_no_motion_gives_zeros(texture: np.ndarray) -> None:
    flat = np.full_like(texture, 90)
    assert not flow.encode(flat, flat, 28).any()


def test_the_number_of_threads_changes_nothing_and_is_restored(texture: np.ndarray) -> None:
    after = moved(texture, [[1.01, 0.01, -1], [0, 0.99, 2]])
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = flow.encode(texture, after, 28)
        cv2.setNumThreads(2)
        assert (flow.encode(texture, after, 28) == one).all()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_other_sizes_of_crops_are_brought_to_the_working_size(texture: np.ndarray) -> None:
    small = cv2.resize(texture, (112, 112), interpolation=cv2.INTER_AREA)
    u, _ = flow.field(small, small)
    assert u.shape == (flow.WORKING, flow.WORKING)


def test_resize_keeps_the_native_size_and_averages_down() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    assert flow.resize(picture, 28) is picture
    means = picture.reshape(14, 2, 14, 2, 3).mean((1, 3))
    assert np.abs(flow.resize(picture, 14) - means).max() <= 0.5
    assert flow.resize(picture, 56).shape == (56, 56, 3)
