"""A whole run of one recipe, on a corpus of specks with a tiny model."""

from dataclasses import replace
from types import SimpleNamespace

import crowd
import polars as pl
import pytest
import specks
import toy
from safetensors.torch import load_file

from mer_bench import predictions, selection
from mer_bench.answering import commands
from mer_bench.contracts import MerBenchError, Setting
from mer_bench.records import provenance, tracking
from mer_bench.training import loso

TASK, CLIPS, FOLDS = "specks-3", sum(specks.SIZES), len(specks.SIZES)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = crowd.settle(tmp_path_factory.mktemp("run"), patch)
        (folder / "tiny.py").write_text(toy.MODEL)
        yield folder


@pytest.fixture(scope="module")
def twice(place):
    """The same run twice: once in two processes, once in this one."""
    options = {"rules": selection.RUN_RULES, "seeds": 2}
    return [commands.run(str(place / "tiny.py"), TASK, workers=count, **options) for count in (2, 1)]


def test_a_run_gives_the_same_tables_again_however_many_processes(twice):
    first, second = (answer.tables for answer in twice)
    names = sorted(p.relative_to(first) for p in first.rglob("*.parquet"))
    assert len(names) == 2 * 4
    for name in names:
        assert pl.read_parquet(first / name).equals(pl.read_parquet(second / name)), name


def test_every_clip_speaks_once_a_seed_and_epoch(twice):
    rows = predictions.open_test(twice[0].tables / "all")
    assert len(rows) == CLIPS * 2 * 4
    assert (rows["fold"] == rows["subject"]).all()
    kept = pl.read_parquet(twice[0].tables / "held" / predictions.VALIDATION)
    assert (kept["fold"] != kept["subject"]).all()


def test_all_rules_are_scored_over_two_seeds(twice):
    result = twice[0].result
    assert tuple(result.rules) == selection.RUN_RULES
    for rule, score in result.rules.items():
        assert score.seeds == 2 and score.uf1_sd is not None
        assert score.leaky == rule.startswith("oracle")
    assert result.rules["oracle-epoch"].accuracy >= result.rules["last"].accuracy
    assert result.rules["oracle-global-epoch"].uf1 >= result.rules["last"].uf1


def test_weights_are_kept_one_file_a_fold(place):
    answer = commands.run(str(place / "tiny.py"), TASK, settings={"epochs": 1}, keep_weights=True)
    files = sorted(answer.tables.glob("all/weights/0/*.safetensors"))
    assert len(files) == FOLDS
    assert {"net.0.weight", "net.6.bias"} <= set(load_file(files[0]))


def test_a_loss_that_is_no_number_ends_the_run_with_its_reason(place):
    with pytest.raises(MerBenchError, match="lower lr=1e"):
        commands.run(str(place / "tiny.py"), TASK, settings={"lr": 1e38})
    tracker = tracking.open()
    failed = tracker.client.search_runs([tracker.experiment], "attributes.status = 'FAILED'")
    assert any("lower lr=1e" in run.data.tags["mer_bench.reason"] for run in failed)


@pytest.fixture
def spied(monkeypatch):
    """Which folds were trained, in order; `fail` makes some of them diverge."""
    trained, fail, train = [], set(), loso.train

    def spy(training):
        trained.append((training.validation, training.seed, training.fold))
        done = train(training)
        lost = replace(done, tables={}, weights="", diverged="loss is nan")
        return lost if training.fold in fail else done

    monkeypatch.setattr(loso, "train", spy)
    return SimpleNamespace(trained=trained, fail=fail)


def stopped_after(count):
    """A tick that presses Ctrl-C when so many folds of a pass are done."""

    def tick(done, total, text):
        if done == count and "folds" in text:
            raise KeyboardInterrupt

    return tick


@pytest.mark.parametrize("every", [-1.0, 5.0])
def test_a_stopped_run_goes_on_from_its_folds_when_asked_again(place, spied, monkeypatch, every):
    """Whether each fold was kept as it ended, or those that waited were kept on the way out."""
    monkeypatch.setattr(loso, "SAVE_EVERY", every)
    options = {"rules": ("last", "inner"), "settings": {"epochs": 2}, "keep_weights": True, "workers": 1}
    model = str(place / "tiny.py")
    whole = commands.run(model, TASK, **options)
    spied.trained.clear()
    with pytest.raises(KeyboardInterrupt):
        commands.run(model, TASK, **options, tick=stopped_after(5))
    before = list(spied.trained)
    assert len(before) == 5
    with pytest.raises(KeyboardInterrupt):
        commands.run(model, TASK, **options, tick=stopped_after(7))
    again = commands.run(model, TASK, **options)
    assert len(spied.trained) == len(set(spied.trained)) == 2 * FOLDS, "no fold is trained twice"
    for stem in ("all", "held"):
        for name in predictions.TABLES:
            one, two = (pl.read_parquet(answer.tables / stem / name) for answer in (whole, again))
            assert one.equals(two), name
        files = [sorted(p.name for p in (a.tables / stem).rglob("*.safetensors")) for a in (whole, again)]
        assert files[0] == files[1] and len(files[0]) == FOLDS
    (note,) = again.result.notes
    assert note.endswith("of 16 trainings are of an earlier command that was stopped; the time is without them.")
    assert whole.result.notes == () and again.result.rules == whole.result.rules
    assert not [p.name for p in (place / "mlruns/tables/unfinished").iterdir() if p.suffix != ".lock"]


def test_edited_sources_or_another_question_go_on_with_nothing(place, spied, monkeypatch):
    model = str(place / "tiny.py")
    with pytest.raises(KeyboardInterrupt):
        commands.run(model, TASK, settings={"epochs": 1}, workers=1, tick=stopped_after(3))
    for hidden, source in ((6, "edited"), (5, provenance.harness())):
        spied.trained.clear()
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "harness", lambda source=source: source)
            assert commands.run(model, TASK, settings={"epochs": 1, "hidden": hidden}, workers=1).result.notes == ()
        assert len(spied.trained) == FOLDS


def test_what_was_trained_survives_a_store_that_cannot_be_written(place, spied, monkeypatch):
    model, options = str(place / "tiny.py"), {"settings": {"epochs": 1, "hidden": 3}, "workers": 1}
    with monkeypatch.context() as patch:
        patch.setattr("mer_bench.answering.attachments.finish", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            commands.run(model, TASK, **options)
    spied.trained.clear()
    assert commands.run(model, TASK, **options).result.notes and spied.trained == []


def test_a_fold_that_diverges_makes_a_run_partial_and_is_named(place, spied):
    model = str(place / "tiny.py")
    first, second = loso.folds(TASK, Setting("", {}, None, "flow@28"))[:2]
    spied.fail |= {first, second}
    answer = commands.run(model, TASK, settings={"epochs": 2, "hidden": 7}, seeds=2, workers=1)
    result = answer.result
    assert (result.folds_done, result.folds_total, result.subjects) == (FOLDS - 2, FOLDS, FOLDS - 2)
    assert result.notes == (f"PARTIAL: without {first} and {second}, whose training diverged (loss is nan).",)
    rows = predictions.open_test(answer.tables / "all")
    assert result.clips == rows["clip"].n_unique() < CLIPS and not set(rows["fold"]) & {first, second}
    assert set(result.rules["last"].by_subject) == set(rows["subject"])
    assert answer.as_json()["folds_done"] == FOLDS - 2 and answer.as_json()["notes"] == list(result.notes)
    spied.fail |= set(rows["fold"])
    with pytest.raises(MerBenchError, match="loss is nan"):
        commands.run(model, TASK, settings={"epochs": 2, "hidden": 8}, workers=1)


def test_what_is_drawn_is_on_record(twice):
    result = twice[0].result
    (curve,) = [c for c in result.evidence.curves if c.leaky]
    assert curve.name == "test UF1" and len(curve.values) == 2 and len(curve.values[0]) == 4
    last = result.rules["last"].uf1
    assert sum(row[-1] for row in curve.values) / 2 == pytest.approx(last)
    best = [max(row) for row in curve.values]
    assert sum(best) / 2 == pytest.approx(result.rules["oracle-global-epoch"].uf1)
    assert [c.name for c in result.evidence.curves] == ["validation UF1", "test UF1"]


def test_what_it_costs_is_on_record(twice):
    result = twice[0].result
    # by hand: a convolution 3 x 5 x 5 -> 6 on 8 x 8 places with stride 3, batch norm, 24 -> 3
    assert result.parameters == (3 * 25 * 6 + 6) + 12 + (24 * 3 + 3)
    assert result.macs == 8 * 8 * 3 * 25 * 6 + 24 * 3
    assert 0 < result.latency < 1000


def test_mlflow_alone_tells_what_happened(twice, place):
    client = tracking.open().client
    run = client.get_run(twice[0].run_id)
    kept = place / "mlruns" / "artifacts" / twice[0].run_id / "artifacts"
    names = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert {"page.html", "figures/confusion.svg", "figures/subjects.svg", "environment/requirements.txt"} <= names
    assert {f"{kind}/{rule}.csv" for rule in selection.RUN_RULES for kind in ("predictions", "subjects")} <= names
    subjects = pl.read_csv(kept / "subjects/last.csv")
    assert len(subjects) == FOLDS and subjects["clips"].sum() == CLIPS
    assert "INVENTED" in run.data.tags["mlflow.note.content"] and "`last`" in run.data.tags["mlflow.note.content"]
    assert "torch==" in (kept / "environment/requirements.txt").read_text()
    said = pl.read_csv(kept / "predictions/last.csv")
    assert len(said) == CLIPS * 2
    correct = said.group_by("seed").agg((pl.col("label") == pl.col("prediction")).mean())["label"]
    assert correct.mean() == pytest.approx(twice[0].result.rules["last"].accuracy)
