"""Where frames lie: layouts at any level, names without case, numbering read from the files."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mer_bench import folders
from mer_bench.contracts import MerBenchError


def touch(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("names", "template", "numbers"),
    [
        (["reg_img46.jpg", "reg_img101.jpg"], "reg_img{frame}.jpg", (46, 101)),
        (["006_0180.jpg", "006_0217.jpg"], "006_{frame:04d}.jpg", (180, 217)),
        (["006_09998.jpg", "006_10002.jpg"], "006_{frame:05d}.jpg", (9998, 10002)),
        (["0.png", "1.png", "10.png"], "{frame}.png", (0, 1, 10)),
        (["image000101.BMP", "Thumbs.db"], "image{frame:06d}.BMP", (101,)),
        (["a{1}-7.jpg"], "a{{1}}-{frame}.jpg", (7,)),
    ],
)
def test_numbering_is_read_from_the_files(tmp_path, names, template, numbers):
    touch(tmp_path / "c", names)
    found = folders.numbering(tmp_path, "c")
    assert (found.template, found.numbers, found.remark) == (f"c/{template}", numbers, "")
    assert all((tmp_path / found.template.format(frame=number)).is_file() for number in numbers)


@given(st.sets(st.integers(0, 99999), min_size=1, max_size=6), st.integers(1, 6), st.sampled_from(["img", "x_1-", ""]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_numbered_frame_is_found_again(tmp_path, numbers, width, prefix):
    folder = tmp_path / f"{prefix}{width}-{hash(frozenset(numbers))}"
    touch(folder, [f"{prefix}{number:0{width}d}.jpg" for number in numbers])
    found = folders.numbering(tmp_path, folder.name)
    assert found.numbers == tuple(sorted(numbers)) and not found.remark
    assert all((tmp_path / found.template.format(frame=number)).is_file() for number in numbers)


def test_names_in_two_ways_are_told(tmp_path):
    touch(tmp_path / "c", ["img1.jpg", "img2.jpg", "0003.jpg", "img007.jpg"])
    assert "are named in two ways (3 differ from img{frame:03d}.jpg)" in folders.numbering(tmp_path, "c").remark


def test_a_folder_without_pictures_has_no_numbering(tmp_path):
    touch(tmp_path / "c", ["notes.txt", "1.avi"])
    assert folders.numbering(tmp_path, "c") is None


@pytest.mark.parametrize("start", ["", "data", "data/CASME II"])
def test_a_layout_is_found_at_any_level_and_without_case(tmp_path, start):
    touch(tmp_path / start / "cropped" / "Sub01" / "EP1", ["img5.jpg"])
    fields = [{"subject": "01", "clip": "ep1"}, {"subject": "02", "clip": "EP2"}]
    layouts = ("Cropped/sub{subject}/{clip}", "sub{subject}/{clip}")
    found = folders.templates(tmp_path, layouts, fields, "img{{frame}}.jpg")
    at = f"{start}/" if start else ""
    assert found[0] == (f"{at}cropped/Sub01/EP1/img{{frame}}.jpg", "")
    assert re.search(r"Cropped/sub02/EP2/img\{frame\}\.jpg$", found[1][0])


def test_the_first_layout_that_is_there_is_taken_for_all(tmp_path):
    touch(tmp_path / "sub01" / "a", ["img1.jpg"])
    touch(tmp_path / "sub01" / "b", ["img1.jpg"])
    touch(tmp_path / "Cropped" / "sub01" / "a", ["reg_img1.jpg"])
    fields = [{"subject": "01", "clip": clip} for clip in "ab"]
    layouts = ("Cropped/sub{subject}/{clip}", "sub{subject}/{clip}")
    found = [template for template, _ in folders.templates(tmp_path, layouts, fields, "reg_img{{frame}}.jpg")]
    assert found == ["Cropped/sub01/a/reg_img{frame}.jpg", "Cropped/sub01/b/reg_img{frame}.jpg"]


def test_a_release_in_parts_is_one(tmp_path):
    touch(tmp_path / "A" / "s1" / "x", ["1.jpg"])
    touch(tmp_path / "B" / "s2" / "y", ["1.jpg"])
    fields = [{"subject": "s1", "clip": "x"}, {"subject": "s2", "clip": "y"}]
    found = folders.templates(tmp_path, ("{subject}/{clip}",), fields, "{{frame}}.jpg")
    assert [template for template, _ in found] == ["A/s1/x/{frame}.jpg", "B/s2/y/{frame}.jpg"]


def test_folders_by_name_highest_first(tmp_path):
    for name in ("x/y/HS", "hs", "x/NIR"):
        (tmp_path / name).mkdir(parents=True)
    assert folders.find_folders(tmp_path, ["HS"]) == ["hs", "x/y/HS"]


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.os, "scandir", refuse)
    with pytest.raises(MerBenchError, match="Permission denied; make it readable"):
        folders.find_folders(tmp_path, ["HS"])
