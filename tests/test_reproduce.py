"""A recorded run, again: the same clip by clip, or what differs by name."""

import json
from dataclasses import replace

import polars as pl
import pytest
import toy

from mer_bench import predictions
from mer_bench.answering import answers, commands, ready, reproduce, scoring
from mer_bench.answering.reproduce import compare
from mer_bench.contracts import MerBenchError, Remark, UsageError
from mer_bench.records import tracking
from mer_bench.searching import studies, trials
from mer_bench.training import loso, probes


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    (folder / "tiny.py").write_text(toy.MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MER_BENCH_HOME", str(folder / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        toy.install(patch, toy.corpus(signal=40))
        yield folder


@pytest.fixture(scope="module")
def answer(place):
    return commands.run(str(place / "tiny.py"), "toy", seeds=2, rules=("last", "inner"), workers=1)


def record(folder):
    return json.loads((folder / predictions.DONE).read_text())


def edit(folder, change):
    """Rewrite a pass's record; gives back what undoes it."""
    file = folder / predictions.DONE
    text = file.read_text()
    file.write_text(json.dumps(change(json.loads(text))))
    return lambda: file.write_text(text)


def test_an_untouched_run_comes_out_the_same(answer):
    found = reproduce.reproduce(answer.run_id[:10], workers=1)
    assert found.run_id == answer.run_id and found.clips == sum(toy.SIZES)
    assert found.names == [] and found.changed == ()
    assert found.words() == f"0 of {found.clips} clips differ"
    assert found.as_json()["differing"] == []


@pytest.mark.parametrize("rule", ["last", "inner"])
def test_a_number_that_the_stored_predictions_do_not_give_is_told(answer, rule, monkeypatch):
    score = replace(answer.result.rules[rule], uf1=answer.result.rules[rule].uf1 + 0.1)
    better = replace(answer.result, rules={**answer.result.rules, rule: score})
    told = tracking.Finished(answer.run_id, tracking.open().started(answer.run_id), better)
    monkeypatch.setattr(reproduce, "find", lambda run: told)
    found = reproduce.reproduce(answer.run_id, workers=1)
    (line,) = found.changed
    assert line.startswith(f"CHANGED: UF1 of {rule} was recorded as {score.uf1:.4f}, the stored") and not found.names


def test_an_edited_seed_lists_the_clips_that_differ(answer):
    def other(told):
        for part in told["folds"]:
            if part["seed"] == 1 and part["fold"] == "toy/02":
                part["seed"] = 77
        return told

    undo = edit(answer.tables / "all", other)
    try:
        found = reproduce.reproduce(str(answer.tables), workers=1)
    finally:
        undo()
    # seed 77 stands for no stored seed: what was stored is missing now, what came is new
    assert found.names and all(name.startswith("toy/02/") for name in found.names)
    assert f"{len(found.names)} of {found.clips} clips differ" in found.words()
    assert all(f"  {name}  all" in found.words() for name in found.names[:3])


def test_a_seed_edited_everywhere_is_compared_with_what_it_replaced(answer):
    def other(told):
        for part in told["folds"]:
            part["seed"] += 10
        return told

    undo = edit(answer.tables / "all", other)
    try:
        found = reproduce.reproduce(answer.run_id, workers=1)
    finally:
        undo()
    assert found.clips - 3 <= len(found.names) <= found.clips
    assert found.differing["largest"].min() > 0 and set(found.differing["pass"]) == {"all"}


def test_what_changed_is_said_first(answer, place, monkeypatch):
    (place / "tiny.py").write_text(toy.MODEL + "\n# edited\n")
    other = toy.corpus(signal=40)
    monkeypatch.setattr(
        "mer_bench.pixels.inputs.load", lambda *args, **options: type(other)(other.clips, other.arrays, key="new")
    )
    try:
        found = reproduce.reproduce(answer.run_id, workers=1)
    finally:
        (place / "tiny.py").write_text(toy.MODEL)
    first, second, *_, last = found.words().splitlines()
    assert first.startswith("CHANGED: the code of tiny.py was ") and second.endswith("was toy, is new")
    assert last == f"0 of {found.clips} clips differ"


def test_other_numbers_of_epochs_differ(answer, tmp_path):
    again = tmp_path / "all"
    tables = {f.name: pl.read_parquet(f) for f in (answer.tables / "all").glob("*.parquet")}
    tables["test.parquet"] = tables["test.parquet"].filter(pl.col("epoch") < 2)
    predictions.write_pass(again, tables, {})
    found = compare(answer.tables / "all", again)
    assert found["differs"].all() and found["largest"].is_null().all()
    assert not compare(again, again)["differs"].any()


def searched(place, name):
    """A study of two trials without Ray: its run, its folder and its result."""
    model = str(place / "tiny.py")
    settled = ready.prepare(ready.Command(model, "toy", device="cpu", workers=1)).with_inputs(["flow@28"], None)
    question = {"published": settled.setting.as_dict(), **settled.question}
    with settled.tracker.run("study", "search", "tiny.py", "toy", question) as run_id:
        folder, order = tracking.tables() / name, studies.shuffled(loso.folds("toy", settled.setting), 0)
        study = studies.Study(settled.space, "toy", settled.scale, "qmc", 2, 0, folder, order, **settled.formats)
        for number, values in enumerate([study.space.default(), {**study.space.default(), "lr": 0.003}]):
            trials.propose(study, number, values)
            for nth in range(len(order)):
                trials.run_fold(study, number, nth)
            trials.close(study, number, trials.COMPLETE)
        folders, ended = trials.candidates(study), trials.everything(study)
        chosen = {"nested": studies.conclude("nested", folders, studies.Refits(study, 1, 1, lambda rule: None))}
        beside = answers.Found(settled.cost(), choices=studies.Searched(study, folders, ["nested"]).choices)
        result = answers.result("search", settled, question, chosen, beside, study, ended)
        settled.tracker.finish(run_id, result, folder)
    return run_id, folder, result


def test_a_fold_whose_refit_diverged_is_named_beside_the_number(place, monkeypatch):
    train = loso.train

    def breaks(training):
        done = train(training)
        lost = not training.validation and training.fold in ("toy/03", "toy/05")
        return replace(done, tables={}, diverged="loss is nan") if lost else done

    monkeypatch.setattr(loso, "train", breaks)
    _, _, result = searched(place, "broken-refit")
    assert result.notes == (
        "The refit of nested diverged in toy/03 and toy/05: there its choice speaks without refit.",
    )
    assert (result.folds_done, result.folds_total) == (8, 8) and result.clips == sum(toy.SIZES)


def test_a_study_repeats_its_refits_and_if_asked_its_trials(place):
    run_id, folder, result = searched(place, "a-study")
    assert result.notes == ()
    found = reproduce.reproduce(run_id, workers=1)
    assert found.words() == f"0 of {sum(toy.SIZES)} clips differ"
    assert reproduce.reproduce(run_id, trials=True, workers=1).names == []

    def other(told):
        told["choices"]["toy/03"] = [1 - told["choices"]["toy/03"][0], 0]
        return told

    (refit,) = folder.glob("refit-nested-*")
    undo = edit(refit, other)
    try:
        said = reproduce.reproduce(run_id, workers=1).words()
    finally:
        undo()
    assert said.startswith("CHANGED: nested now chooses another trial or epoch for 1 folds: toy/03")


@pytest.mark.parametrize(("format", "slower", "heard"), [(True, 12.4, True), (True, 1.2, False), (False, 12.4, False)])
def test_a_processor_without_bf16_asks_for_patience(answer, monkeypatch, recwarn, format, slower, heard):
    monkeypatch.setattr(probes, "slower_in_bf16", lambda: slower)
    finished = reproduce.find(answer.run_id)
    question = {**finished.result.question, "bf16": format}
    told = finished._replace(result=replace(finished.result, question=question))
    monkeypatch.setattr(reproduce, "find", lambda run: told)
    assert reproduce.reproduce(answer.run_id, workers=1).clips == sum(toy.SIZES)
    said = [str(warning.message) for warning in recwarn if warning.category is Remark]
    assert [line for line in said if "12 times as long as in float32" in line] == said and bool(said) is heard


def test_what_cannot_be_repeated(answer, place, monkeypatch):
    with pytest.raises(UsageError, match="no finished run 'zzz'"):
        reproduce.reproduce("zzz")
    with pytest.raises(UsageError, match="no finished run ''"):
        reproduce.reproduce("")
    tables = answer.tables.rename(answer.tables.with_name("elsewhere"))
    try:
        with pytest.raises(MerBenchError, match="no complete pass"):
            reproduce.reproduce(answer.run_id)
    finally:
        tables.rename(answer.tables)
    monkeypatch.setattr("mer_bench.pixels.inputs.clips_of", lambda name: toy.corpus(40).clips)
    toy.corpus(40).clips.select("clip", pl.lit(1).alias("prediction")).write_csv(place / "said.csv")
    added = scoring.score(place / "said.csv", "toy", add="theirs")
    with pytest.raises(MerBenchError, match="made elsewhere"):
        reproduce.reproduce(added.run_id)
