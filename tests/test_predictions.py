import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mer_bench import predictions
from mer_bench.contracts import MerBenchError

SAID = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(2, 12)),
    elements=st.floats(0, 1),
)


def table(said, seed=0, fold="c/01", clips=None):
    count = said.shape[1]
    clips = clips or [f"c/01/{i}" for i in range(count)]
    return predictions.table(seed, fold, clips, ["c/01"] * count, np.arange(count) % said.shape[2], said)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return pl.concat([table(rng.random((3, 4, 3)), seed, f"c/0{fold}") for seed in (1, 0) for fold in (2, 1)])


@given(SAID)
def test_rows_are_the_probabilities_as_float16(said):
    rows = table(said, seed=7)
    epochs, count, classes = said.shape
    wanted = {**predictions.SCHEMA, **{f"p{k}": pl.Float16 for k in range(classes)}}
    assert dict(rows.schema) == wanted
    assert set(rows["seed"]) == {7}
    back = predictions.probabilities(rows)
    assert back.dtype == np.float32
    assert (back.reshape(said.shape) == said.astype(np.float16)).all()
    for epoch, clip, label, *kept in rows.select("epoch", "clip", "label", "p0", "p1").iter_rows():
        i = int(clip.split("/")[-1])
        assert label == i % classes
        assert kept == [float(np.float16(p)) for p in said[epoch, i, :2]]
    assert len(rows) == epochs * count


@settings(deadline=None, max_examples=20)
@given(SAID, st.randoms())
def test_a_file_gives_back_its_rows_sorted(tmp_path_factory, said, random):
    rows = table(said)
    order = list(range(len(rows)))
    random.shuffle(order)
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    rows[order].write_parquet(path)
    assert predictions.read(path).equals(rows.sort(predictions.KEYS))


def test_rows_are_sorted_by_seed_fold_epoch_clip(rows):
    keys = predictions.check(rows).select(predictions.KEYS).rows()
    assert keys == sorted(keys) and keys[0][:2] == (0, "c/01")


@pytest.mark.parametrize("column", ["seed", "subject", "label", "p1"])
def test_a_missing_column_is_named(rows, column):
    with pytest.raises(MerBenchError, match=f"lack the columns {column}$"):
        predictions.check(rows.drop(column))


def test_a_doubled_key_is_named(rows):
    with pytest.raises(MerBenchError, match="c/01/2 twice"):
        predictions.check(pl.concat([rows, rows.filter(clip="c/01/2", epoch=1)]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_probabilities_are_finite(rows, value):
    broken = rows.with_columns(pl.when(pl.col("clip") == "c/01/3").then(value).otherwise(pl.col("p2")).alias("p2"))
    with pytest.raises(MerBenchError, match="not finite"):
        predictions.check(broken.cast({"p2": pl.Float16}))


def test_a_pass_is_written_whole(tmp_path, rows):
    folder = tmp_path / "deep" / "trial-0003"
    predictions.write_pass(folder, {predictions.TEST: rows, predictions.FOLDS_TEST: rows.head(1)}, {"trial": 3})
    assert predictions.record(folder) == {"trial": 3}
    assert predictions.open_test(folder).equals(rows.sort(predictions.KEYS))
    assert predictions.open_folds_test(folder).equals(rows.head(1))
    assert [p.name for p in folder.parent.iterdir()] == ["trial-0003"]


class Full(pl.DataFrame):
    def write_parquet(self, *args, **kwargs):
        raise OSError("no space left on device")


@pytest.mark.parametrize("fault", ["table", "record", "flush", "rename"])
def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch, rows, fault):
    folder = tmp_path / "trial"
    tables, record = {"first.parquet": rows, "second.parquet": rows}, {"trial": 3}
    if fault == "table":
        tables["second.parquet"] = Full(rows)
    elif fault == "record":
        record = {"trial": object()}
    else:
        name = {"flush": "mer_bench.predictions.os.fsync", "rename": "pathlib.Path.rename"}[fault]

        def broken(*args):
            raise OSError("input/output error")

        monkeypatch.setattr(name, broken)
    with pytest.raises((OSError, TypeError)):
        predictions.write_pass(folder, tables, record)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MerBenchError, match="no complete pass"):
        predictions.record(folder)


def test_a_finished_pass_is_not_overwritten(tmp_path, rows):
    predictions.write_pass(tmp_path / "trial", {predictions.TEST: rows}, {"trial": 1})
    with pytest.raises(MerBenchError, match="exists already"):
        predictions.write_pass(tmp_path / "trial", {predictions.TEST: rows.head(2)}, {"trial": 2})
    assert predictions.record(tmp_path / "trial") == {"trial": 1}
    assert len(predictions.open_test(tmp_path / "trial")) == len(rows)
    assert [p.name for p in tmp_path.iterdir()] == ["trial"]


def test_a_folder_without_its_record_is_no_pass(tmp_path, rows):
    (tmp_path / "trial").mkdir()
    rows.write_parquet(tmp_path / "trial" / predictions.TEST)
    with pytest.raises(MerBenchError, match=r"trial holds no complete pass; run it again"):
        predictions.record(tmp_path / "trial")


def test_the_record_is_plain_json(tmp_path, rows):
    predictions.write_pass(tmp_path / "trial", {predictions.TEST: rows}, {"b": [1, None], "a": "ä"})
    text = (tmp_path / "trial" / predictions.DONE).read_text()
    assert json.loads(text) == {"a": "ä", "b": [1, None]} and text.index('"a"') < text.index('"b"')
