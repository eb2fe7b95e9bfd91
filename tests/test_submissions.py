"""Files of predictions made elsewhere: whatever is given comes back right or is refused with the clips named."""

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mer_bench.contracts import MerBenchError, UsageError
from mer_bench.records import submissions

NAMES = ("negative", "positive", "surprise")
ALWAYS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def corpus(sizes=(("casme2", "01", 4), ("casme2", "17", 9), ("samm", "006", 5), ("smic", "06", 6))):
    rows = [
        (f"{name}/{subject}/{name[0]}_{subject}_{i}", name, f"{name}/{subject}", (i + len(subject)) % 3)
        for name, subject, many in sizes
        for i in range(many)
    ]
    schema = {"clip": pl.String, "corpus": pl.String, "subject": pl.String, "label": pl.Int8}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("clip")


CLIPS = corpus()
guesses = st.lists(st.integers(0, 2), min_size=len(CLIPS), max_size=len(CLIPS))


def read(file, **options):
    return submissions.read(file, CLIPS, NAMES, **options)


def written(folder, kind=".csv", **columns):
    table = pl.DataFrame({"clip": CLIPS["clip"], **columns})
    file = folder / f"said{kind}"
    table.write_parquet(file) if kind == ".parquet" else table.write_csv(file)
    return file


def log(said, subjects=None, name=lambda corpus, number: number):
    lines = []
    for subject in subjects or sorted(set(CLIPS["subject"])):
        corpus, number = subject.split("/")
        lines.append(f"{corpus} {name(corpus, number)}")
        rows = zip(CLIPS["clip"], CLIPS["subject"], CLIPS["label"], said, strict=True)
        lines += [f"{clip.split('/')[2]} {label} {k}" for clip, of, label, k in rows if of == subject]
    return "\n".join(lines)


@ALWAYS
@given(
    said=guesses,
    kind=st.sampled_from([".csv", ".parquet"]),
    how=st.sampled_from(["number", "name", "float", "NAME", "p", "class", "p_class"]),
    order=st.randoms(),
)
def test_every_form_of_a_table_gives_the_same_rows(tmp_path, said, kind, how, order):
    forms = {
        "number": said,
        "float": [float(k) for k in said],
        "name": [NAMES[k] for k in said],
        "NAME": [f" {NAMES[k].upper()} " for k in said],
    }
    if how in forms:
        columns = {"prediction": forms[how]}
    else:
        rng = np.random.default_rng(order.randrange(1000))
        raw = rng.random((len(said), 3)) + 2 * np.eye(3)[said]
        heads = {"p": [f"p{k}" for k in range(3)], "class": NAMES, "p_class": [f"p_{name}" for name in NAMES]}[how]
        columns = dict(zip(heads, (raw / raw.sum(1, keepdims=True)).T, strict=True))
    file = written(tmp_path, kind, **columns)
    mixed = pl.read_parquet(file) if kind == ".parquet" else pl.read_csv(file)
    shuffled = mixed.sample(fraction=1, shuffle=True, seed=order.randrange(1000))
    shuffled.write_parquet(file) if kind == ".parquet" else shuffled.write_csv(file)
    rows = read(file)
    assert dict(rows.schema) == submissions.SCHEMA
    assert rows["clip"].to_list() == CLIPS["clip"].to_list()
    assert rows["prediction"].to_list() == said
    assert rows["label"].to_list() == CLIPS["label"].to_list()
    assert rows["fold"].to_list() == rows["subject"].to_list() == CLIPS["subject"].to_list()
    assert set(rows["seed"]) == {0}


@ALWAYS
@given(said=guesses, crlf=st.booleans(), blank=st.booleans(), letters=st.booleans(), bom=st.booleans())
def test_a_megc_log_gives_the_same_rows(tmp_path, said, crlf, blank, letters, bom):
    prefix = {"casme2": "sub", "smic": "s", "samm": ""}
    text = log(said, name=lambda corpus, number: (prefix[corpus] if letters else "") + number)
    text = text.replace("\n", "\n\n  ") if blank else text
    file = tmp_path / "log.txt"
    file.write_bytes(("\ufeff" * bom + (text.replace("\n", "\r\n") if crlf else text)).encode())
    rows = read(file)
    assert rows["prediction"].to_list() == said
    assert rows["clip"].to_list() == CLIPS["clip"].to_list()


def test_names_of_corpora_in_a_log_may_be_written_otherwise(tmp_path):
    (tmp_path / "x.log").write_text(log([0] * len(CLIPS)).replace("casme2 ", "CASME-II sub").replace("smic ", "SMIC S"))
    assert len(read(tmp_path / "x.log")) == len(CLIPS)


@ALWAYS
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(tmp_path, text):
    for name in ("x.log", "x.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(MerBenchError) as caught:
            read(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


@ALWAYS
@given(junk=st.binary(max_size=80))
def test_any_bytes_are_refused_in_one_line(tmp_path, junk):
    for name in ("x.log", "x.csv", "x.parquet"):
        (tmp_path / name).write_bytes(junk)
        with pytest.raises(MerBenchError) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_seeds_and_folds(tmp_path):
    twice = pl.concat(
        [CLIPS.select("clip", pl.lit(f"f{seed}").alias("fold"), pl.lit(seed).alias("seed")) for seed in (3, 7)]
    )
    twice.with_columns(pl.lit("surprise").alias("prediction")).write_csv(tmp_path / "x.csv")
    rows = read(tmp_path / "x.csv")
    assert len(rows) == 2 * len(CLIPS) and set(zip(rows["seed"], rows["fold"], strict=True)) == {(3, "f3"), (7, "f7")}


def test_missing_doubled_and_unknown_clips_are_listed(tmp_path):
    table = CLIPS.select("clip", pl.col("label").alias("prediction"))
    gone = table["clip"][:12].to_list()
    strange = pl.DataFrame({"clip": ["casme2/99/x"], "prediction": [1]}, schema=table.schema)
    pl.concat([table[12:], table[20:22], strange]).write_csv(tmp_path / "x.csv")
    with pytest.raises(MerBenchError) as caught:
        read(tmp_path / "x.csv")
    said = str(caught.value)
    assert f"12 clips ({', '.join(gone[:10])}, ...) without a prediction (--partial" in said
    assert f"2 clips ({table['clip'][20]}, {table['clip'][21]}) predicted more than once" in said
    assert "1 clip (casme2/99/x) not of this task" in said
    table[12:].write_csv(tmp_path / "y.csv")
    assert read(tmp_path / "y.csv", partial=True)["clip"].to_list() == table["clip"][12:].to_list()
    with pytest.raises(MerBenchError, match="not of this task"):
        read(tmp_path / "x.csv", partial=True)


def test_partial_keeps_what_every_seed_predicts(tmp_path):
    table = CLIPS.select("clip", pl.col("label").alias("prediction"))
    seeds = [table[:15].with_columns(pl.lit(0).alias("seed")), table[10:].with_columns(pl.lit(1).alias("seed"))]
    pl.concat(seeds).write_csv(tmp_path / "x.csv")
    assert sorted(set(read(tmp_path / "x.csv", partial=True)["clip"])) == table["clip"][10:15].to_list()
    with pytest.raises(MerBenchError, match="19 clips"):
        read(tmp_path / "x.csv")
    pl.concat([seeds[0][:10], seeds[1]]).write_csv(tmp_path / "x.csv")
    with pytest.raises(MerBenchError, match="no clip is predicted by every seed"):
        read(tmp_path / "x.csv", partial=True)


def test_labels_and_subjects_that_contradict_the_task(tmp_path):
    labels = CLIPS["label"].to_list()
    assert len(read(written(tmp_path, prediction=labels, label=labels, subject=CLIPS["subject"]))) == len(CLIPS)
    labels[3] = (labels[3] + 1) % 3
    with pytest.raises(MerBenchError, match=rf"1 clip \({CLIPS['clip'][3]}\) labelled otherwise .*negative, positive"):
        read(written(tmp_path, prediction=labels, label=labels))
    with pytest.raises(MerBenchError, match=r"24 clips .*of another subject"):
        read(written(tmp_path, prediction=labels, subject=["casme2/02"] * len(CLIPS)))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"prediction": "joy"}, "with the prediction joy; classes are 0 to 2 or negative, positive, surprise"),
        ({"prediction": 3}, "with the prediction 3"),
        ({"prediction": -1}, "with the prediction -1"),
        ({"prediction": 0.5}, "with the prediction 0.5"),
        ({"prediction": 1, "label": "angry"}, "with the label angry"),
        ({"prediction": 1, "seed": "one"}, "column seed"),
        ({"prediction": 1, "seed": 1.5}, "column seed"),
        ({"prediction": 1, "f1": 0.9}, "unknown columns f1; known: clip, prediction"),
        ({"label": 1}, "it lacks clip, or prediction"),
        ({"p0": 0.5, "p1": 0.5}, "unknown columns p0, p1"),
        ({"p0": 0.5, "p1": 0.1, "p2": 0.1}, "sum to 1"),
        ({"p0": 1.5, "p1": -0.5, "p2": 0.0}, "probabilities from 0 to 1"),
        ({"p0": "nan", "p1": 0.5, "p2": 0.5}, "24 clips"),
        ({"p0": 0.7, "p1": 0.2, "p2": 0.1, "prediction": "positive"}, "not the most probable class"),
    ],
)
def test_columns_that_cannot_be(tmp_path, columns, said):
    with pytest.raises(MerBenchError) as caught:
        read(written(tmp_path, **{name: [value] * len(CLIPS) for name, value in columns.items()}))
    assert said in str(caught.value)


def test_files_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "x.mat").write_text("")
    with pytest.raises(UsageError, match=r"known: \.csv, \.parquet, \.txt, \.log"):
        read(tmp_path / "x.mat")
    (tmp_path / "x.log").write_text("EP01 0 1\n")
    with pytest.raises(MerBenchError, match="line 1: 'EP01 0 1' should read `corpus subject` before"):
        read(tmp_path / "x.log")
    (tmp_path / "x.log").write_text("casme2 sub01\nEP01\n")
    with pytest.raises(MerBenchError, match="line 2"):
        read(tmp_path / "x.log")
    pl.DataFrame({"clip": [], "prediction": []}).write_csv(tmp_path / "x.csv")
    with pytest.raises(MerBenchError, match="holds no prediction"):
        read(tmp_path / "x.csv")
