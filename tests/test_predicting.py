"""From footage to an answer and a page: shown as its corpus was, all of it on the page, one line for what fails."""

import json
import re
import sys

import cv2
import filmed
import numpy as np
import pytest
import releases
from test_browser import CHROMIUM, opened

from mer_bench.answering import fitting, predicting
from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.door import cli
from mer_bench.pixels import frames, inputs, spotting
from mer_bench.reports import sighting
from mer_bench.training import fold, weights
from mer_bench.training.trainer import Precision

SMALL = {
    "mmnet": {"image_size": 32, "width": 0.125, "epochs": 1},
    "mmnet:flow": {"image_size": 32, "width": 0.125, "epochs": 1},
    "ststnet": {"epochs": 1},
    "ridge_flow": {},
    "bi_woof": {},
    "lbp_top": {},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Weights of small models on the invented CASME II, by name, and the clip they are asked about."""
    place = tmp_path_factory.mktemp("kept")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_BENCH_HOME", str(place / "home"))
        patch.setenv("MER_BENCH_DATA", str(place))
        releases.shrink(patch)
        patch.setattr(fitting.loso, "probe", lambda *_, **__: Precision())
        releases.build("casme2", place / "casme2")
        for name, settings in SMALL.items():
            file = place / f"{name.replace(':', '-')}.safetensors"
            fitting.fit(name, "casme2-5", file, settings=settings, device="cpu", scale="paper")
            found[name] = file
        fold.forget()
    found["clip"] = filmed.write(place / "größe & co.mp4", filmed.drawn()[0])
    found["pictures"] = filmed.pictures(place / "EP01_01", filmed.drawn()[0])
    return found


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SMALL)
def test_footage_is_shown_to_a_model_as_its_corpus_was(kept, name):
    """Pictures of a folder are read without loss: the answer is that of the path that prepares a corpus."""
    onset, apex, offset = (36 + n for n in filmed.drawn()[1])
    found = predicting.predict(kept["pictures"], kept[name], fps=100, onset=onset, apex=apex, offset=offset)
    wanted = weights.read(kept[name])
    view = frames.parse_view(wanted.setting.view)
    row = {"clip": "c", "onset": onset, "apex": apex, "offset": offset, "frame_path": "reg_img{frame}.png"}
    arrays, face = inputs._clip(kept["pictures"], view, row)
    assert face
    stored = {key: array[None] for key, array in arrays.items()}
    said = weights.said(wanted.setting, weights.rebuilt(wanted), stored, 5)[0]
    assert np.allclose(list(found.seen.probabilities.values()), said, atol=1e-6)
    assert list(found.seen.probabilities) == wanted.classes and found.seen.given == ("onset", "apex", "offset")


def test_a_movement_is_spotted_and_everything_is_on_the_page(kept, place):
    ticks = []
    found = predicting.predict(kept["clip"], kept["mmnet"], tick=lambda *step: ticks.append(step))
    _, apex, _ = filmed.drawn()[1]
    count = len(filmed.drawn()[0])
    assert [str(file) for file in found.files] == ["größe & co.html", "größe & co.png"]
    said = found.as_json()
    assert abs(said["apex"] - apex) <= 4 and said["onset"] < said["apex"] < said["offset"] and said["given"] == []
    assert (said["frames"], said["fps"], said["video"]) == (count, 100.0, "größe & co.mp4")
    assert said["prediction"] == max(said["probabilities"], key=said["probabilities"].get)
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5) and ticks[-1][:2] == (count, count)
    assert len(said["curve"]) == count and said["height"] == pytest.approx(max(v for _, v in said["curve"]), abs=1e-6)
    text = found.files[0].read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 4 + 4 and "größe &amp; co.mp4" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert sighting.CAUTION.replace("'", "&#39;") in text and "nobody held out" in text and "--set epochs=1" in text
    image = cv2.imread(str(found.files[1]))
    if image is None:  # OpenCV reads no name outside of ASCII on some systems
        image = cv2.imdecode(np.fromfile(found.files[1], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[1] == 4 * (sighting.TILE + 2 * sighting.MARGIN)
    words = found.words()
    assert all(name in words for name in said["probabilities"]) and f"apex {said['apex']}" in words


def test_the_page_of_a_model_without_maps_has_four_pictures(kept):
    text = predicting.predict(kept["clip"], kept["ridge_flow"], out="a.html").files[0].read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 4 and "Attention" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (apt-get install chromium)")
def test_a_browser_opens_the_page_without_complaint(kept, place):
    page = predicting.predict(kept["clip"], kept["mmnet"], out=place / "page.html").files[0]
    document, said = opened(page, place / "profile")
    assert said == [] and document.count("<img") == 8 and document.count("<svg") == 2


def test_two_pages_of_one_clip_differ_in_their_stamp_alone(kept):
    first, second = (
        predicting.predict(kept["clip"], kept["ststnet"], out=f"{n}.html").files[0].read_text("utf-8") for n in "ab"
    )
    bare = [re.sub(r"(?s)<!-- stamp -->.*?<!-- end of stamp -->", "", text) for text in (first, second)]
    assert bare[0] == bare[1]


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"apex": 3, "onset": 9}, UsageError, r"onset 9 \(given\), apex 3 \(given\)"),
        ({"onset": 40, "offset": 2}, UsageError, "in order; give all that you know"),
        ({"apex": 4000}, MerBenchError, "has no frame 4000"),
        ({"out": "page.pdf"}, UsageError, r"should end in \.html"),
        ({"fps": -3.0}, UsageError, "--fps"),
    ],
)
def test_what_cannot_be_asked_is_told(kept, place, given, kind, said):
    with pytest.raises(kind, match=said):
        predicting.predict(kept["clip"], kept["ridge_flow"], **given)
    assert not list(place.iterdir())


def test_an_apex_alone_moves_what_stands_in_its_way(kept):
    keys = predicting.predict(kept["clip"], kept["ridge_flow"], apex=1).seen.keys
    assert (keys["onset"], keys["apex"]) == (1, 1) and keys["offset"] >= 1


def test_footage_without_a_face_is_one_line(kept, place):
    file = filmed.write(place / "wall.mp4", filmed.wall(12))
    with pytest.raises(MerBenchError, match=r"wall\.mp4: no face is found") as caught:
        predicting.predict(file, kept["ridge_flow"])
    assert "\n" not in str(caught.value) and not list(place.glob("*.html"))


def test_an_onset_whose_face_is_not_found_is_cut_out_as_its_neighbours(kept, monkeypatch):
    calls = []
    monkeypatch.setattr(
        predicting.faces, "align", lambda image, known=predicting.faces.align: calls.append(1) or known(image)
    )
    whole = predicting.predict(kept["clip"], kept["ridge_flow"])
    looks = len(calls)
    calls.clear()
    lost = predicting.faces.centred(filmed.drawn()[0][0])
    known = predicting.faces.align
    monkeypatch.setattr(predicting.faces, "align", lambda image: lost if len(calls) == looks - 1 else known(image))
    with pytest.warns(Remark, match="no face is found in the onset frame"):
        again = predicting.predict(kept["clip"], kept["ridge_flow"])
    assert np.abs(again.seen.crops[0].astype(int) - whole.seen.crops[0]).mean() < 20


def test_remarks_on_weights_that_differ_in_something(kept, tmp_path):
    found = weights.read(kept["ridge_flow"])
    facts = {**found.facts, "pixels": ["faces 0", "flow 0"], "ready_made_flow": True}
    weights.write(tmp_path / "w.safetensors", found.state, facts)
    with pytest.warns(Remark) as told:
        predicting.predict(kept["clip"], tmp_path / "w.safetensors")
    said = " ".join(str(one.message) for one in told)
    assert "faces 0; flow 0" in said and "the footage's flow is computed here" in said


def test_a_movement_that_does_not_stand_out_is_told(kept, place):
    images = filmed.drawn()[0]
    file = filmed.write(place / "restless.mp4", [*images, *images[::-1]] * 3)
    with pytest.warns(Remark, match="no movement stands out"):
        found = predicting.predict(file, kept["ridge_flow"])
    assert not found.as_json()["clear"] and "No movement stands out" in found.files[0].read_text("utf-8")


# The command line


@pytest.fixture
def mer_bench(monkeypatch, capsys):
    """Run the command line here: (exit code, stdout, lines of stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mer-bench", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err.strip().splitlines()

    return run


def test_predict_prints_json_and_words(kept, mer_bench):
    code, out, _ = mer_bench("predict", kept["clip"], "--weights", kept["ststnet"], "--out", "p.html", "--json")
    said = json.loads(out)
    assert code == 0 and said["files"] == ["p.html", "p.png"] and said["model"] == "ststnet"
    code, out, _ = mer_bench("predict", kept["pictures"], "--weights", kept["ststnet"], "--fps", "100")
    assert code == 0 and "drawn in EP01_01.html and EP01_01.png" in out and "disgust" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("predict", "gone.mp4", "--weights", "KEPT"), 1, "gone.mp4: no such video"),
        (("predict", "CLIP", "--weights", "gone.safetensors"), 1, "no such file of weights"),
        (("predict", "PICTURES", "--weights", "KEPT"), 2, "add --fps"),
        (("predict", "CLIP"), 2, "weights"),
        (("fit", "ridge_flow"), 2, "out"),
        (("fit", "ridge_flow", "--out", "w.pt"), 2, "should end in .safetensors"),
        (("fit", "ridge_flow", "--out", "w.safetensors", "--set", "alpha"), 2, "NAME=VALUE"),
    ],
)
def test_an_error_is_one_line_with_its_code(kept, place, mer_bench, words, code, said):
    known = {"KEPT": kept["ridge_flow"], "CLIP": kept["clip"], "PICTURES": kept["pictures"]}
    found, out, lines = mer_bench(*(known.get(word, word) for word in words))
    assert found == code and out == "" and len(lines) == 1 and said in lines[0]
    assert not list(place.iterdir())


# The drawing


def seen(curve, keys=(2, 5, 8), maps=()):
    spotted = spotting.Spotted(*keys, curve, None, True, max(curve) + 1, (3, 2))
    crop = np.full((64, 64, 3), 128, np.uint8)
    facts = {"model": "m", "task": "t", "recipe": "r", "banner": "SYNTHETIC"}
    return sighting.Sighting(
        "x",
        30.0,
        spotted,
        dict(zip(sighting.KEYS, keys, strict=True)),
        (),
        {"a": 0.25, "b": 0.75},
        (crop, crop),
        maps,
        facts,
    )


def test_the_curve_is_broken_where_no_face_was_followed():
    whole = seen({n: 0.01 * (n % 5) for n in range(12)})
    broken = seen({n: 0.01 * (n % 5) for n in (*range(6), *range(9, 15), 20)})
    assert sighting.curve(whole).count('class="mean"') == 1
    assert sighting.curve(broken).count('class="mean"') == 2 and sighting.curve(broken).count('class="trial"') == 1
    assert [list(run) for run in sighting.runs([3, 4, 7, 8, 9])] == [[0, 1], [2, 3, 4]]
    assert [list(run) for run in sighting.runs([3])] == [[0]] and sighting.drawn(broken).ndim == 3


def test_a_map_is_stretched_over_its_own_range_and_a_level_one_stays_dark():
    face = np.full((64, 64, 3), 100, np.uint8)
    ramp = np.linspace(0.2, 0.3, 16, dtype=np.float32).reshape(4, 4)
    bright = sighting.overlaid(face, ramp).mean(2)
    assert bright[-1, -1] > bright[0, 0] + 50
    assert not sighting.overlaid(face, np.full((4, 4), 0.7, np.float32)).std((0, 1)).any()
    names = [one.name for one in sighting.pictures(seen({0: 0.1, 5: 0.2}, maps=(ramp, ramp)))]
    assert names == ["onset", "apex", "difference", "flow", "attention 1", "attention 2"]


def test_the_bar_of_the_likeliest_class_stands_out():
    bars = sighting.bars({"a": 0.25, "b": 0.75})
    assert bars.count('class="shade"') == 1 and bars.count('class="cell"') == 1 and ".750" in bars
