"""`mer-bench data` as a person meets it: what is added and checked, and one clear line for what is wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import releases

from mer_bench import catalog, clips
from mer_bench.answering import commands
from mer_bench.door import cli
from mer_bench.pixels import cache, inputs

SHEET = """subject,clip,onset,apex,offset,label,folder,action_units
a,one,3,5,8,happy,frames/a one,12
a,two,1,,6,sad,frames/a two,4+L15
b,one,1,3,6,happy,frames/b one,
b,two,2,4,6,sad,frames/b two,R14A or 17A
ö,one,1,4,6,sad,frames/ö one,?
"""
PLUGIN = '''"""A corpus in one file."""

from mer_bench import clips, coding, sheets
from mer_bench.contracts import Dataset, Task


def read_annotations(root):
    rows = sheets.rows(root / "mine.csv")
    return clips.table(coding.clip("plug", row.cells["subject"], row.cells["clip"], row, fps=50) for row in rows)


DATASET = Dataset(
    title="Plugged in", read_annotations=read_annotations, licence="mine",
    tasks={"plug-2": Task(("plug",), ("happy", "sad"), {"happy": "happy", "sad": "sad"}, clips=0, subjects=0)},
)
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One database of runs for all: making it costs more than a run."""
    return f"sqlite:///{tmp_path_factory.mktemp('runs')}/mlflow.db"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, runs):
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", runs)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mer_bench(monkeypatch, capsys):
    """Run the command line here: (exit code, stdout, last line of stderr)."""

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
        return code, out, err.strip().splitlines()[-1] if err.strip() else ""

    return run


def own(root, text=SHEET):
    """A corpus of one's own: its sheet and its frames."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("a one", "a two", "b one", "b two", "ö one"):
        (root / "frames" / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, 9):
            (root / "frames" / name / f"f{number:03d}.jpg").write_bytes(releases.picture(".jpg", number))
    (root / "mine.csv").write_text(text, encoding="utf-8")
    return root / "mine.csv"


def test_a_release_is_added_and_held_against_the_real_pins(place, mer_bench):
    root = place / "größe of things"
    releases.build("casme2", root)
    assert mer_bench("data", "add", "casme2", root)[:2] == (0, f"casme2: {root}\n")
    code, out, said = mer_bench("data", "check", "casme2")
    assert code == 1 and "MISSED" in out and "255" in out
    assert f"casme2-5 {clips.sha256(clips.select(inputs.table('casme2'), catalog.task('casme2-5')))}" in out
    assert "pinned counts missed" in said and said.startswith("mer-bench: casme2: ")
    assert "note: casme2/04/EP12_01f (CASME2-coding-20140508.xlsx row 4): apex blank mended to 279" in out


def test_a_whole_release_passes_and_options_reach_it(place, mer_bench, monkeypatch):
    releases.shrink(monkeypatch)
    releases.build("samm", place / "samm")
    mer_bench("data", "add", "samm", place / "samm")
    code, out, _ = mer_bench("data", "check", "samm")
    assert code == 0 and "MISSED" not in out and "error:" not in out
    code, out, _ = mer_bench("data", "check", "samm", "--no-mends", "--json")
    found = json.loads(out)
    assert code == 1 and not found["ok"] and found["name"] == "samm:no-mends"
    assert {one["clip"] for one in found["findings"] if one["error"]} == {
        "samm/013/013_1_9", "samm/028/028_4_1", "samm/032/032_3_1",
    }  # fmt: skip
    code, out, _ = mer_bench("data", "check", "samm", "--task", "samm-5", "--no-mends")
    assert code == 1 and "032_3_1" not in out and "samm-3" not in out
    code, out, _ = mer_bench("run", "majority", "--task", "samm-3", "--json")
    assert code == 0 and json.loads(out)["clips"] == 8
    code, _, said = mer_bench("run", "majority", "--task", "samm-3", "--no-mends")
    assert code == 1 and "samm/013/013_1_9" in said


def test_train_on_one_and_test_on_another(place, mer_bench, monkeypatch):
    releases.shrink(monkeypatch)
    for name in ("samm", "smic"):
        releases.build(name, place / name)
        mer_bench("data", "add", name, place / name)
    code, out, _ = mer_bench("run", "majority", "--train", "samm-3", "--test", "smic-3", "--json")
    found = json.loads(out)
    assert (code, found["task"], found["clips"]) == (0, "samm-3>smic-3", 6)
    assert mer_bench("run", "majority", "--train", "samm-3")[0] == 2
    assert mer_bench("run", "majority", "--train", "samm-3", "--test", "smic-3", "--task", "samm-3")[0] == 2


def test_prepare_tells_what_it_did(place, mer_bench, monkeypatch):
    releases.shrink(monkeypatch)
    root = place / "casme2"
    releases.build("casme2", root)
    (root / "CASME2-coding-20190701.xlsx").unlink()
    blank = releases.cv2.imencode(".jpg", releases.faces()[0] * 0)[1].tobytes()
    for frame in (root / "Cropped/sub05/EP02_07").iterdir():
        frame.write_bytes(blank)
    mer_bench("data", "add", "casme2", root)
    code, out, _ = mer_bench("data", "prepare", "casme2", "--model", "ridge_flow")
    assert code == 0
    assert "casme2-5: 11 clips as flow; 1 without a found face show the middle of the frame:" in out
    assert "  casme2/05/EP02_07" in out and "casme2-5-mmnet" not in out
    code, out, _ = mer_bench("data", "prepare", "casme2", "--task", "casme2-3", "--model", "mmnet:flow")
    assert code == 0 and out.startswith("casme2-3: 7 clips as flow")
    assert mer_bench("data", "prepare", "casme2", "--model", "mment")[0] == 2
    assert mer_bench("data", "prepare", "samm")[0] == 1


def test_show_draws_a_sheet(place, mer_bench):
    releases.build("smic", place / "smic")
    mer_bench("data", "add", "smic", place / "smic")
    code, out, _ = mer_bench("data", "show", "smic", "--clips", 2)
    assert code == 0 and out.startswith("smic.png: 2 clips") and (place / "smic.png").stat().st_size > 1000
    assert mer_bench("data", "show", "smic", "--out", "sheet.gif")[0] == 2


def test_the_list_names_editions_and_places(place, mer_bench):
    own(place / "own")
    mer_bench("data", "add", "mine", "--sheet", place / "own" / "mine.csv")
    code, out, _ = mer_bench("data", "list")
    assert code == 0
    assert all(word in out for word in ("casme2:2019", "made of casme2,", "mine-2", "drawn when first"))


def test_a_corpus_of_ones_own_is_read_pinned_and_run(place, mer_bench):
    sheet = own(place / "my größe")
    assert mer_bench("data", "add", "mine", "--sheet", sheet)[0] == 0
    task = catalog.task("mine-2")
    assert (task.classes, task.clips, task.subjects, task.counts) == (("happy", "sad"), 5, 3, (2, 3))
    table = inputs.clips_of("mine-2")
    assert task.sha256 == clips.sha256(table) and "mine/ö/one" in table["clip"].to_list()
    assert table["apex_source"].to_list().count("middle") == 1
    code, out, _ = mer_bench("data", "check", "mine")
    assert code == 0 and "apex is blank; middle (3) taken" in out
    assert commands.run("majority", "mine-2", workers=1).result.folds_done == 3
    sheet.write_text(SHEET.replace("b,two", "b,three"), encoding="utf-8")
    assert mer_bench("run", "majority", "--task", "mine-2")[0] == 1
    assert mer_bench("data", "add", "mine", "--sheet", sheet)[0] == 0
    assert "mine/b/three" in inputs.clips_of("mine-2")["clip"].to_list()


def test_a_corpus_of_ones_own_may_be_a_workbook(place, mer_bench):
    own(place / "own")
    rows = [[releases.typed(cell) for cell in line.split(",")] for line in SHEET.splitlines()]
    releases.write_xlsx(place / "own" / "mine.xlsx", rows)
    assert mer_bench("data", "add", "mine", "--sheet", place / "own" / "mine.xlsx")[0] == 0
    assert mer_bench("data", "check", "mine")[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHEET.replace("label", "lable"), "lacks the columns EstimatedEmotion"),
        (SHEET.replace("a,one,3,5,8", "a,one,3,9,8"), "mine/a/one: onset 3 <= apex 9 <= offset 8"),
        (SHEET.replace("a,two,1,", "a,one,1,"), "mine/a/one: appears twice"),
        (SHEET.replace("a,one,3", "a,one,x"), "mine/a/one: onset, apex or offset is blank"),
        (SHEET.replace("frames/a one", "../a one"), "is not below"),
        (SHEET.replace("sad", "happy"), "1 labels and 3 subjects"),
        (SHEET.replace(",happy,", ",,"), "emotion is blank"),
    ],
)
def test_a_bad_sheet_of_ones_own_is_one_line_and_adds_nothing(place, mer_bench, text, said):
    sheet = own(place / "own", text)
    code, _, line = mer_bench("data", "add", "mine", "--sheet", sheet)
    assert code == 1 and said in line
    assert "mine" not in catalog.names("dataset") and "mine" not in cache.registry()


def test_a_plug_in_of_ones_own(place, mer_bench):
    own(place / "own")
    (place / "plug.py").write_text(PLUGIN)
    assert mer_bench("data", "add", "plug.py", place / "own")[0] == 0
    assert catalog.dataset("plug").title == "Plugged in" and len(inputs.clips_of("plug-2")) == 5
    (place / "bad.py").write_text("DATASET = 1")
    assert mer_bench("data", "add", "bad.py", place / "own")[0] == 2
    assert "bad" not in catalog.names("dataset")


def test_mends_of_ones_own_are_another_question(place, mer_bench, monkeypatch):
    releases.shrink(monkeypatch)
    root = place / "samm größe"
    releases.build("samm", root)
    # as if the project did not know of the slip
    known = catalog.load

    def load(kind, path):
        module = known(kind, path)
        if path.stem != "samm":
            return module
        return SimpleNamespace(DATASET=replace(module.DATASET, mends=()))

    monkeypatch.setattr(catalog, "load", load)
    lines = ("samm/013/013_1_9,offset,5739", "samm/028/028_4_1,apex,1105", "samm/032/032_3_1,apex,4945")
    mended = "\n".join(["clip,column,value,reason", *(f"{line},seen in the frames" for line in lines)])
    assert mer_bench("data", "add", "samm", root)[0] == 0
    assert mer_bench("data", "check", "samm")[0] == 1
    code, _, said = mer_bench("data", "check", "samm:own-mends")
    assert code == 2 and "data add samm PATH --mends FILE" in said
    (place / "mends.csv").write_text(mended, encoding="utf-8")
    code, out, _ = mer_bench("data", "add", "samm", root, "--mends", place / "mends.csv")
    assert code == 0 and "3 mends of your own: ask for samm:own-mends" in out
    assert mer_bench("data", "check", "samm")[0] == 1
    code, out, _ = mer_bench("data", "check", "samm:own-mends")
    assert code == 0 and "mended to 5739: seen in the frames" in out and "samm-5:own-mends " in out
    code, out, _ = mer_bench("run", "majority", "--task", "samm-3:own-mends", "--json")
    assert code == 0 and json.loads(out)["task"] == "samm-3:own-mends"
    table = inputs.table("samm:own-mends")
    assert table.filter(clips.pl.col("apex_source") == "mended")["clip"].to_list() == [
        "samm/028/028_4_1", "samm/032/032_3_1",
    ]  # fmt: skip


HEAD = "clip,column,value,reason\n"
BAD_MENDS = {
    "no such clip": (HEAD + "casme/01/EP99,apex,5,seen\n", "casme/01/EP99.apex .* matches no clip"),
    "no reason": (HEAD + "casme/01/EP01_5,apex,5,\n", "row 2: reason is blank"),
    "no clip": (HEAD + ",apex,5,seen\n", "row 2: clip is blank"),
    "other column": (HEAD + "casme/01/EP01_5,sides,5,seen\n", "no column 'sides' to mend; one of onset, apex, offset"),
    "no number": (HEAD + "casme/01/EP01_5,apex,5.5,seen\n", "apex '5.5' is no frame number"),
    "no columns": ("clip,apex\nx,1\n", "lacks the columns column, value, reason"),
    "empty": ("", "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD_MENDS)
def test_bad_mends_of_ones_own_are_one_line_and_nothing_is_kept(place, mer_bench, kind):
    text, said = BAD_MENDS[kind]
    releases.build("casme", place / "casme", frames=False)
    (place / "mends.csv").write_text(text)
    code, _, line = mer_bench("data", "add", "casme", place / "casme", "--mends", place / "mends.csv")
    assert code == 1 and re.search(said, line) and not (place / "home" / "mends").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data", "add", "casme9", "."), "known: "),
        (("data", "add", "casme2"), "needs the folder"),
        (("data", "add", "casme2", "--sheet", "mine.csv"), "is a corpus of the project"),
        (("data", "add", "Mine", "--sheet", "mine.csv"), "small letters"),
        (("data", "add", "mine", ".", "--sheet", "mine.csv"), "not both"),
        (("data", "add", "mine", "--sheet", "mine.csv", "--mends", "m.csv"), "correct your own sheet"),
        (("data", "add", "gone.py", "."), "no file gone.py"),
        (("data", "add", "megc2019", "."), "add casme2, samm, smic instead"),
        (("data", "check", "casme9"), "known: "),
        (("data", "check", "casme2:2018"), "known: 2019"),
        (("data", "check", "casme2", "--task", "samm-3"), "known: casme2-5"),
        (("data", "check", "casme2", "--apex", "best"), "flow-peak"),
    ],
)
def test_a_usage_error_is_one_line(mer_bench, words, said):
    code, out, line = mer_bench(*words)
    assert code == 2 and said in line and out == ""


def test_a_corpus_that_is_not_there(mer_bench):
    code, _, said = mer_bench("data", "check", "casme2")
    assert code == 1 and "mer-bench data add casme2 PATH" in said and "signed agreement" in said


DAMAGE = {
    "no sheet": (lambda root: [sheet.unlink() for sheet in root.glob("*.xlsx")], "no sheet CASME2-coding-20140508"),
    "cut sheet": (lambda root: cut(root / "CASME2-coding-20140508.xlsx", 800), "is no readable Excel file"),
    "wrong sheet": (
        lambda root: shutil.copy(root / "other.xlsx", root / "CASME2-coding-20140508.xlsx"),
        "lacks the columns Subject",
    ),
    "protected sheet": (
        lambda root: (root / "CASME2-coding-20140508.xlsx").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(99)),
        "is protected by a password",
    ),
    "no folder": (shutil.rmtree, "is no folder"),
}


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_release_that_cannot_be_read_is_one_line(place, mer_bench, kind):
    damage, said = DAMAGE[kind]
    root = place / "casme2"
    releases.build("casme2", root, frames=False)
    (root / "CASME2-coding-20190701.xlsx").unlink()
    if kind == "wrong sheet":
        releases.write_xlsx(root / "other.xlsx", [["dataset", "label"], ["x", 1]])
    damage(root)
    code, out, line = mer_bench("data", "add", "casme2", root)
    assert code == 1 and said in line and out == "" and "casme2" not in cache.registry()


def test_a_folder_too_deep_names_the_right_one(place, mer_bench):
    root = place / "casme2"
    releases.build("casme2", root, frames=False)
    (root / "Cropped").mkdir(exist_ok=True)
    code, _, line = mer_bench("data", "add", "casme2", root / "Cropped")
    assert code == 1 and f"it lies in {root}: give that folder" in line
    releases.build("smic", place / "smic")
    for wrong in (place / "smic/SMIC_all_cropped/HS/s1", place / "smic/SMIC_all_cropped/HS/s1/micro"):
        code, _, line = mer_bench("data", "add", "smic", wrong)
        assert code == 1 and "give the folder that holds HS" in line
    assert mer_bench("data", "add", "smic", place / "smic/SMIC_all_cropped/HS")[0] == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (300, "is cut off"), (b"\xff\xd8 no picture \xff\xd9", "no readable picture")],
)
@pytest.mark.parametrize("frame", ["reg_img36.jpg", "reg_img38.jpg"])
def test_a_damaged_frame_is_named_with_clip_and_cure(place, mer_bench, monkeypatch, content, said, frame):
    releases.shrink(monkeypatch)
    root = place / "casme2"
    releases.build("casme2", root)
    mer_bench("data", "add", "casme2", root)
    file = root / "Cropped/sub05/EP02_07" / frame
    file.write_bytes(file.read_bytes()[:content] if isinstance(content, int) else content)
    words = ["--every-frame"] if frame == "reg_img38.jpg" and content else []
    code, out, _ = mer_bench("data", "check", "casme2", "--task", "casme2-5", *words)
    (line,) = [line for line in out.splitlines() if line.startswith("error:")]
    assert code == 1 and line.startswith("error: casme2/05/EP02_07 (CASME2-coding-20140508.xlsx row 6): frame 3")
    assert said in line and "copy it again from the release" in line
    if frame == "reg_img36.jpg":
        code, _, line = mer_bench("run", "majority", "--task", "casme2-5", "--workers", "1")
        assert code == 1 and line.startswith("mer-bench: casme2/05/EP02_07: ") and said in line


def test_a_cache_that_cannot_be_written_is_one_line(place, mer_bench):
    releases.build("casme", place / "casme", frames=False)
    (place / "home").write_text("a file where the folder should be")
    code, _, line = mer_bench("data", "add", "casme", place / "casme")
    assert code == 1 and "home" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_release_that_may_not_be_written_is_read(place, mer_bench):
    releases.build("casme", place / "casme", frames=False)
    (place / "casme").chmod(0o555)
    assert mer_bench("data", "add", "casme", place / "casme")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written_is_one_line(place, mer_bench):
    releases.build("casme", place / "casme", frames=False)
    (place / "home").mkdir(mode=0o555)
    code, _, line = mer_bench("data", "add", "casme", place / "casme")
    assert code == 1 and "home" in line and "make it readable, writable" in line


def test_an_emotion_that_no_one_knows_is_named_with_row_clip_and_cure(place, mer_bench, monkeypatch):
    releases.shrink(monkeypatch)
    releases.build("casme2", place / "casme2")
    rows = releases.rows_of("casme2/CASME2-coding-20140508.csv")
    rows[2][8] = "hapiness"
    releases.write_xlsx(place / "casme2/CASME2-coding-20140508.xlsx", rows)
    mer_bench("data", "add", "casme2", place / "casme2")
    code, out, _ = mer_bench("data", "check", "casme2")
    (line,) = [line for line in out.splitlines() if "hapiness" in line and line.startswith("error:")]
    assert code == 1 and "casme2/01/EP03_02 (CASME2-coding-20140508.xlsx row 3)" in line and "add a Mend" in line


def test_a_clip_that_stands_twice_is_named(place, mer_bench, monkeypatch):
    releases.shrink(monkeypatch)
    releases.build("casme2", place / "casme2")
    rows = releases.rows_of("casme2/CASME2-coding-20140508.csv")
    releases.write_xlsx(place / "casme2/CASME2-coding-20140508.xlsx", [*rows, rows[2]])
    mer_bench("data", "add", "casme2", place / "casme2")
    code, out, _ = mer_bench("data", "check", "casme2", "--task", "casme2-5")
    assert code == 1 and "error: casme2/01/EP03_02" in out and "appears twice" in out


def test_a_composite_with_clips_missing_misses_its_pin(place, mer_bench, monkeypatch):
    """435 of 442 clips were once published as the whole: seven of SMIC were missing."""
    releases.shrink(monkeypatch)
    for name in ("casme2", "samm", "smic"):
        releases.build(name, place / name)
        mer_bench("data", "add", name, place / name)
    assert mer_bench("data", "check", "megc2019")[0] == 0
    shutil.rmtree(place / "smic/SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01")
    code, out, _ = mer_bench("data", "check", "megc2019")
    assert code == 1 and "MISSED" in out
    assert mer_bench("run", "majority", "--task", "megc2019-3", "--workers", "1")[0] == 1


KILLED = """
import os, signal
from mer_bench.pixels import inputs

known, made = inputs._clip, []

def clip(*words):
    made.append(1)
    if len(made) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return known(*words)

inputs._clip = clip
inputs.FEW = 10**6  # in this process
inputs.stores.EVERY = 4
from mer_bench.door import data
data.prepare("mine", "", "ridge_flow", "task")
"""


def test_a_preparation_that_is_killed_leaves_nothing_that_is_read_and_goes_on(place, mer_bench):
    sheet = own(place / "own")
    folders = ("a one", "a two", "b one", "b two", "ö one")
    lines = [
        f"{folder[0]},{folder[2:]}{first},{first},,{first + 3},{'happy' if first % 2 else 'sad'},frames/{folder}"
        for folder in folders
        for first in range(1, 5)
    ]
    sheet.write_text("\n".join(["subject,clip,onset,apex,offset,label,folder", *lines]), encoding="utf-8")
    assert mer_bench("data", "add", "mine", "--sheet", sheet)[0] == 0
    done = subprocess.run([sys.executable, "-c", KILLED.format(after=11)], capture_output=True, text=True, cwd=place)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    entries = place / "home" / "inputs"
    assert not [entry for entry in entries.iterdir() if not entry.name.startswith(".")]
    (partial,) = entries.glob(".partial-mine-*")
    assert json.loads((partial / "progress.json").read_text())["done"] == 8
    code, out, _ = mer_bench("data", "prepare", "mine", "--model", "ridge_flow")
    assert code == 0 and out.startswith("mine-2: 20 clips as flow") and not partial.exists()
    resumed = inputs.load("mine-2", "flow@28").arrays["flow"].copy()
    shutil.rmtree(entries)
    assert (resumed == inputs.load("mine-2", "flow@28").arrays["flow"]).all()
