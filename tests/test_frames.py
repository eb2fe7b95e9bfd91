from pathlib import Path

import cv2
import numpy as np
import pytest

from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import frames

ROW = {"clip": "casme2/05/EP12", "frame_path": "sub05/{frame:03d}.png", "onset": 10, "apex": 13, "offset": 15}


def write(root: Path, number: int, image: np.ndarray) -> None:
    (root / "sub05").mkdir(exist_ok=True)
    cv2.imwrite(str(root / "sub05" / f"{number:03d}.png"), image)


def test_colour_is_bgr(tmp_path: Path) -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 200
    write(tmp_path, 7, image)
    assert (frames.read(tmp_path, ROW, 7) == image).all()


@pytest.mark.parametrize("image", [np.full((4, 6), 90, np.uint8), np.full((4, 6), 90 * 256, np.uint16)])
def test_grey_and_deep_files_become_three_channels_of_8_bits(tmp_path: Path, image: np.ndarray) -> None:
    write(tmp_path, 7, image)
    read = frames.read(tmp_path, ROW, 7)
    assert read.shape == (4, 6, 3) and read.dtype == np.uint8 and (read == 90).all()


def test_a_missing_frame_names_clip_file_and_cure(tmp_path: Path) -> None:
    with pytest.raises(MerBenchError, match=r"casme2/05/EP12.*frame 8.*sub05/008\.png.*Mend"):
        frames.read(tmp_path, ROW, 8)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_an_unreadable_frame_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sub05").mkdir()
    (tmp_path / "sub05" / "008.png").write_bytes(content)
    with pytest.raises(MerBenchError, match=r"casme2/05/EP12.*008\.png"):
        frames.read(tmp_path, ROW, 8)


def test_a_release_without_frames_and_a_wrong_template_are_told(tmp_path: Path) -> None:
    with pytest.raises(MerBenchError, match="has no frames"):
        frames.path(tmp_path, {**ROW, "frame_path": None}, 1)
    with pytest.raises(MerBenchError, match="cannot be filled in"):
        frames.path(tmp_path, {**ROW, "frame_path": "{subject}/{frame}"}, 1)


def test_near_frames_stay_within_the_clip_and_the_apex_is_in_the_middle() -> None:
    assert shown("onset_apex@48") == {"onset": [10], "apex": [13]}
    near = shown("onset_apex@48+near")
    assert near == {"onset": [10, 11, 12, 13, 13], "apex": [10, 10, 11, 12, 13, 14, 15, 15, 15]}
    assert shown("apex@48+near") == {"apex": near["apex"]}


def test_flow_is_measured_to_the_apex_and_clips_run_from_onset_to_offset() -> None:
    assert shown("flow@28") == {"flow": [13]} and shown("uv@28") == {"uv": [13]} and shown("apex@28") == {"apex": [13]}
    assert shown("clip@28") == {"clip": [10, 11, 12, 13, 14, 15]}
    assert shown("flow_clip@28", offset=26) == {"flow_clip": [12, 14, 16, 18, 20, 22, 24, 26]}


def test_a_short_clip_shows_frames_twice() -> None:
    assert shown("flow_clip@28") == {"flow_clip": [11, 11, 12, 12, 13, 14, 14, 15]}
    assert shown("flow_clip@28", apex=10, offset=10) == {"flow_clip": [10] * 8}
    assert shown("clip@28", apex=10, offset=10) == {"clip": [10]}


def shown(view: str, **more: int) -> dict[str, list[int]]:
    return frames.numbers({**ROW, **more}, frames.parse_view(view))


@pytest.mark.parametrize(
    "view", ["onset_apex", "flow@", "flow@28+near", "uv@0", "frames@28", "apex@48+far", "clip@9+near", "tvl1@28"]
)
def test_an_unknown_view_is_told(view: str) -> None:
    with pytest.raises(UsageError, match=r"unknown view.*one of onset_apex@S, .*flow_clip@S, .*apex@S\+near"):
        frames.parse_view(view)


@pytest.mark.parametrize(
    "view", ["onset_apex@48", "onset_apex@48+near", "apex@9", "flow@28", "uv@100", "clip@128", "flow_clip@28"]
)
def test_a_view_survives_parsing(view: str) -> None:
    assert str(frames.parse_view(view)) == view


def test_a_view_knows_the_shapes_of_its_arrays():
    assert frames.parse_view("flow@28").shapes == {"flow": (28, 28, 3)}
    assert frames.parse_view("onset_apex@32").shapes == {"onset": (1, 32, 32, 3), "apex": (1, 32, 32, 3)}
    assert frames.parse_view("onset_apex@32+near").shapes == {"onset": (5, 32, 32, 3), "apex": (9, 32, 32, 3)}
