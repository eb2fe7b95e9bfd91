"""Comparing models on the embedded corpus: what is reused, what is refused, what is said."""

import shutil
from dataclasses import replace

import pytest
import toy

from mer_bench import catalog
from mer_bench.answering import commands, comparing
from mer_bench.contracts import MerBenchError, Scale, UsageError
from mer_bench.records import tracking
from mer_bench.searching import tune
from mer_bench.training import fold

RANDOM = """
import numpy as np

from mer_bench.contracts import Baseline


class Guess:
    def __init__(self, num_classes: int, *, seed: int = 0) -> None:
        self.classes, self.rng = num_classes, np.random.default_rng(seed)

    def fit(self, inputs, labels):
        pass

    def predict_proba(self, inputs):
        return self.rng.dirichlet(np.ones(self.classes), len(inputs["flow"]))


BASELINE = Baseline(model=Guess, view="flow@28")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    (folder / "tiny.py").write_text(toy.MODEL)
    (folder / "guess.py").write_text(RANDOM)
    (folder / "ridge_copy.py").write_text((catalog.folder("baseline") / "ridge_flow.py").read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture(scope="module")
def ridge(place):
    return comparing.compare("ridge_flow", "majority")


def test_a_better_model_is_said_to_be_better(ridge, place):
    (gap,) = ridge.differences
    assert gap.ends[0] > 0 and gap.p < 0.05
    assert ridge.verdict.startswith(f"ridge_flow against majority: better by {gap.value:.3f}".replace(" 0.", " ."))
    assert "rule last; each its own recipe" in ridge.verdict
    page = ridge.page.read_text()
    assert ridge.page == type(ridge.page)("reports/compare-ridge_flow-majority-synth-3.html")
    assert "ridge_flow against majority: better by" in page and "SYNTHETIC" in page
    kept = place / "mlruns" / "artifacts" / ridge.ours.run_id / "artifacts" / "comparisons" / ridge.page.name
    assert kept.read_text() == page


def test_json_has_the_promised_shape(ridge):
    said = ridge.as_json()
    assert list(said) == ["models", "differences"] and list(said["models"]) == ["ridge_flow", "majority"]
    (row,) = said["differences"]
    assert {"model", "against", "rule", "uf1", "uf1_interval", "p", "p_holm", "within_seed_noise", "verdict"} <= set(
        row
    )
    assert row["equal_budget"] and row["trials"] is None
    assert said["models"]["ridge_flow"]["reused"] is False


def test_a_copy_of_a_model_is_no_different(ridge, place):
    found = comparing.compare(str(place / "ridge_copy.py"), "ridge_flow")
    assert found.differences[0].value == 0 and found.differences[0].p == 1
    assert found.verdict.startswith("ridge_copy.py against ridge_flow: no difference: both say the same")
    assert not found.ours.reused and found.theirs[0].reused and found.theirs[0].run_id == ridge.ours.run_id


def test_a_copy_of_mmnet_is_no_different_from_mmnet(place, monkeypatch):
    """Trained for real, at a size at which it takes seconds: drawn numbers, not the name, decide."""
    task = replace(toy.TASK, scale=Scale(image_size=28, width=0.125, epochs=2))
    monkeypatch.setattr(toy, "TASK", task)
    toy.install(monkeypatch, toy.corpus(signal=60))
    (place / "mmnet_copy.py").write_text((catalog.folder("baseline") / "mmnet.py").read_text() + "\n# a copy\n")
    found = comparing.compare(f"{place / 'mmnet_copy.py'}:flow", "mmnet:flow", "toy", workers=1)
    fold.forget()
    said = "mmnet_copy.py:flow against mmnet:flow: no difference: both say the same about every clip"
    assert found.verdict == f"{said}; rule last; each its own recipe"
    assert (found.differences[0].value, found.differences[0].ends, found.differences[0].p) == (0, (0, 0), 1)
    assert not found.ours.reused and not found.theirs[0].reused


def test_a_side_without_every_fold_is_not_compared(place, ridge, monkeypatch):
    partial = replace(ridge.ours.result, folds_done=15, notes=("PARTIAL: without synth/01.",))
    monkeypatch.setattr(commands, "run", lambda *args, **options: replace(ridge.ours, result=partial))
    with pytest.raises(MerBenchError, match="ridge_flow cannot be compared: PARTIAL: without synth/01"):
        comparing.compare("ridge_flow", "majority")


def test_two_guesses_are_not_said_to_differ_and_several_rivals_are_corrected_for(ridge, place):
    shutil.copy(place / "guess.py", place / "other.py")
    found = comparing.compare(
        str(place / "guess.py"), [str(place / "other.py"), "majority", "ridge_flow"], settings={"seed": 5}
    )
    same, _, worse = found.differences
    assert "no difference shown" in same.verdict and worse.verdict.startswith("worse by")
    assert worse.p > worse.found.p or worse.found.p == worse.p == 0
    assert all("corrected for 3 comparisons" in line for line in found.verdicts)


def test_only_an_identical_question_is_answered_from_the_record(ridge, place):
    again = commands.run("ridge_flow", reuse=True)
    assert again.reused and again.run_id == ridge.ours.run_id
    assert again.result.rules["last"] == ridge.ours.result.rules["last"]
    other = commands.run("ridge_flow", seeds=2, reuse=True)
    assert not other.reused
    (place / "ridge_copy.py").write_text((place / "ridge_copy.py").read_text() + "\n# edited\n")
    assert not commands.run(str(place / "ridge_copy.py"), reuse=True).reused
    before = len(tracking.open().results())
    assert commands.run("ridge_flow", seeds=2, reuse=True).run_id == other.run_id
    assert len(tracking.open().results()) == before


def test_the_same_name_or_nothing_to_compare_with(place):
    for others in ("ridge_flow", ["majority", "majority"], []):
        with pytest.raises(UsageError, match="--against"):
            comparing.compare("ridge_flow", others)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 4}, "majority its own recipe.*no suggest.*--unequal"),
        ({"trials": 4, "against_trials": 2}, "unequal"),
    ],
)
def test_unequal_budgets_are_refused_before_anything_runs(place, options, words):
    before = len(tracking.open().results())
    with pytest.raises(UsageError, match=words):
        comparing.compare(str(place / "tiny.py"), "majority", **options)
    assert len(tracking.open().results()) == before


def test_budgets_in_words():
    assert comparing.budgets(None, None) == "each its own recipe"
    assert comparing.budgets(8, 8) == "each searched with 8 trials"
    assert comparing.budgets(8, None) == "UNEQUAL BUDGETS: 8 trials against its own recipe"


def test_both_sides_are_searched_alike_or_unequally_if_allowed(place, ridge, monkeypatch):
    monkeypatch.setattr(tune, "search", toy.in_this_process)
    bare = (
        toy.MODEL.split("def suggest")[0] + "BASELINE = Baseline(model=Tiny, view='flow@28', recipe=Recipe(epochs=2))\n"
    )
    (place / "bare.py").write_text(bare)
    (place / "space.py").write_text("def suggest(trial):\n    trial.suggest_float('lr', 1e-4, 1e-1, log=True)\n")
    options = {"trials": 2, "sampler": "random", "workers": 2, "rules": ("nested-no-refit",), "refit": False}
    with pytest.raises(UsageError, match="no suggest"):
        comparing.compare(str(place / "bare.py"), str(place / "tiny.py"), **options)
    found = comparing.compare(str(place / "bare.py"), str(place / "tiny.py"), space=str(place / "space.py"), **options)
    assert found.ours.result.trials == found.theirs[0].result.trials == 2
    assert "rule nested-no-refit; each searched with 2 trials" in found.verdict
    assert [set(trial.values) for trial in found.ours.result.evidence.trials] == [{"lr"}] * 2
    assert found.as_json()["differences"][0]["equal_budget"] is True
    unequal = comparing.compare(str(place / "bare.py"), str(place / "tiny.py"), unequal=True, **options)
    assert "UNEQUAL BUDGETS: its own recipe against 2 trials" in unequal.verdict
    assert "rule last against nested-no-refit" in unequal.verdict
    (row,) = unequal.as_json()["differences"]
    assert (row["equal_budget"], row["trials"], row["against_trials"]) == (False, None, 2)
    assert "its own recipe against 2 trials" in unequal.page.read_text()
    assert unequal.theirs[0].reused and unequal.theirs[0].run_id == found.theirs[0].run_id
    again = commands.search(str(place / "tiny.py"), **options)
    assert again.reused and again.run_id == found.theirs[0].run_id


@pytest.mark.parametrize("text", ["", "def propose(trial): ..."])
def test_a_space_file_must_define_suggest(place, tmp_path, text):
    with pytest.raises(UsageError, match=r"gone.py"):
        catalog.space("mmnet", str(tmp_path / "gone.py"))
    (tmp_path / "empty.py").write_text(text)
    with pytest.raises(UsageError, match=r"empty.py should define suggest"):
        catalog.space("mmnet", str(tmp_path / "empty.py"))


def test_a_file_s_own_suggest_is_found_without_being_named(tmp_path):
    (tmp_path / "own.py").write_text(toy.MODEL.replace(", suggest=suggest", ""))
    assert catalog.searchable(str(tmp_path / "own.py")) and catalog.searchable("mmnet")
    assert not catalog.searchable("majority")
    with pytest.raises(UsageError, match="unknown baseline"):
        catalog.searchable("nobody")
