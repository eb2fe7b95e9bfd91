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


def test_a_comparison_has_a_paired_interval(place):
    found = commands.compare(str(place / "tiny.py"), "ridge_flow", rules=("last",))
    assert found.interval[0] <= found.difference <= found.interval[1]
    low, high = found.interval
    words = "tiny.py is ahead" if low > 0 else "tiny.py is behind" if high < 0 else "no difference shown"
    assert found.verdict.startswith(words) and "rule last, each its own recipe" in found.verdict
    said = found.as_json()
    assert set(said) == {"models", "differences"} and set(said["models"]) == {"tiny.py", "ridge_flow"}
