"""Blank apexes: named rules, on record, and never where an apex is annotated."""

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench import clips
from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.pixels import apex


def row(name, onset, middle, offset):
    source = None if middle is None else "annotated"
    return {
        "clip": f"c/1/{name}", "corpus": "c", "subject": "c/1", "onset": onset, "apex": middle, "offset": offset,
        "apex_source": source, "frame_path": f"{name}/{{frame}}.png",
    }  # fmt: skip


FRAME = st.one_of(st.none(), st.integers(0, 10**6))


@given(st.lists(st.tuples(FRAME, FRAME, FRAME), max_size=5))
def test_middle_fills_blanks_and_nothing_else(frames):
    before = clips.table(row(str(i), *numbers) for i, numbers in enumerate(frames))
    after = apex.fill(before, "middle", None, "c")
    for old, new in zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True):
        changed = {key for key in old if old[key] != new[key]}
        if old["apex"] is None and None not in (old["onset"], old["offset"]) and old["onset"] <= old["offset"]:
            assert changed == {"apex", "apex_source"} and new["apex_source"] == "middle"
            assert new["apex"] == old["onset"] + int((old["offset"] - old["onset"]) / 2)
        else:
            assert not changed


def test_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(UsageError, match="known: middle, flow-peak"):
        apex.fill(clips.table([]), "best", None, "c")


@pytest.fixture
def moving(tmp_path, monkeypatch):
    """A texture whose inner part grows until frame 14 and shrinks again, while all of it drifts to the right."""
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    noise = np.random.default_rng(0).normal(size=(160, 160)).astype(np.float32)
    grey = (128 + 300 * cv2.GaussianBlur(noise, (0, 0), 3)).clip(0, 255).astype(np.float32)
    y, x = np.mgrid[:160, :160].astype(np.float32)
    inside = np.exp(-((x - 80) ** 2 + (y - 100) ** 2) / 400)
    (tmp_path / "a").mkdir()
    for number in range(10, 21):
        push = 4 * (1 - abs(number - 14) / 6)
        drift = 0.3 * (number - 10)
        image = cv2.remap(grey, x - drift, y - push * inside, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        cv2.imwrite(str(tmp_path / "a" / f"{number}.png"), image)
    return tmp_path


def test_flow_peak_is_the_frame_of_the_longest_movement_not_of_the_farthest_head(moving):
    table = clips.table([row("a", 10, None, 20), row("b", 10, None, 20), row("d", 10, 12, 20)])
    found = apex.fill(table, "flow-peak", moving, "c")
    by_name = {r["clip"]: (r["apex"], r["apex_source"]) for r in found.iter_rows(named=True)}
    assert by_name["c/1/a"] == (14, "flow-peak") and by_name["c/1/d"] == (12, "annotated")
    # nothing on disk: left blank, and told as such by whoever asks for the clip
    assert by_name["c/1/b"] == (None, None)


def test_found_apexes_are_kept_and_follow_the_sheet(moving, monkeypatch):
    asked = []
    real = apex.peak
    monkeypatch.setattr(apex, "peak", lambda root, row: asked.append(row["clip"]) or real(root, row))
    table = clips.table([row("a", 10, None, 20)])
    ticks = []
    for _ in range(2):
        apex.fill(table, "flow-peak", moving, "c:flow-peak", lambda *step: ticks.append(step))
    assert asked == ["c/1/a"] and ticks == [(1, 1, "looking for apexes of c")]
    later = apex.fill(table.with_columns(pl.lit(12, pl.Int32).alias("onset")), "flow-peak", moving, "c")
    assert len(asked) == 2 and later["apex"][0] != 12


def test_a_clip_of_one_frame_has_nothing_to_measure(moving):
    with pytest.raises(MerBenchError, match=r"c/1/a: no frame after the onset is on disk.*:middle"):
        apex.fill(clips.table([row("a", 20, None, 25)]), "flow-peak", moving, "c")
