import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.pixels import faces

EYE_LEFT, EYE_RIGHT = (0.25, 0.25), (0.75, 0.25)


def apply(alignment: faces.Alignment, point: tuple[float, float]) -> np.ndarray:
    return np.array(alignment.matrix) @ [*point, 1.0]


def blob(shape: tuple[int, int], centres: list[tuple[float, float]], sigma: float) -> np.ndarray:
    """Grey Gaussian spots as a BGR picture."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    spots = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in centres]
    return np.repeat(np.rint(np.sum(spots, 0) * 250).astype(np.uint8)[..., None], 3, 2)


def centroid(image: np.ndarray) -> np.ndarray:
    """Centre of mass in the unit square."""
    grey = image[..., 0].astype(float)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]] + 0.5
    return np.array([(grey * x).sum(), (grey * y).sum()]) / grey.sum() / grey.shape[0]


coordinate = st.floats(-500, 2500)


@given(x=coordinate, y=coordinate, distance=st.floats(10, 800), angle=st.floats(-1.2, 1.2))
def test_eyes_come_to_their_places_by_a_similarity(x: float, y: float, distance: float, angle: float) -> None:
    left = np.array([x, y])
    right = left + distance * np.array([np.cos(angle), np.sin(angle)])
    alignment = faces.from_eyes(left, right)
    assert alignment.found
    np.testing.assert_allclose(apply(alignment, tuple(left)), EYE_LEFT, atol=1e-6)
    np.testing.assert_allclose(apply(alignment, tuple(right)), EYE_RIGHT, atol=1e-6)
    linear = np.array(alignment.matrix)[:, :2] / alignment.scale
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-9)
    assert np.linalg.det(linear) > 0


@settings(max_examples=25, deadline=None)
@given(size=st.sampled_from([28, 48, 113, 224]), angle=st.floats(-0.5, 0.5), distance=st.floats(60, 160))
def test_a_spot_lands_where_the_transform_says(size: int, angle: float, distance: float) -> None:
    middle = np.array([200.0, 150.0])
    half = distance / 2 * np.array([np.cos(angle), np.sin(angle)])
    alignment = faces.from_eyes(middle - half, middle + half)
    spot = (211.3, 163.8)
    crop = faces.crop(blob((400, 420), [spot], 6.0), alignment, size)
    assert crop.shape == (size, size, 3) and crop.dtype == np.uint8
    # A twentieth of an input pixel, or of an output pixel where that is coarser.
    tolerance = 0.05 * max(alignment.scale, 1 / size)
    np.testing.assert_allclose(centroid(crop), apply(alignment, spot), atol=tolerance)


def test_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.repeat(np.tile(np.array([0, 255], np.uint8), (512, 256))[..., None], 3, 2)
    crop = faces.crop(stripes, faces.centred(stripes), 32)
    assert abs(int(crop.min()) - 127) <= 1 and abs(int(crop.max()) - 127) <= 1


def test_a_crop_at_full_size_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert (faces.crop(image, faces.centred(image), 64) == image).all()


def test_beyond_the_image_its_border_goes_on() -> None:
    image = np.full((40, 40, 3), 77, np.uint8)
    assert (faces.crop(image, faces.from_eyes(np.array([0.0, 0.0]), np.array([30.0, 0.0])), 24) == 77).all()


def test_padding_repeats_the_border_by_a_quarter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    padded, rows, columns = faces.pad(image)
    assert (rows, columns) == (20, 30) and padded.shape == (120, 180, 3)
    assert (padded[20:100, 30:150] == image).all() and (padded[:20, 30:150] == image[0]).all()


@pytest.mark.parametrize("shape", [(60, 100, 3), (100, 60, 3)])
def test_without_a_face_the_middle_square_is_taken_and_said(shape: tuple[int, int, int]) -> None:
    image = np.full(shape, 128, np.uint8)
    alignment = faces.align(image)
    assert not alignment.found and alignment == faces.centred(image)
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    np.testing.assert_allclose(apply(alignment, middle), (0.5, 0.5), atol=1e-12)
    assert alignment.scale == pytest.approx(1 / 60)


class FakeBox:
    def __init__(self, area: int) -> None:
        self.size = area

    def area(self) -> int:
        return self.size


class FakeShape:
    def __init__(self, box: FakeBox) -> None:
        self.box = box

    def part(self, index: int) -> object:
        # As dlib's predictor: outer and inner corner of the eye on the right, then of the one on the left, nose.
        x = {0: 100, 1: 80, 2: 20, 3: 40, 4: 60}[index] * (1 if self.box.size > 10 else 3)
        return type("Point", (), {"x": x + 25, "y": 50 + 25})


def test_the_largest_face_wins_and_the_padding_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def detector(image: np.ndarray, upsampling: int) -> list[FakeBox]:
        asked.append(upsampling)
        return [FakeBox(10), FakeBox(20), FakeBox(5)] if upsampling else []

    monkeypatch.setattr(faces, "_detector", lambda: detector)
    monkeypatch.setattr(faces, "_predictor", lambda: lambda image, box: FakeShape(box))
    alignment = faces.align(np.zeros((100, 100, 3), np.uint8))
    assert asked == [0, 1]
    assert alignment == faces.from_eyes(np.array([30.0, 50.0]), np.array([90.0, 50.0]))


def test_the_models_are_found_and_load() -> None:
    box = faces._detector()(cv2.cvtColor(np.zeros((120, 120), np.uint8), cv2.COLOR_GRAY2RGB), 0)
    assert len(box) == 0
    assert faces._predictor() is faces._predictor()
