"""The one door to videos: every frame in order, from a file or a folder, and one line for what cannot be read."""

import os
import subprocess
import sys

import filmed
import numpy as np
import pytest

from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.pixels import video


@pytest.fixture
def clip(tmp_path):
    images, _ = filmed.drawn()
    return filmed.write(tmp_path / "clip ö.mp4", images)


def test_a_file_gives_every_frame_in_order(clip):
    images, _ = filmed.drawn()
    found = video.find(clip)
    assert (found.fps, found.announced, found.numbers) == (100.0, len(images), ())
    frames = list(video.read(found))
    assert [number for number, _ in frames] == list(range(len(images)))
    for (_, seen), true in zip(frames, images, strict=True):
        assert seen.dtype == np.uint8 and np.abs(seen.astype(int) - true).mean() < 10
    assert video.find(clip, fps=25).fps == 25


def test_frames_by_number_are_those_of_the_whole(clip):
    found = video.find(clip)
    whole = dict(video.read(found))
    some = video.chosen(found, {7, 2})
    assert sorted(some) == [2, 7] and all((some[n] == whole[n]).all() for n in some)
    with pytest.raises(MerBenchError, match=f"has no frame {len(whole)}"):
        video.chosen(found, {0, len(whole)})


def test_a_folder_keeps_the_numbers_of_its_files(tmp_path):
    images, _ = filmed.drawn()
    folder = filmed.pictures(tmp_path / "sub05 ä" / "EP12", images[:5])
    found = video.find(folder, fps=200)
    assert found.numbers == (36, 37, 38, 39, 40) and found.announced == 5
    frames = list(video.read(found))
    assert [number for number, _ in frames] == [36, 37, 38, 39, 40]
    assert all((seen == true).all() for (_, seen), true in zip(frames, images[:5], strict=True))
    assert (video.chosen(found, {38})[38] == images[2]).all()
    with pytest.raises(UsageError, match="add --fps"):
        video.find(folder)


def test_a_damaged_picture_of_a_folder_is_named(tmp_path):
    folder = filmed.pictures(tmp_path / "clip", filmed.drawn()[0][:3])
    (folder / "reg_img37.png").write_bytes(b"")
    with pytest.raises(MerBenchError, match=r"reg_img37\.png is empty"):
        list(video.read(video.find(folder, fps=50)))


BAD = {
    "missing": (lambda file: None, "no such video"),
    "empty": (lambda file: file.write_bytes(b""), "is empty"),
    "text": (lambda file: file.write_text("no video at all" * 50), "cannot be read as a video"),
    # what says where the frames lie stands at the end of the file
    "cut": (lambda file: file.write_bytes(whole(file)[:-4000]), "cannot be read as a video"),
    "folder": (lambda file: (file.mkdir(), (file / "notes.txt").write_text("x")), "holds no numbered pictures"),
}


def whole(file):
    filmed.write(file, filmed.drawn()[0])
    return file.read_bytes()


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_video_is_one_line(tmp_path, kind):
    damage, said = BAD[kind]
    damage(tmp_path / "x.mp4")
    with pytest.raises(MerBenchError, match=said) as caught:
        video.find(tmp_path / "x.mp4")
    assert "x.mp4" in str(caught.value) and "\n" not in str(caught.value)


def test_the_decoder_says_nothing_of_its_own(tmp_path):
    (tmp_path / "x.mp4").write_text("no video at all" * 50)
    code = (
        "from pathlib import Path; from mer_bench.pixels import video\n"
        f"try: video.find(Path({str(tmp_path / 'x.mp4')!r}))\nexcept Exception as error: print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "cannot be read as a video" in done.stdout and done.stderr == ""


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_rate_that_cannot_be_is_refused(clip, fps):
    with pytest.raises(UsageError, match="--fps"):
        video.find(clip, fps)


def test_footage_that_is_too_long_is_refused_and_fewer_frames_than_said_are_told(clip, monkeypatch):
    monkeypatch.setattr(video, "LONGEST", 5)
    with pytest.raises(MerBenchError, match="is longer than 0 s at 100 frames"):
        list(video.read(video.find(clip)))
    monkeypatch.undo()
    found = video.find(clip)
    with pytest.warns(Remark, match=f"only {found.announced} of 999 frames"):
        list(video.read(video.Video(found.path, found.fps, announced=999)))
