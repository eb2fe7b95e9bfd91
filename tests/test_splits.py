from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench import splits
from mer_bench.contracts import MerBenchError


def table(counts):
    """A clips table from (subjects, classes) numbers of clips; subjects are interleaved like nothing in particular."""
    rows = [(f"c/{s:02}", k) for s, row in enumerate(counts) for k, n in enumerate(row) for _ in range(n)]
    order = np.random.default_rng(0).permutation(len(rows))
    return pl.DataFrame([rows[i] for i in order], schema={"subject": pl.String, "label": pl.Int8}, orient="row")


def skewed(seed, subjects, clips, classes):
    """Sizes like a composite corpus: many subjects with a few clips, one class three times the others."""
    rng = np.random.default_rng(seed)
    weight = rng.gamma(0.8, size=subjects) + 0.05
    owner = np.concatenate([np.arange(subjects), rng.choice(subjects, clips - subjects, p=weight / weight.sum())])
    share = np.array([3, *([1] * (classes - 1))]) / (classes + 2)
    counts = np.zeros((subjects, classes), int)
    np.add.at(counts, (owner, rng.choice(classes, clips, p=share)), 1)
    return table(counts)


tables = st.integers(3, 9).flatmap(
    lambda s: st.integers(1, 5).flatmap(
        lambda k: st.lists(
            st.lists(st.integers(0, 6), min_size=k, max_size=k).filter(lambda row: sum(row) > 0),
            min_size=s,
            max_size=s,
        )
    )
)


@settings(deadline=None)
@given(tables, st.booleans())
def test_folds_partition_the_clips_by_subject(counts, validation):
    clips = table(counts)
    folds = splits.loso(clips, validation=validation)
    assert [f.name for f in folds] == sorted(set(clips["subject"]))
    for fold in folds:
        sides = [fold.test, fold.train, fold.validation]
        assert sorted(np.concatenate(sides).tolist()) == list(range(len(clips)))
        assert all((np.diff(side) > 0).all() for side in sides)
        test, train, held = (set(clips["subject"].to_numpy()[side]) for side in sides)
        assert test == {fold.name}
        assert train and not train & held
        assert bool(held) == validation
        assert fold.everything.tolist() == sorted([*fold.train, *fold.validation])


@settings(deadline=None, max_examples=50)
@given(tables, st.data())
def test_nothing_of_the_held_out_subject_reaches_its_fold(counts, data):
    clips = table(counts)
    folds = splits.loso(clips, validation=True)
    held = data.draw(st.integers(0, len(folds) - 1))
    own = pl.col("subject") == folds[held].name
    scrambled = clips.with_columns(label=pl.when(own).then(7 - pl.col("label")).otherwise(pl.col("label")))
    again = splits.loso(scrambled, validation=True)[held]
    assert all((a == b).all() for a, b in zip(sides(folds[held]), sides(again), strict=True))
    # Its number of clips does not matter either: the same subjects are kept back.
    fewer = pl.concat([clips.filter(~own), clips.filter(own).head(1)])
    assert kept(fewer, splits.loso(fewer, validation=True)[held]) == kept(clips, folds[held])


def sides(fold):
    return fold.test, fold.train, fold.validation


def kept(clips, fold):
    return set(clips["subject"].to_numpy()[fold.validation])


@settings(deadline=None, max_examples=50)
@given(tables)
def test_few_subjects_get_the_share_and_the_classes_that_any_set_could(counts):
    clips = table(counts)
    for fold in splits.loso(clips, validation=True):
        others = clips[fold.everything]
        own = {s: others.filter(pl.col("subject") == s)["label"].to_list() for s in others["subject"].unique()}
        possible = []
        for size in range(1, min(len(own), 8)):
            for chosen in combinations(own, size):
                back = [label for s in chosen for label in own[s]]
                rest = {label for s in own if s not in chosen for label in own[s]}
                possible.append((len(rest), 0.15 <= len(back) / len(others) <= 0.35))
        train = clips["label"].to_numpy()[fold.train]
        mine = (len(set(train)), 0.15 <= len(fold.validation) / len(others) <= 0.35)
        assert mine == max(possible)


CORPORA = {
    "like megc2019": (skewed(1, 68, 442, 3), 0.05),
    "like casme2": (skewed(2, 26, 247, 5), 0.09),
    "like synth": (table([[2, 2, 2]] * 12), 0.03),
    "single clips": (table(np.eye(3, dtype=int)[np.arange(30) % 3]), 0.05),
}


@pytest.mark.parametrize("name", CORPORA)
def test_about_a_quarter_of_every_class_and_of_the_subjects(name):
    clips, tolerance = CORPORA[name]
    labels = clips["label"].to_numpy()
    for fold in splits.loso(clips, validation=True):
        everything, held = (np.bincount(labels[rows], minlength=3) for rows in (fold.everything, fold.validation))
        assert np.abs(held / everything - 0.25).mean() <= tolerance
        assert 0.15 <= held.sum() / everything.sum() <= 0.35
        assert 0.15 <= len(kept(clips, fold)) / (clips["subject"].n_unique() - 1) <= 0.35
        assert set(labels[fold.train]) == set(labels[fold.everything])


def test_the_only_subject_of_a_class_is_trained_on():
    clips = table([[4, 0, 0], [4, 0, 0], [0, 4, 0], [0, 4, 0], [0, 0, 4], [4, 4, 0]])
    for fold in splits.loso(clips, validation=True)[:4]:
        assert "c/04" not in kept(clips, fold)


def test_a_name_gives_the_draw():
    clips = skewed(3, 30, 200, 3)
    first, again, other = (splits.loso(clips, validation=True, seed=s) for s in ("a", "a", "b"))
    assert [kept(clips, f) for f in first] == [kept(clips, f) for f in again]
    assert [kept(clips, f) for f in first] != [kept(clips, f) for f in other]
    # Rows in another order are the same subjects.
    turned = clips.reverse()
    assert [kept(turned, f) for f in splits.loso(turned, validation=True, seed="a")] == [kept(clips, f) for f in first]


def test_too_few_subjects_and_impossible_shares_are_errors():
    pair = table([[1, 1], [1, 1]])
    assert [f.name for f in splits.loso(pair)] == ["c/00", "c/01"]
    with pytest.raises(MerBenchError, match="2 subjects are too few to leave one out; 3 are needed"):
        splits.loso(pair, validation=True)
    with pytest.raises(MerBenchError, match="1 subjects"):
        splits.loso(table([[1, 1]]))
    with pytest.raises(MerBenchError, match="share"):
        splits.loso(table([[1]] * 4), validation=True, share=1.0)


def corpora(counts):
    """The same clips in three corpora, by turns of subjects."""
    clips = table(counts)
    return clips.with_columns(
        ("k" + (pl.col("subject").str.slice(2).cast(pl.Int32) % 3).cast(pl.String)).alias("corpus")
    )


@settings(deadline=None)
@given(tables, st.booleans())
def test_a_corpus_is_left_out_whole_and_validation_is_by_subject(counts, validation):
    clips = corpora(counts)
    names = clips["corpus"].to_numpy()
    people = clips["subject"].to_numpy()
    if validation and min(len(set(people[names != name])) for name in set(names)) < 2:
        with pytest.raises(MerBenchError, match="one subject is left"):
            splits.loso(clips, validation=validation, by="corpus")
        return
    folds = splits.loso(clips, validation=validation, by="corpus")
    assert [fold.name for fold in folds] == ["k0", "k1", "k2"]
    for fold in folds:
        assert set(names[fold.test]) == {fold.name} and fold.name not in set(names[fold.everything])
        assert sorted([*fold.test, *fold.everything]) == list(range(len(clips)))
        assert not set(people[fold.train]) & set(people[fold.validation])
        assert bool(len(fold.validation)) == validation


def test_only_what_is_tested_is_left_out():
    clips = corpora([[2, 1]] * 6)
    (fold,) = splits.loso(clips, by="corpus", tested=("k1",))
    assert fold.name == "k1" and len(fold.test) + len(fold.train) == len(clips)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_is_tested_is_trained_on_in_no_fold(count):
    """Trained on k0, tested on the composite of k1 and k2: neither trains for the other."""
    clips = corpora([[2, 1]] * 12)
    names = clips["corpus"].to_numpy()
    folds = splits.loso(clips, by="corpus", validation=count > 0, tested=("k1", "k2"))
    parts = [part for fold in folds for part in splits.inner(clips, fold.name, count, "corpus", tested=("k1", "k2"))]
    assert [fold.name for fold in folds] == ["k1", "k2"]
    for part in (*folds, *parts):
        assert set(names[part.test]) == {part.name} and set(names[part.everything]) == {"k0"}
    with pytest.raises(MerBenchError, match="nothing is left to train on"):
        splits.loso(clips, by="corpus", tested=("k0", "k1", "k2"))


def test_the_left_out_corpus_has_no_say_in_the_validation_subjects():
    clips = corpora([[2, 1]] * 12)
    moved = clips.with_columns(
        pl.when(pl.col("corpus") == "k0")
        .then(1 - pl.col("label"))
        .otherwise(pl.col("label"))
        .cast(pl.Int8)
        .alias("label")
    )
    before, after = (splits.loso(each, validation=True, by="corpus")[0] for each in (clips, moved))
    assert (before.validation == after.validation).all() and (before.train == after.train).all()


def test_a_corpus_alone_cannot_be_left_out():
    with pytest.raises(MerBenchError, match="k0 alone cannot be left out"):
        splits.loso(table([[1, 1]] * 3).with_columns(pl.lit("k0").alias("corpus")), by="corpus")
