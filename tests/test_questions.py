"""What a study says of its runs: no number stands under a run that did not find it, and none is lost."""

from dataclasses import replace

import pytest
import toy

from mer_bench import catalog
from mer_bench.answering import commands, reproduce
from mer_bench.contracts import MerBenchError, resolve
from mer_bench.records import provenance, tracking
from mer_bench.searching import studies, trials, tune
from mer_bench.training import loso, probes, trainer


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The toy corpus, and a search in this process that a budget of one second stops after two trials."""
    toy.install(monkeypatch, toy.corpus(signal=60, sizes=(6, 5, 7, 4, 5)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tune, "search", searched)
    (tmp_path / "tiny.py").write_text(toy.MODEL)
    return str(tmp_path / "tiny.py")


def searched(study, cluster, on_end, budget=None):
    """As `tune.search`, without Ray."""
    brain = tune.Control(study, on_end, None)
    while len(trials.everything(study)) < (2 if budget else study.trials):
        number = brain.next()
        for place in range(len(study.folds)):
            trials.run_fold(study, number, place)
        trials.close(study, number, trials.COMPLETE)
        brain.end(number)
    return trials.everything(study)


def search(model, **options):
    rules = options.pop("rules", ("nested-no-refit",))
    settings = {"epochs": 2}
    return commands.search(
        model, "toy", sampler="qmc", workers=1, refit=False, rules=rules, settings=settings, **options
    )


def recorded():
    return {run_id: result for run_id, _, result in tracking.open().results()}


def test_a_study_that_its_budget_stopped_goes_on_under_another_run(model):
    short = search(model, trials=4, budget=1.0)
    assert (short.result.trials, recorded()[short.run_id].trials) == (2, 2)
    whole = search(model, trials=4)
    assert (whole.result.trials, whole.reused) == (4, False)
    on_record = recorded()
    assert on_record[short.run_id].rules == short.result.rules
    assert on_record[whole.run_id].rules == whole.result.rules and on_record[whole.run_id].trials == 4
    again = search(model, trials=4)
    assert (again.run_id, again.reused, again.result.rules) == (whole.run_id, True, whole.result.rules)
    assert set(recorded()) == {short.run_id, whole.run_id}


def test_an_edited_harness_neither_goes_on_with_a_study_nor_answers_by_it(model, monkeypatch):
    first = search(model, trials=2)
    run = commands.run(model, "toy", rules=("last",), workers=1)
    assert commands.run(model, "toy", rules=("last",), workers=1, reuse=True).reused
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "harness", lambda: "edited")
        other = search(model, trials=2)
        again = commands.run(model, "toy", rules=("last",), workers=1, reuse=True)
    assert other.tables != first.tables and not other.reused
    assert again.run_id != run.run_id and not again.reused


def test_weights_of_other_contents_under_one_name_are_another_question(model, tmp_path):
    weights = tmp_path / "start.pt"
    text = toy.MODEL.replace("dropout: float = 0.2)", 'dropout: float = 0.2, weights: str = "")')
    (tmp_path / "tiny.py").write_text(text)
    asked = {"settings": {"weights": str(weights), "epochs": 2}, "rules": ("last",), "workers": 1}
    weights.write_bytes(b"one")
    first = commands.run(model, "toy", **asked)
    assert commands.run(model, "toy", reuse=True, **asked).reused
    assert "files" not in commands.run(model, "toy", rules=("last",), workers=1).result.question
    weights.write_bytes(b"two")
    assert not commands.run(model, "toy", reuse=True, **asked).reused
    said = reproduce.reproduce(first.run_id, workers=1).changed
    assert [line.split(" was ")[0] for line in said] == ["CHANGED: the file that weights names"]


def test_an_edited_file_is_probed_anew(model, tmp_path, monkeypatch):
    """bf16 pays for a file's layers of today; tomorrow's may be broken by it."""
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    setting, heard = resolve(model, catalog.baseline(model), scale=toy.TASK.scale), []
    for answer, text in ((True, toy.MODEL), (False, toy.MODEL + "# edited")):
        (tmp_path / "tiny.py").write_text(text)
        monkeypatch.setattr(
            probes, "probe", lambda *args, answer=answer: probes.Found(trainer.Precision(bf16=answer), 0.0)
        )
        assert loso.probe("toy", setting, "cpu", tick=lambda *told: heard.append(told)).bf16 is answer
    (tmp_path / "tiny.py").write_text(toy.MODEL)
    assert heard == [(0, 1, "timing formats"), (1, 1, "timing formats")] * 2
    again = loso.probe("toy", setting, "cpu", tick=lambda *told: pytest.fail(f"it is at {told}"))
    assert again.bf16, "what was asked before is not asked again"
    (tmp_path / "copy.py").write_text(toy.MODEL)
    copy = replace(setting, model=str(tmp_path / "copy.py"))
    assert loso.probe("toy", copy, "cpu").bf16, "a copy trains in the same format, so that it is no other model"


def test_a_file_edited_while_it_is_trained_ends_the_run(model, tmp_path):
    """Else the last folds would be another method's, under the first one's name."""

    def edit(done, total, text):
        if done == 2:
            (tmp_path / "tiny.py").write_text(toy.MODEL.replace("flow / 255", "flow / 25.5"))

    with pytest.raises(MerBenchError, match=r"tiny\.py was edited while it is trained"):
        commands.run(model, "toy", rules=("last",), workers=1, tick=edit)
    assert not recorded()
    assert commands.run(model, "toy", rules=("last",), workers=1).result.rules


def test_a_file_edited_during_a_search_is_neither_trained_nor_refitted(model, tmp_path, monkeypatch):
    def edit(*args):
        (tmp_path / "tiny.py").write_text(toy.MODEL.replace("flow / 255", "flow / 25.5"))
        return searched(*args)

    with monkeypatch.context() as patch:
        patch.setattr(tune, "search", edit)
        with pytest.raises(MerBenchError, match="was edited"):
            search(model, trials=2)
    assert not recorded() and not list(tracking.tables().glob("*/trial-*/folds/*/pass.json"))


def test_a_run_that_was_stopped_and_left_for_another_is_not_taken_for_finished(model, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(studies, "conclude", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(model, trials=2)
    other = search(model, trials=2, rules=("oracle-trial",), resume=True)
    first = search(model, trials=2)
    assert not first.reused and set(recorded()) == {other.run_id, first.run_id}
