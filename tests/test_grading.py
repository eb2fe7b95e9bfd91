from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from mer_bench import bootstrap, metrics, selection
from mer_bench.contracts import MerBenchError
from mer_bench.records import grading
from mer_bench.seeds import seed as seed_of
from mer_bench.selection import Chosen

NAMES = ("negative", "positive", "surprise")
K = len(NAMES)


def corpus(corpora=("a", "b"), subjects=8, number=0):
    """Clips of a composite: ids of subjects collide between corpora, as they do."""
    rng = np.random.default_rng(number)
    rows = [
        (f"{name}/{s:02}/{i}", name, f"{name}/{s:02}", int(rng.integers(K)))
        for name in corpora
        for s in range(subjects)
        for i in range(rng.integers(1, 9))
    ]
    schema = {"clip": pl.String, "corpus": pl.String, "subject": pl.String, "label": pl.Int8}
    return pl.DataFrame(rows, schema=schema, orient="row")


def predict(clips, seeds=(0, 1), right=0.6, number=0):
    """Rows that are right about so often."""
    rng = np.random.default_rng(100 + number)
    parts = []
    for seed in seeds:
        guess = np.where(rng.random(len(clips)) < right, clips["label"].to_numpy(), rng.integers(0, K, len(clips)))
        told = pl.Series("prediction", guess.astype(np.int8))
        parts.append(clips.drop("corpus").with_columns(told, pl.lit(seed, pl.Int32).alias("seed")))
    return pl.concat(parts)


def same(rows):
    return Chosen(rows, rows)


def over_seeds(rows, score):
    """Mean over seeds of score(labels, predictions)."""
    return np.mean([score(part["label"], part["prediction"]) for _, part in rows.group_by("seed")])


def macro(labels, guesses):
    return f1_score(labels, guesses, labels=range(K), average="macro", zero_division=0)


CLIPS = corpus()
ROWS = predict(CLIPS)


def test_counts_by_subject_and_seed():
    counts, names = grading.by_subject(ROWS.sample(fraction=1.0, shuffle=True, seed=1), K)
    assert names == sorted(set(CLIPS["subject"])) and counts.shape == (16, 2, K, K)
    for i, name in enumerate(names):
        for seed in (0, 1):
            part = ROWS.filter(subject=name, seed=seed)
            wanted = confusion_matrix(part["label"], part["prediction"], labels=range(K))
            assert (counts[i, seed] == wanted).all()


def test_headline_numbers_against_scikit_learn():
    score, _ = grading.grade("last", same(ROWS), CLIPS, NAMES)
    assert score.uf1 == pytest.approx(over_seeds(ROWS, macro))
    assert score.uar == pytest.approx(over_seeds(ROWS, balanced_accuracy_score))
    assert score.accuracy == pytest.approx(over_seeds(ROWS, accuracy_score))
    weighted = over_seeds(ROWS, lambda labels, guesses: f1_score(labels, guesses, average="weighted"))
    assert score.weighted_f1 == pytest.approx(weighted)
    by_seed = [macro(part["label"], part["prediction"]) for _, part in ROWS.group_by("seed")]
    assert score.uf1_sd == pytest.approx(np.std(by_seed, ddof=1))


def test_mean_of_folds_counts_an_absent_class_as_0():
    """The class list is fixed: a class without a true clip in the fold scores 0, predicted or not."""
    score, _ = grading.grade("last", same(ROWS), CLIPS, NAMES)
    folds = [macro(part["label"], part["prediction"]) for _, part in ROWS.group_by("seed", "subject")]
    assert score.mean_of_folds_f1 == pytest.approx(np.mean(folds))


def test_parts_of_a_composite_are_the_same_predictions_filtered():
    score, _ = grading.grade("last", same(ROWS), CLIPS, NAMES)
    assert set(score.per_corpus) == {"a", "b"}
    for name, part in score.per_corpus.items():
        rows = ROWS.filter(pl.col("subject").str.starts_with(f"{name}/"))
        assert part["uf1"] == pytest.approx(over_seeds(rows, macro))
        assert part["accuracy"] == pytest.approx(over_seeds(rows, accuracy_score))
        assert part["uar"] == pytest.approx(over_seeds(rows, balanced_accuracy_score))


def test_one_corpus_and_one_seed():
    clips = corpus(corpora=("a",))
    score, _ = grading.grade("last", same(predict(clips, seeds=(3,))), clips, NAMES)
    assert score.per_corpus == {} and score.uf1_sd is None


def test_probabilities_are_never_averaged_over_seeds():
    """Two seeds that are each half right score the half, not what their vote would."""
    half = CLIPS["label"].to_numpy().copy()
    half[::2] = (half[::2] + 1) % K
    other = CLIPS["label"].to_numpy().copy()
    other[1::2] = (other[1::2] + 1) % K
    parts = [
        CLIPS.with_columns(pl.Series("prediction", told.astype(np.int8)), pl.lit(seed, pl.Int32).alias("seed"))
        for seed, told in enumerate((half, other))
    ]
    score, _ = grading.grade("last", same(pl.concat(parts)), CLIPS, NAMES)
    assert score.accuracy == pytest.approx(0.5, abs=0.01)


def test_accuracy_may_come_from_other_epochs_than_f1():
    better = predict(CLIPS, right=0.9, number=1)
    mixed, _ = grading.grade("oracle-mmnet", Chosen(ROWS, better), CLIPS, NAMES)
    plain, _ = grading.grade("oracle-mmnet", same(ROWS), CLIPS, NAMES)
    assert mixed.accuracy == pytest.approx(over_seeds(better, accuracy_score))
    assert (mixed.uf1, mixed.uar, mixed.uf1_interval) == (plain.uf1, plain.uar, plain.uf1_interval)


def test_the_interval_resamples_subjects_within_corpora_all_seeds_together():
    score, _ = grading.grade("last", same(ROWS), CLIPS, NAMES)
    counts = {
        name: [confusion_matrix(p["label"], p["prediction"], labels=range(K)) for p in part.partition_by("seed")]
        for (name,), part in ROWS.sort("seed").group_by("subject", maintain_order=True)
    }
    names = sorted(counts)
    drawn = np.array([counts[name] for name in names])
    told = bootstrap.subject_bootstrap(drawn, metrics.uf1, strata=[n[0] for n in names], seed=seed_of("bootstrap"))
    assert score.uf1_interval == pytest.approx((told.low, told.high))
    assert score.uf1_interval[0] < score.uf1 < score.uf1_interval[1]


def test_copies_of_a_seed_change_nothing():
    """Seeds are not a sample of subjects: more of the same must not narrow the interval, or count absences twice."""
    clips = corpus(subjects=2, number=4)
    one = predict(clips, seeds=(0,))
    three = pl.concat([one.with_columns(pl.lit(s, pl.Int32).alias("seed")) for s in range(3)])
    (first, chance), (second, again) = (grading.grade("last", same(rows), clips, NAMES) for rows in (one, three))
    assert second.uf1_interval == pytest.approx(first.uf1_interval)
    assert (second.uf1, again) == (pytest.approx(first.uf1), pytest.approx(chance))
    assert second.absent == first.absent > 0
    assert second.uf1_sd == pytest.approx(0)


def test_grades_do_not_depend_on_the_order_of_rows():
    mixed = ROWS.sample(fraction=1.0, shuffle=True, seed=2)
    first, second = (grading.grade("last", same(rows), CLIPS, NAMES)[0] for rows in (ROWS, mixed))
    assert first == second


def test_chance_is_of_the_same_predictions_shuffled():
    _, chance = grading.grade("last", same(ROWS), CLIPS, NAMES)
    rng = np.random.default_rng(0)
    slow = [
        over_seeds(ROWS, lambda labels, guesses: macro(labels, rng.permutation(guesses.to_numpy()))) for _ in range(100)
    ]
    assert chance == pytest.approx(np.mean(slow), abs=0.02)
    constant = ROWS.with_columns(pl.lit(0, pl.Int8).alias("prediction"))
    score, chance = grading.grade("last", same(constant), CLIPS, NAMES)
    assert chance == pytest.approx(score.uf1)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_every_clip_must_be_predicted_by_every_seed(seeds):
    rows = predict(CLIPS, seeds=seeds)
    gone = rows.filter((pl.col("seed") != seeds[-1]) | ~pl.col("clip").is_in(["a/03/0", "b/01/0"]))
    with pytest.raises(MerBenchError, match=r"rule nested: 2 clips have no prediction, \['a/03/0'\] first"):
        grading.grade("nested", same(gone), CLIPS, NAMES)


def test_a_clip_predicted_twice_is_an_error():
    with pytest.raises(MerBenchError, match="rule last"):
        grading.grade("last", same(pl.concat([ROWS, ROWS.head(1)])), CLIPS, NAMES)


def test_a_headline_with_an_absent_class_is_an_error():
    clips = CLIPS.filter(pl.col("label") < 2)
    with pytest.raises(MerBenchError, match="class 2 has no true clip"):
        grading.grade("last", same(predict(clips)), clips, NAMES)


def test_every_rule_says_whether_it_leaks_and_what_its_models_saw():
    scores = {
        rule: grading.grade(rule, same(ROWS), CLIPS, NAMES)[0]
        for rule in (*selection.RUN_RULES, *selection.STUDY_RULES)
    }
    assert {rule for rule, score in scores.items() if score.leaky} == {r for r in scores if r.startswith("oracle")}
    held = {rule for rule, score in scores.items() if score.trained_on == grading.HELD}
    assert held == {"inner", "nested-no-refit", "shared-no-refit", "oracle-trial"}
    assert {scores[rule].trained_on for rule in set(scores) - held} == {grading.ALL}


def test_a_difference_is_of_means_over_seeds_and_paired():
    better = predict(CLIPS, seeds=(0, 1, 2), right=0.8, number=2)
    gap = grading.difference(better, ROWS, CLIPS, K)
    assert gap.value == pytest.approx(over_seeds(better, macro) - over_seeds(ROWS, macro))
    assert gap.interval.low < gap.value < gap.interval.high
    back = grading.difference(ROWS, better, CLIPS, K)
    mirrored = (-gap.value, -gap.interval.high, -gap.interval.low)
    assert (back.value, back.interval.low, back.interval.high) == pytest.approx(mirrored)


def test_a_model_does_not_differ_from_itself():
    """Paired: both sides draw the same subjects, so nothing is left."""
    gap = grading.difference(ROWS, ROWS.reverse(), CLIPS, K)
    assert (gap.value, gap.interval.low, gap.interval.high, gap.p) == pytest.approx((0, 0, 0, 1))


def test_what_is_kept_of_each_subject_and_class():
    score, _ = grading.grade("last", same(ROWS), CLIPS, NAMES)
    counts, names = grading.counts_of(score)
    again, known = grading.by_subject(ROWS, K)
    assert (counts == again).all() and names == known
    first = ROWS.filter(seed=0)
    assert (counts.sum(0)[0] == confusion_matrix(first["label"], first["prediction"])).all()
    part = score.per_class["positive"]
    assert part["f1"] == pytest.approx(over_seeds(ROWS, lambda t, p: f1_score(t, p, average=None)[1]))
    assert part["low"] < part["f1"] < part["high"] and part["clips"] == (CLIPS["label"] == 1).sum()
    by_hand = ROWS.filter(subject=names[3]).select((pl.col("label") == pl.col("prediction")).mean()).item()
    assert grading.subject_scores(score).row(3, named=True)["accuracy"] == pytest.approx(by_hand)
    low, high = score.intervals["accuracy"]
    assert low < score.accuracy < high and score.interval_method == "bootstrap-t"


def test_a_run_without_counts_of_its_subjects_says_so():
    score, _ = grading.grade("last", same(ROWS), CLIPS, NAMES)
    with pytest.raises(MerBenchError, match="run it again"):
        grading.counts_of(replace(score, by_subject={}))


def test_rows_of_another_sheet_are_refused():
    other = CLIPS.with_columns(pl.when(pl.col("clip") == CLIPS["clip"][3]).then(2 - pl.col("label") // 2 * 2)
                               .otherwise(pl.col("label")).cast(pl.Int8).alias("label"))  # fmt: skip
    assert other["label"].to_list() != CLIPS["label"].to_list()
    with pytest.raises(MerBenchError, match=f"rule last: 1 clips, \\['{CLIPS['clip'][3]}'\\] first, were tested under"):
        grading.grade("last", same(ROWS), other, NAMES)


def test_folds_that_were_not_refitted_are_told():
    whole, _ = grading.grade("nested", with_folds(0), CLIPS, NAMES)
    mixed, _ = grading.grade("nested", with_folds(3), CLIPS, NAMES)
    assert whole.trained_on == grading.ALL
    assert mixed.trained_on == f"{grading.ALL}, but in 3 of 32 refits, which diverged: {grading.HELD}"


def with_folds(stand_ins):
    return replace(same(ROWS.with_columns(pl.col("subject").alias("fold"))), stand_ins=stand_ins)
