"""The contact sheet: which clips it shows, and what a person sees of them."""

import cv2
import numpy as np
import polars as pl
import pytest
import releases
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import cache, contact


@pytest.fixture
def casme2(tmp_path, monkeypatch):
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    releases.build("casme2", tmp_path / "casme2")
    cache.add("casme2", tmp_path / "casme2")
    return tmp_path


def test_a_row_a_clip_with_frame_crops_and_flow(casme2):
    ticks = []
    file = casme2 / "new folder" / "sheet.png"
    assert contact.draw("casme2", file, 3, tick=lambda *step: ticks.append(step)) == 3
    image = cv2.imread(str(file))
    assert image.shape == (3 * (contact.TILE + contact.CAPTION), 4 * contact.TILE, 3) and ticks[-1][:2] == (3, 3)
    for tile in np.hsplit(image[: contact.TILE], 4):
        assert tile.std() > 3
    # the landmarks and the outline of a face that was found are green
    assert (image[: contact.TILE, : contact.TILE] == contact.GREEN).all(-1).any()


def test_a_face_that_is_not_found_has_a_red_outline(casme2):
    for frame in (casme2 / "casme2/Cropped/sub01/EP02_01f").iterdir():
        frame.write_bytes(cv2.imencode(".jpg", releases.faces()[0] * 0)[1].tobytes())
    contact.draw("casme2", casme2 / "s.png", 1, only="01/EP02_01f")
    tile = cv2.imread(str(casme2 / "s.png"))[: contact.TILE, : contact.TILE]
    assert (np.abs(tile.astype(int) - contact.RED) < 40).all(-1).any() and not (tile == contact.GREEN).all(-1).any()


@pytest.mark.parametrize(
    ("kind", "most", "file", "only", "said"),
    [
        (UsageError, 0, "s.png", "", "at least one clip"),
        (UsageError, 1, "s.jpg", "", r"ends in \.png"),
        (MerBenchError, 1, "s.png", "nothing like it", "no clip whose name holds 'nothing like it'"),
    ],
)
def test_what_cannot_be_drawn_is_told(casme2, kind, most, file, only, said):
    with pytest.raises(kind, match=said):
        contact.draw("casme2", casme2 / file, most, only)
    assert not (casme2 / file).exists()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(1, 12))
def test_clips_are_of_as_many_subjects_as_possible(subjects, most):
    table = pl.DataFrame(
        {"clip": [f"c/{s}/{i}" for i, s in enumerate(subjects)], "subject": [f"c/{s}" for s in subjects]}
    )
    chosen = contact.choose(table, most)
    assert len(chosen) == min(most, len(subjects)) == len({row["clip"] for row in chosen})
    assert len({row["subject"] for row in chosen}) == min(most, len(set(subjects)))
    assert [row["clip"] for row in chosen] == sorted(row["clip"] for row in chosen)


@pytest.mark.parametrize(("u", "v", "brightest"), [(3, 0, 2), (-1.5, 3, 1), (-1.5, -3, 0)])
def test_flow_is_drawn_by_direction_and_length(u, v, brightest):
    field = np.full((4, 4), u, np.float32), np.full((4, 4), v, np.float32)
    picture = contact.colours(*field)
    assert (picture.argmax(-1) == brightest).all()
    assert contact.colours(*(part / 4 for part in field)).max() < picture.max()
    assert not contact.colours(*(part * 0 for part in field)).any()
