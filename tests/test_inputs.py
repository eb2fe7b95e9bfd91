import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mer_bench import catalog, clips
from mer_bench.contracts import Dataset, Mend, MerBenchError, Task
from mer_bench.pixels import cache, faces, flow, frames, inputs, tim

NAME, TASK = "megc2019_flow", "megc2019-flow-3"
REAL = any((Path(p) / NAME).is_dir() for p in os.environ.get("MER_BENCH_DATA", "").split(os.pathsep) if p)
CLASSES = {"happy": "positive", "sad": "negative"}


def row(
    subject: str, clip: str, emotion: str, onset: int = 2, apex: int | None = 8, **more: object
) -> dict[str, object]:
    corpus = subject.split("/")[0]
    frame_path = f"{clip}/{{frame}}.png"
    return {
        "clip": f"{subject}/{clip}", "corpus": corpus, "subject": subject, "onset": onset, "apex": apex, "offset": 10,
        "emotion": emotion, "action_units": [], "sides": [], "frame_path": frame_path, **more,
    }  # fmt: skip


def draw(root: Path, clip: str) -> None:
    """Frames whose blue channel says their number, over a texture that moves by number / 4 pixels."""
    (root / clip).mkdir(parents=True)
    noise = np.random.default_rng(len(clip)).normal(size=(60, 80)).astype(np.float32)
    grey = (128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2)).clip(0, 255).astype(np.uint8)
    for number in range(1, 12):
        shift = np.array([[1, 0, number / 4], [0, 1, 0]], float)
        image = np.repeat(cv2.warpAffine(grey, shift, (80, 60), borderMode=cv2.BORDER_REFLECT)[..., None], 3, 2)
        image[..., 0] = 10 * number
        cv2.imwrite(str(root / clip / f"{number}.png"), image)


def dataset(rows: list[dict[str, object]], **more: object) -> Dataset:
    return Dataset("", lambda root: clips.table(rows), "ask", **more)  # type: ignore[arg-type]


def task(count: int, subjects: int, *corpora: str, **more: object) -> Task:
    return Task(corpora or ("one",), ("negative", "positive"), CLASSES, count, subjects, **more)  # type: ignore[arg-type]


ONE = [
    row("one/1", "b", "happy"),
    row("one/1", "a", "sad", apex=3),
    row("one/2", "c", "happy"),
    row("one/2", "blank", "other", apex=None),
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Dataset], dict[str, Task]], None]:
    """Datasets and tasks in place of the catalogue's, with frames of clips a, b, c, d drawn for `one` and `two`."""
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MER_BENCH_DATA", str(tmp_path / "data"))
    for corpus, clip in (("one", "a"), ("one", "b"), ("one", "c"), ("two", "d")):
        draw(tmp_path / "data" / corpus, clip)

    def put(datasets: dict[str, Dataset], tasks: dict[str, Task]) -> None:
        monkeypatch.setattr(catalog, "dataset", datasets.__getitem__)
        monkeypatch.setattr(catalog, "task", tasks.__getitem__)

    return put


def test_onset_and_apex_are_rgb_rows_of_the_selected_clips(world: Callable[..., None]) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    ticks: list[tuple[int, int, str]] = []
    found = inputs.load("t", "onset_apex@30", tick=lambda *step: ticks.append(step))
    assert found.clips["clip"].to_list() == ["one/1/a", "one/1/b", "one/2/c"]
    assert found.clips["label"].to_list() == [0, 1, 1]
    assert sorted(found.arrays) == ["apex", "onset"]
    assert found.arrays["onset"].shape == found.arrays["apex"].shape == (3, 1, 30, 30, 3)
    assert isinstance(found.arrays["onset"], np.memmap) and not found.arrays["onset"].flags.writeable
    assert (found.arrays["onset"][..., 2] == 20).all()
    assert found.arrays["apex"][:, 0, 0, 0, 2].tolist() == [30, 80, 80]
    assert found.unfound == ("one/1/a", "one/1/b", "one/2/c")
    assert ticks[-1] == (3, 3, "preparing one as onset_apex@30")


def test_near_frames_and_one_transform_for_all(world: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    aligned = []
    monkeypatch.setattr(faces, "align", lambda image: aligned.append(image[0, 0, 0]) or faces.centred(image))
    found = inputs.load("t", "onset_apex@30+near")
    assert found.arrays["onset"].shape == (3, 5, 30, 30, 3) and found.arrays["apex"].shape == (3, 9, 30, 30, 3)
    assert found.arrays["onset"][0, :, 0, 0, 2].tolist() == [20, 30, 30, 30, 30]
    assert found.arrays["onset"][1, :, 0, 0, 2].tolist() == [20, 30, 40, 50, 60]
    assert found.arrays["apex"][0, :, 0, 0, 2].tolist() == [20, 20, 20, 20, 30, 40, 50, 60, 70]
    assert found.arrays["apex"][1, :, 0, 0, 2].tolist() == [40, 50, 60, 70, 80, 90, 100, 100, 100]
    assert aligned == [20, 20, 20]


def test_flow_is_that_of_the_crops(world: Callable[..., None], tmp_path: Path) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    found = inputs.load("t", "flow@28")
    first, last = (cv2.imread(str(tmp_path / "data/one/c" / f"{number}.png")) for number in (2, 8))
    crops = [faces.crop(image, faces.centred(first), flow.WORKING) for image in (first, last)]
    assert found.arrays["flow"].shape == (3, 28, 28, 3)
    assert (found.arrays["flow"][2] == flow.encode(crops[0], crops[1], 28)).all()


def crops(root: Path, clip: str, size: int, numbers: range) -> list[np.ndarray]:
    """Aligned BGR crops of a clip whose face is not found."""
    images = [cv2.imread(str(root / clip / f"{number}.png")) for number in numbers]
    first = cv2.imread(str(root / clip / "2.png"))
    return [faces.crop(image, faces.centred(first), size) for image in images]


def test_apex_alone_is_that_of_the_pair(world: Callable[..., None]) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    for more in ("", "+near"):
        pair, alone = inputs.load("t", f"onset_apex@24{more}"), inputs.load("t", f"apex@24{more}")
        assert list(alone.arrays) == ["apex"] and (alone.arrays["apex"] == pair.arrays["apex"]).all()


def test_vectors_are_those_of_the_crops(world: Callable[..., None], tmp_path: Path) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    found = inputs.load("t", "uv@40").arrays["uv"]
    first, last = crops(tmp_path / "data/one", "c", flow.WORKING, range(2, 9, 6))
    assert found.shape == (3, 40, 40, 2) and found.dtype == np.float32
    assert (found[2] == flow.vectors(first, last, 40)).all()
    assert found[2, 15:25, 15:25, 0].mean() == pytest.approx(6 / 4 * flow.WORKING / 60, rel=0.1)


def test_a_clip_is_interpolated_between_onset_and_offset(world: Callable[..., None], tmp_path: Path) -> None:
    short = row("one/2", "c", "happy", onset=8, apex=8)
    world({"one": dataset([*ONE[:2], {**short, "offset": 9}])}, {"t": task(3, 2)})
    found = inputs.load("t", "clip@32").arrays["clip"]
    assert found.shape == (3, 10, 32, 32) and found.dtype == np.uint8
    for place, clip, numbers in ((0, "a", range(2, 11)), (2, "c", range(8, 10))):
        grey = [cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY) for crop in crops(tmp_path / "data/one", clip, 32, numbers)]
        assert (found[place, 0] == grey[0]).all() and (found[place, -1] == grey[-1]).all()
        n = len(grey)
        for step in range(10):
            x = 0.5 + (n - 1) * step / 9
            shares = [
                (1 + 2 * sum(np.cos(np.pi * k * x / n) * np.cos(np.pi * k * (i + 0.5) / n) for k in range(1, n))) / n
                for i in range(n)
            ]
            wanted = sum(share * picture.astype(float) for share, picture in zip(shares, grey, strict=True))
            assert np.abs(found[place, step] - wanted.clip(0, 255)).max() < 0.51


def test_a_flow_clip_is_that_of_the_crops(world: Callable[..., None], tmp_path: Path) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    found = inputs.load("t", "flow_clip@28").arrays["flow_clip"]
    assert found.shape == (3, 8, 28, 28, 3) and found.dtype == np.uint8
    first, *others = crops(tmp_path / "data/one", "c", flow.WORKING, range(2, 11))
    assert (found[2] == flow.encode_clip(first, others, 28)).all(), "onset 2, offset 10: every frame once"


@pytest.mark.parametrize("view", ["onset_apex@24", "apex@24+near", "flow@24", "uv@24", "clip@24", "flow_clip@24"])
def test_arrays_are_shaped_as_the_view_says(world: Callable[..., None], view: str) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    arrays = inputs.load("t", view).arrays
    assert {name: array.shape[1:] for name, array in arrays.items()} == frames.parse_view(view).shapes


def test_how_clips_are_interpolated_enters_their_key_alone(
    world: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    before = [inputs.load("t", view).key for view in ("clip@24", "flow@24")]
    monkeypatch.setattr(tim, "VERSION", 99)
    assert [inputs.load("t", view).key == key for view, key in zip(("clip@24", "flow@24"), before, strict=True)] == [
        False,
        True,
    ]


def test_a_frame_missing_inside_a_clip_is_named(world: Callable[..., None], tmp_path: Path) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    (tmp_path / "data" / "one" / "c" / "5.png").unlink()
    inputs.load("t", "flow@24")
    for view in ("clip@24", "flow_clip@24"):
        with pytest.raises(MerBenchError, match="one/2/c: frame 5 is missing"):
            inputs.load("t", view)


def test_tasks_of_a_corpus_share_the_arrays(world: Callable[..., None], tmp_path: Path) -> None:
    part = Task(("one",), ("positive", "none"), {"happy": "positive"}, 2, 2)
    ends = task(2, 2, drop={"one/1/b": "a test"})
    world({"one": dataset(ONE)}, {"all": task(3, 2), "part": part, "ends": ends})
    whole, some = inputs.load("all", "onset_apex@24"), inputs.load("part", "onset_apex@24")
    assert len(list((tmp_path / "home" / "inputs").glob("one-*"))) == 1
    assert some.clips["clip"].to_list() == ["one/1/b", "one/2/c"]
    assert (some.arrays["apex"] == whole.arrays["apex"][1:]).all() and isinstance(some.arrays["apex"], np.memmap)
    assert whole.key != some.key == inputs.load("part", "onset_apex@24").key
    apart = inputs.load("ends", "onset_apex@24")
    assert apart.clips["clip"].to_list() == ["one/1/a", "one/2/c"]
    assert (apart.arrays["apex"] == whole.arrays["apex"][[0, 2]]).all()


def test_rows_that_lie_apart_are_written_side_by_side_once_and_mapped(
    world: Callable[..., None], tmp_path: Path
) -> None:
    two = [row("a_two/9", "d", "sad")]
    world({"one": dataset(ONE), "two": dataset(two)}, {"both": task(4, 3, "one", "two"), "all": task(3, 2)})
    inputs.load("all", "onset_apex@24")
    assert not (tmp_path / "home" / "gathered").exists(), "rows that lie together are a part of the file"
    first, again = inputs.load("both", "onset_apex@24"), inputs.load("both", "onset_apex@24")
    (folder,) = (tmp_path / "home" / "gathered").glob("onset_apex*")
    for found in (first, again):
        assert Path(found.arrays["apex"].filename) == folder / "apex.npy"  # type: ignore[attr-defined]
        assert not found.arrays["apex"].flags.writeable
    moved = tmp_path / "home" / "gathered" / "moved"
    folder.rename(moved)
    assert (inputs.load("both", "onset_apex@24").arrays["apex"] == first.arrays["apex"]).all()


def test_a_composite_lays_its_corpora_end_to_end(world: Callable[..., None]) -> None:
    two = [row("a_two/9", "d", "sad")]
    world({"one": dataset(ONE), "two": dataset(two)}, {"both": task(4, 3, "one", "two"), "t": task(3, 2)})
    both, one = inputs.load("both", "onset_apex@24"), inputs.load("t", "onset_apex@24")
    assert both.clips["clip"].to_list() == ["a_two/9/d", "one/1/a", "one/1/b", "one/2/c"]
    assert (both.arrays["apex"][1:] == one.arrays["apex"]).all() and both.arrays["apex"][0].any()


def test_mends_apply_and_change_the_key(world: Callable[..., None]) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    before = inputs.load("t", "onset_apex@24")
    world({"one": dataset(ONE, mends=(Mend("one/2/c", "apex", 9, "misread"),))}, {"t": task(3, 2)})
    after = inputs.load("t", "onset_apex@24")
    assert after.arrays["apex"][2, 0, 0, 0, 2] == 90 and after.key != before.key


def test_a_missing_frame_names_the_clip_and_leaves_no_folder(world: Callable[..., None], tmp_path: Path) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    (tmp_path / "data" / "one" / "c" / "8.png").unlink()
    with pytest.raises(MerBenchError, match="one/2/c: frame 8 is missing"):
        inputs.load("t", "flow@28")
    assert not list((tmp_path / "home" / "inputs").glob("one-*"))


def test_clips_that_differ_from_the_pinned_list_are_refused(world: Callable[..., None]) -> None:
    world({"one": dataset(ONE)}, {"few": task(4, 2), "other": task(3, 2, sha256="0" * 64)})
    with pytest.raises(MerBenchError, match="expected 4 clips"):
        inputs.clips_of("few")
    with pytest.raises(MerBenchError, match="differs from the pinned one"):
        inputs.load("other", "flow@28")


def test_processes_give_the_same_arrays_in_the_same_order(
    world: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    alone = np.array(inputs.load("t", "onset_apex@24").arrays["apex"])
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(inputs, "FEW", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert (inputs.load("t", "onset_apex@24").arrays["apex"] == alone).all()
    (tmp_path / "data" / "one" / "c" / "8.png").unlink()
    with pytest.raises(MerBenchError, match="one/2/c: frame 8 is missing"):
        inputs.load("t", "onset_apex@25")


def test_a_bare_script_may_start_processes(world: Callable[..., None], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom functools import partial\nfrom mer_bench.pixels import inputs\n"
        "inputs.FEW = 0\ninputs.processes.cores = lambda: 2\n"
        "row = {'clip': 'one/1/a', 'onset': 2, 'apex': 3, 'offset': 10, 'frame_path': 'a/{frame}.png'}\n"
        "work = partial(inputs._clip, Path(sys.argv[1]), inputs.frames.parse_view('onset_apex@24'))\n"
        "print(len(list(inputs._parallel(work, [row] * 5))))\n"
    )
    command = [sys.executable, str(script), str(tmp_path / "data" / "one")]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "5\n"


def test_a_corpus_of_flow_pictures_gives_flow_alone(world: Callable[..., None]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    bare = [{**r, "onset": None, "apex": None, "offset": None, "frame_path": None} for r in ONE]
    world({"one": dataset(bare, read_flow=lambda root, row: picture)}, {"t": task(3, 2)})
    assert (inputs.load("t", "flow@28").arrays["flow"] == picture).all()
    assert inputs.load("t", "flow@56").arrays["flow"].shape == (3, 56, 56, 3)
    for view in ("onset_apex@48", "apex@48", "uv@48", "clip@48", "flow_clip@48"):
        with pytest.raises(MerBenchError, match=rf"one is released as flow pictures.*has flow@S and no {view}$"):
            inputs.load("t", view)


def test_key_frames_left_blank_are_told(world: Callable[..., None]) -> None:
    world({"one": dataset([*ONE[:2], row("one/2", "c", "happy", onset=None)])}, {"t": task(3, 2)})  # type: ignore[arg-type]
    with pytest.raises(MerBenchError, match="one/2/c: onset, apex or offset is blank"):
        inputs.load("t", "flow@28")


def test_the_question_lies_beside_the_arrays(world: Callable[..., None]) -> None:
    world({"one": dataset(ONE)}, {"t": task(3, 2)})
    inputs.load("t", "flow@28")
    record = json.loads(next((cache.home() / "inputs").glob("one-*/clips.json")).read_text())
    assert record["settings"]["view"] == "flow@28" and len(record["clips"]) == 3


def test_errors_cross_processes() -> None:
    assert str(pickle.loads(pickle.dumps(MerBenchError("a: b")))) == "a: b"


@pytest.mark.skipif(not REAL, reason="MER_BENCH_DATA holds no megc2019_flow")
def test_ridge_on_the_real_flow_scores_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.metrics import f1_score, recall_score

    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path))
    found = inputs.load(TASK, "flow@28")
    x = found.arrays["flow"].reshape(len(found.clips), -1) / np.float32(255)
    y, subjects = found.clips["label"].to_numpy(), found.clips["subject"].to_numpy()
    said = y.copy()
    for subject in np.unique(subjects):
        test = subjects == subject
        said[test] = RidgeClassifier(alpha=300, class_weight="balanced").fit(x[~test], y[~test]).predict(x[test])
    assert f1_score(y, said, average="macro") == pytest.approx(0.703, abs=0.005)
    assert recall_score(y, said, average="macro") == pytest.approx(0.737, abs=0.005)
