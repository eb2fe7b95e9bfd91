"""A whole run of one recipe, on the embedded corpus with a tiny model."""

import polars as pl
import pytest
import toy
from safetensors.torch import load_file

from mer_bench import commands, predictions, selection, tracking
from mer_bench.contracts import MerBenchError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(toy.MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture(scope="module")
def twice(place):
    """The same run twice: once in two processes, once in this one."""
    options = {"rules": selection.RUN_RULES, "seeds": 2}
    return [commands.run(str(place / "tiny.py"), workers=count, **options) for count in (2, 1)]


def test_a_run_gives_the_same_tables_again_however_many_processes(twice):
    first, second = (answer.tables for answer in twice)
    names = sorted(p.relative_to(first) for p in first.rglob("*.parquet"))
    assert len(names) == 2 * 4
    for name in names:
        assert pl.read_parquet(first / name).equals(pl.read_parquet(second / name)), name


def test_every_clip_speaks_once_a_seed_and_epoch(twice):
    rows = predictions.open_test(twice[0].tables / "all")
    assert len(rows) == 130 * 2 * 4
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
    answer = commands.run(str(place / "tiny.py"), settings={"epochs": 1}, keep_weights=True)
    files = sorted(answer.tables.glob("all/weights/0/*.safetensors"))
    assert len(files) == 16
    assert {"net.0.weight", "net.6.bias"} <= set(load_file(files[0]))


def test_a_loss_that_is_no_number_ends_the_run_with_its_reason(place):
    with pytest.raises(MerBenchError, match="lower lr=1e"):
        commands.run(str(place / "tiny.py"), settings={"lr": 1e38})
    tracker = tracking.open()
    failed = tracker.client.search_runs([tracker.experiment], "attributes.status = 'FAILED'")
    assert any("lower lr=1e" in run.data.tags["mer_bench.reason"] for run in failed)


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
    assert {f"predictions/{rule}.csv" for rule in selection.RUN_RULES} <= names
    assert "SYNTHETIC" in run.data.tags["mlflow.note.content"] and "`last`" in run.data.tags["mlflow.note.content"]
    assert "torch==" in (kept / "environment/requirements.txt").read_text()
    said = pl.read_csv(kept / "predictions/last.csv")
    assert len(said) == 130 * 2
    correct = said.group_by("seed").agg((pl.col("label") == pl.col("prediction")).mean())["label"]
    assert correct.mean() == pytest.approx(twice[0].result.rules["last"].accuracy)
