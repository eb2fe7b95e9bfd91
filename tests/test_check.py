"""`mer-bench check`: every broken model is told what is wrong with it, and no file takes the command down."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy

from mer_bench.contracts import UsageError
from mer_bench.pixels import frames
from mer_bench.verifying import canary, check, contract

BROKEN = Path(__file__).parent / "broken_models"
SAID = {
    "missing_library": [("can be imported", "raises ModuleNotFoundError in line 3: No module named 'a_library")],
    "no_baseline": [("can be imported", "must end in BASELINE = Baseline(...)")],
    "leaves": [("can be built", "calls sys.exit in line 13; raise an error instead")],
    "no_default": [("its options", "option 'hidden' has no default; give it a number, a word")],
    "wrong_argument": [("its arguments are", "forward(frames) should name what flow@28 holds: flow")],
    "wrong_shape": [("answers a row", "answers 8x7 for 8 clips; give 8x3, one column a class")],
    "three_classes_only": [("answers a row", "answers 8x3 for 8 clips; give 8x5, one column a class")],
    "outside_its_space": [("its default lies", "lies outside its space")],
    "nan_gradients": [
        ("every weight", "parameter first.weight gets a gradient that is NaN or infinite; look for a root"),
        ("memorises", "cannot memorise eight clips"),
        ("keeps nothing", "diverges on a drawn corpus"),
    ],
    "missing_gradients": [
        ("every weight", "parameter first.weight gets no gradient: it is created and never used, or cut off"),
        ("memorises", "cannot memorise eight clips"),
    ],
    "own_seed": [("weights obey", "weights or dropout ignore the seed: the file seeds torch itself")],
    "own_generator": [("weights obey", "weights ignore the seed: two seeds give the same weight")],
    "unseeded": [("weights obey", "two trainings under one seed differ (fc.weight): some randomness comes from else")],
    "keeps_state": [
        ("judges each", "its forward keeps state between clips"),
        ("keeps nothing", "changes mean while it is scored on test clips"),
    ],
    "keeps_a_number": [
        ("judges each", "its forward keeps state between clips"),
        ("its weights are all", "its answers depend on more than its state dict"),
        ("never learns", "with half of them repainted, its weights are other ones"),
    ],
    "hidden_weights": [("its weights are all", "its answers depend on more than its state dict")],
    "cannot_memorise": [("memorises", "of 8 right after 200 steps of Adam")],
    "reads_the_corpus": [("imports no labels", "mer_bench.pixels.inputs.load in line 8: labels and test clips lie")],
    "best_test_epoch": [("never asks", "keep no best epoch by test score")],
    "batch_statistics": [
        ("judges each", "a clip's answer depends on the clips beside it: in evaluation take no mean, variance"),
        ("never learns", "with half of them repainted, its answers for the others are other ones; take means, scales"),
    ],
    "fitted_test_statistics": [
        ("judges each", "predict_proba may take no mean, variance or rank over the clips it is shown"),
        ("never learns", "with half of them repainted, its answers for the others are other ones; take means, scales"),
    ],
    "remembers_labels": [("keeps nothing", "carries something from fold to fold: after another fold, which trains on")],
    "stores_labels": [("keeps nothing", "its answers are other than before; keep no labels, clips or statistics in")],
}
"""Model -> what its faults begin with, check by check, and what is said; `crashes` and `endless` are tested below."""


def command(*words, cwd):
    call = [sys.executable, "-c", "from mer_bench.door.cli import main; main()", "check", *map(str, words)]
    return subprocess.run(call, cwd=cwd, env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True)


def test_every_broken_model_is_looked_at():
    assert {path.stem for path in BROKEN.glob("*.py")} == set(SAID) | {"crashes", "endless"}


@pytest.mark.parametrize("name", SAID)
def test_a_broken_model_is_told_what_is_wrong(name):
    faults = [f for f in check.examine(str(BROKEN / f"{name}.py")) if not f.passed]
    print(faults)
    assert len(faults) == len(SAID[name])
    for fault, (begins, said) in zip(faults, SAID[name], strict=True):
        assert fault.check.startswith(begins) and said in fault.said
        assert "\n" not in fault.said and not fault.said.startswith(str(BROKEN))


def test_a_crash_is_told_with_the_check_that_was_going_on(tmp_path):
    done = command(BROKEN / "crashes.py", cwd=tmp_path)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "FAULT answers a row a clip" in said and "crashes.py ends the whole process (SIGABRT)" in said
    assert "passed its arguments are the view's" in said and "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes below /proc")
def test_an_endless_loop_ends_with_all_that_it_started(tmp_path):
    done = command(BROKEN / "endless.py", "--seconds", "5", "--json", cwd=tmp_path)
    assert done.returncode == 1
    (fault,) = json.loads(done.stdout)["faults"]
    assert (
        fault.startswith("answers a row a clip") and "does not end within 5 seconds; look for an endless loop" in fault
    )
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.is_dir()]
    assert not [line for line in running if b"a broken model's" in line]


def test_a_good_file_is_clean_and_nothing_it_prints_reaches_the_answer(tmp_path):
    (tmp_path / "tiny.py").write_text("print('hello')\n" + toy.MODEL)
    done = command("tiny.py", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["clean"] and said["faults"] == [] and said["model"] == "tiny.py"
    titles = [check["check"] for check in said["checks"]]
    assert titles[-1] == "never learns from the test subject's pictures" and len(titles) == check.MOST


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.py"], "no file gone.py; give a path to a .py file"),
        (["mment"], "unknown baseline 'mment'; known: "),
        (["ststnet", "--seconds", "0"], "--seconds 0: more than none"),
    ],
)
def test_a_wrong_command_is_a_usage_error(words, said, tmp_path):
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr and done.stdout == ""


def test_other_errors_name_the_line_of_the_file(tmp_path):
    (tmp_path / "mine.py").write_text(toy.MODEL.replace("self.net(flow / 255)", "self.net(flow.flatten(1))"))
    (fault,) = [f for f in check.examine(str(tmp_path / "mine.py")) if not f.passed]
    line = toy.MODEL[: toy.MODEL.index("return self.net")].count("\n") + 1
    assert fault.said.startswith(f"raises RuntimeError in line {line}: ") and fault.said.endswith("; correct it there")
    (tmp_path / "half.py").write_text("x = (\n")
    (fault,) = check.examine(str(tmp_path / "half.py"))
    assert fault.said.startswith("raises SyntaxError in line 1: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("recipe=Recipe(", "small={'depth': 1}, recipe=Recipe("), "has no setting 'depth'; known: model.hidden"),
        (('view="flow@28"', 'view="frames@28"'), "unknown view 'frames@28'"),
        (("recipe=Recipe(", "presets={'big': {'wide': 1}}, recipe=Recipe("), "has no setting 'wide'; known: model"),
        (("return self.net(flow / 255)", "return self.net(flow / 255), flow"), "forward returns a tuple; return the"),
        (("class Tiny(nn.Module)", "class Tiny"), "its model (Tiny) is no torch module; return an nn.Module"),
    ],
)
def test_settings_that_do_not_exist(change, said, tmp_path):
    (tmp_path / "mine.py").write_text(toy.MODEL.replace(*change))
    faults = [f.said for f in check.examine(str(tmp_path / "mine.py")) if not f.passed]
    assert len(faults) == 1 and said in faults[0]


@pytest.mark.parametrize("view", ["flow@28", "onset_apex@16", "onset_apex@16+near"])
def test_the_canarys_corpus(view):
    data = canary.corpus(view)
    shapes = frames.parse_view(view).shapes
    assert {name: array.shape[1:] for name, array in data.arrays.items()} == shapes
    subjects, labels = data.clips["subject"].to_numpy(), data.clips["label"].to_numpy()
    assert all(set(labels[subjects == subject]) == {0, 1, 2} for subject in set(subjects))
    moved = canary.relabelled(data, canary.SUBJECT, 1)
    assert np.array_equal(moved.clips["label"].to_numpy() != labels, subjects == canary.SUBJECT)
    painted = canary.repainted(data, np.array([7, 9]))
    for name, array in data.arrays.items():
        changed = [row for row in range(len(array)) if not np.array_equal(array[row], painted.arrays[name][row])]
        assert changed == [7, 9]
        for label in range(3):
            top, left = (half * array.shape[-2] // 2 for half in divmod(label, 2))
            corner = array[..., top : top + 8, left : left + 8, :].reshape(len(array), -1).mean(1)
            assert corner[labels == label].min() > corner[labels != label].max()


def test_the_canary_can_die():
    """Another fold trains on the scrambled subject, so it must move: else the canary proves nothing."""
    case, data = contract.case("ststnet"), canary.corpus("flow@28")
    other = canary.relabelled(data, canary.SUBJECT, 1), canary.repainted(data, np.arange(6, 13))
    weights = [canary.trained(case, corpus, canary.ANOTHER).weights for corpus in (data, *other)]
    assert len(set(weights)) == 3


def test_one_small_size_for_all():
    """A method that states its own `small` is built at it, any other at the embedded corpus's size."""
    assert contract.case("mmnet").setting.view == "onset_apex@32+near"
    assert contract.case("ststnet").setting.view == "flow@28"
    with pytest.raises(UsageError, match="has no preset"):
        contract.case("mmnet:papr")
