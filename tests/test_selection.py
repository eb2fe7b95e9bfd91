"""Every rule against an oracle in plain Python: loops, exact fractions, no tables."""

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from mer_bench import predictions, selection, splits
from mer_bench.contracts import MerBenchError, Setting
from mer_bench.training import fold as training_of
from mer_bench.training import loso

CLASSES, EPOCHS, SEEDS = 3, 5, (0, 1)
SETTING = Setting("m", {}, None, "flow@28")
CLOSE = 1e-8


class Corpus:
    """Invented clips: a few subjects of 1 to 9 clips each; every fold keeps two other subjects back."""

    def __init__(self, number, subjects=6):
        rng = np.random.default_rng(number)
        sizes = [1, *rng.integers(1, 10, subjects - 1)]
        names = [(f"c/{s:02}", f"c/{s:02}/{i}") for s, size in enumerate(sizes) for i in range(size)]
        labels = rng.integers(0, CLASSES, len(names)).astype(np.int8)
        labels[-CLASSES:] = range(CLASSES)
        self.clips = pl.DataFrame(names, schema=["subject", "clip"], orient="row").with_columns(label=pl.Series(labels))
        owner = self.clips["subject"].to_numpy()
        self.folds = {}
        for fold in sorted(set(owner)):
            kept = rng.choice(sorted(set(owner) - {fold}), 2, replace=False)
            test, held = owner == fold, np.isin(owner, kept)
            parts = (np.flatnonzero(rows) for rows in (test, ~test & ~held, held))
            self.folds[fold] = splits.Fold(fold, *parts)


def invent(rng, corpus, coarse, epochs=EPOCHS):
    """Probabilities (seed, fold) -> (validation, test), exact in float16; coarse ones tie often and are sometimes 0."""
    said = {}
    for seed in SEEDS:
        for name, fold in corpus.folds.items():
            count = len(fold.validation) + len(fold.test)
            if coarse:
                cuts = np.sort(rng.integers(0, 5, (epochs, count, CLASSES - 1)), -1)
                p = np.diff(cuts, prepend=0, append=4, axis=-1) / 4
            else:
                p = rng.dirichlet(np.full(CLASSES, 0.5), (epochs, count)).astype(np.float16).astype(float)
            said[seed, name] = (p[:, : len(fold.validation)], p[:, len(fold.validation) :])
    return said


def write(folder, corpus, said, missing=()):
    """A pass as the training writes it."""
    finished = []
    for (seed, name), (validation, test) in said.items():
        training = training_of.Training("t", SETTING, seed, name, validation=True)
        gone, sides = (seed, name) in missing, (corpus.folds[name].validation, corpus.folds[name].test)
        tables = {} if gone else training_of._tables(training, corpus.clips, sides, (validation, test))
        finished.append(loso.Finished(training, tables, "", 0.0, diverged="loss is nan" if gone else ""))
    loso.write(folder, finished, {"trial": 0})
    return folder


class Study:
    """A few trials over one corpus, on disk and in memory."""

    def __init__(self, folder, number, trials=3, missing=None):
        rng = np.random.default_rng(1000 + number)
        self.corpus = Corpus(number)
        self.sides = {}
        self.missing = missing or {}
        self.said = {t: invent(rng, self.corpus, coarse=number % 2 == 0) for t in range(trials)}
        self.folder = folder
        self.write()

    def write(self, version="a"):
        self.folders = {
            t: write(self.folder / f"{version}-{t}", self.corpus, said, self.missing.get(t, ()))
            for t, said in self.said.items()
        }

    def done(self, trial):
        return {key: said for key, said in self.said[trial].items() if key not in self.missing.get(trial, ())}

    def rows(self, side, key):
        """(clip, label) of one side of a fold."""
        if (side, key[1]) not in self.sides:
            part = self.corpus.clips[getattr(self.corpus.folds[key[1]], side)]
            self.sides[side, key[1]] = part.select("clip", "label").rows()
        return self.sides[side, key[1]]

    def pairs(self, side, trial, key, epoch):
        """(label, prediction) of one side of a fold at an epoch."""
        said = self.said[trial][key][side == "test"][epoch].tolist()
        return [(label, p.index(max(p))) for (_, label), p in zip(self.rows(side, key), said, strict=True)]


@pytest.fixture(params=range(10))
def study(request, tmp_path):
    missing = {1: {(0, "c/02"), (1, "c/02")}, 2: {(0, "c/04"), (1, "c/04")}} if request.param in (2, 3) else {}
    return Study(tmp_path, request.param, missing=missing)


def macro_f1(pairs, only_present=False):
    scores = []
    for k in range(CLASSES):
        hits = sum(truth == said == k for truth, said in pairs)
        both = sum(truth == k for truth, _ in pairs) + sum(said == k for _, said in pairs)
        if both or not only_present:
            scores.append(Fraction(2 * hits, both) if both else Fraction(0))
    return sum(scores) / len(scores)


def correct(pairs):
    return sum(truth == said for truth, said in pairs)


def slow_inner(study, trial, key):
    """Earliest epoch of least smoothed loss, and that loss."""
    losses = []
    for said in study.said[trial][key][0].tolist():
        costs = [
            -math.log(max(p[label], 1e-4)) for (_, label), p in zip(study.rows("validation", key), said, strict=True)
        ]
        losses.append(math.fsum(costs) / len(costs))
    spans = [losses[max(0, e - 1) : e + 2] for e in range(len(losses))]
    smooth = [math.fsum(span) / len(span) for span in spans]
    return next((e, loss) for e, loss in enumerate(smooth) if loss <= min(smooth) + CLOSE)


def slow_nested(study):
    found = {}
    for key in study.said[0]:
        losses = {t: slow_inner(study, t, key)[1] for t in study.said if key in study.done(t)}
        trial = next(t for t in sorted(losses) if losses[t] <= min(losses.values()) + CLOSE)
        found[key] = (trial, slow_inner(study, trial, key)[0])
    return found


def slow_inner_uf1(study, trial):
    pairs = []
    for key in study.done(trial):
        pairs += study.pairs("validation", trial, key, slow_inner(study, trial, key)[0])
    return macro_f1(pairs)


def slow_rows(study, chosen):
    """What (seed, fold) -> (trial, epoch) lets speak: (seed, clip) -> (fold, epoch, label, prediction)."""
    return {
        (key[0], clip): (key[1], epoch, label, said)
        for key, (trial, epoch) in chosen.items()
        for (clip, label), (_, said) in zip(
            study.rows("test", key), study.pairs("test", trial, key, epoch), strict=True
        )
    }


def best_test_epochs(study, score):
    """Per (seed, fold) of trial 0 the last epoch of the best score of its own test clips."""
    found = {}
    for key in study.said[0]:
        scores = [score(study.pairs("test", 0, key, e)) for e in range(EPOCHS)]
        found[key] = (0, max(e for e in range(EPOCHS) if scores[e] == max(scores)))
    return found


def as_dict(rows):
    """Rows of a `Chosen`, which must be one per (seed, clip) and in order."""
    keys = rows.select("seed", "clip").rows()
    assert keys == sorted(set(keys))
    return dict(zip(keys, rows.select("fold", "epoch", "label", "prediction").rows(), strict=True))


def choices(found):
    return {key: (choice.trial, choice.epoch) for key, choice in found.items()}


def test_last(study):
    wanted = slow_rows(study, {key: (0, EPOCHS - 1) for key in study.said[0]})
    assert as_dict(selection.last(study.folders[0]).rows) == wanted


def test_inner(study):
    for trial, folder in study.folders.items():
        found = selection.inner(folder, trial)
        wanted = {key: slow_inner(study, trial, key) for key in study.done(trial)}
        assert choices(found) == {key: (trial, epoch) for key, (epoch, _) in wanted.items()}
        assert all(found[key].loss == pytest.approx(loss, abs=CLOSE) for key, (_, loss) in wanted.items())
    spoken = selection.of_run("inner", None, study.folders[0]).rows
    assert as_dict(spoken) == slow_rows(study, {key: (0, slow_inner(study, 0, key)[0]) for key in study.said[0]})


def test_inner_uf1(study):
    for trial, folder in study.folders.items():
        assert selection.inner_uf1(folder) == pytest.approx(float(slow_inner_uf1(study, trial)), abs=1e-9)
        validated = sum(len(study.rows("validation", key)) for key in study.done(trial))
        assert selection.inner_counts(folder).sum() == validated


def test_nested(study):
    found = selection.nested(study.folders)
    assert choices(found) == slow_nested(study)
    rows = selection.at_choices(study.folders, found).rows
    assert as_dict(rows) == slow_rows(study, slow_nested(study))
    assert set(rows["clip"]) == set(study.corpus.clips["clip"])


def test_shared(study):
    whole = [t for t in study.said if not study.missing.get(t)]
    trial = max(whole, key=lambda t: (slow_inner_uf1(study, t), -t))
    wanted = {key: (trial, slow_inner(study, trial, key)[0]) for key in study.said[0]}
    assert choices(selection.shared(study.folders)) == wanted


def test_oracle_epoch(study):
    wanted = slow_rows(study, best_test_epochs(study, correct))
    assert as_dict(selection.oracle_epoch(study.folders[0]).rows) == wanted


def test_oracle_mmnet(study):
    found = selection.oracle_mmnet(study.folders[0])
    f1 = best_test_epochs(study, lambda pairs: macro_f1(pairs, only_present=True))
    assert as_dict(found.rows) == slow_rows(study, f1)
    assert as_dict(found.accuracy_rows) == slow_rows(study, best_test_epochs(study, correct))


def test_oracle_global_epoch(study):
    wanted = {}
    for seed in SEEDS:
        keys = [key for key in study.said[0] if key[0] == seed]
        scores = [macro_f1([pair for key in keys for pair in study.pairs("test", 0, key, e)]) for e in range(EPOCHS)]
        wanted |= {key: (0, scores.index(max(scores))) for key in keys}
    assert as_dict(selection.oracle_global_epoch(study.folders[0]).rows) == slow_rows(study, wanted)


def test_oracle_trial(study):
    scores = {}
    for trial in study.said:
        if not study.missing.get(trial):
            pairs = [pair for key in study.said[trial] for pair in study.pairs("test", trial, key, EPOCHS - 1)]
            scores[trial] = macro_f1(pairs)
    trial = max(scores, key=lambda t: (scores[t], -t))
    wanted = slow_rows(study, {key: (trial, EPOCHS - 1) for key in study.said[trial]})
    assert as_dict(selection.oracle_trial(study.folders).rows) == wanted


def test_a_trial_that_lost_a_fold_stays_a_candidate_elsewhere(tmp_path):
    key = (0, "c/03")
    study = Study(tmp_path, 1, missing={1: {key}})
    whole = Study(tmp_path / "whole", 1)
    # trial 1 is sure and right everywhere, so it is chosen wherever it finished
    for s in (study, whole):
        for k, (validation, _) in s.said[1].items():
            validation[:] = np.eye(CLASSES)[[label for _, label in s.rows("validation", k)]]
        s.write("b")
    found = choices(selection.nested(study.folders))
    assert found.pop(key)[0] != 1
    assert {trial for trial, _ in found.values()} == {1}
    assert found.items() <= choices(selection.nested(whole.folders)).items()
    assert 1 not in {c.trial for c in selection.shared(study.folders).values()}


def test_a_fold_is_decided_by_its_own_validation_rows_alone(tmp_path):
    study = Study(tmp_path, 5)
    before = selection.nested(study.folders)
    moved = (1, "c/03")
    for trial, said in study.said.items():
        fresh = invent(np.random.default_rng(trial), study.corpus, coarse=False)
        said[moved] = fresh[moved]
    study.write("b")
    after = selection.nested(study.folders)
    assert after.pop(moved) != before.pop(moved)
    assert after == before


def test_honest_rules_never_open_the_test_rows(study):
    before = [selection.inner(study.folders[0]), selection.nested(study.folders), selection.shared(study.folders)]
    scores = [selection.inner_uf1(folder) for folder in study.folders.values()]
    for folder in study.folders.values():
        (folder / predictions.TEST).unlink()
        (folder / predictions.FOLDS_TEST).unlink()
    assert before == [
        selection.inner(study.folders[0]),
        selection.nested(study.folders),
        selection.shared(study.folders),
    ]
    assert scores == [selection.inner_uf1(folder) for folder in study.folders.values()]


def test_equal_losses_choose_the_earliest_epoch_and_the_lower_trial(tmp_path):
    study = Study(tmp_path, 7)
    rng = np.random.default_rng(0)
    for key in study.said[0]:
        # one value at every epoch: means of two and of three neighbours differ in their last bit
        flat = invent(rng, study.corpus, coarse=False, epochs=1)[key][0].repeat(EPOCHS, 0)
        for said in study.said.values():
            said[key] = (flat, said[key][1])
    study.write("b")
    assert set(choices(selection.nested(study.folders)).values()) == {(0, 0)}
    assert set(choices(selection.shared(study.folders)).values()) == {(0, 0)}


def test_equal_scores_are_ties_in_whatever_order_their_parts_are_added(tmp_path):
    # the same confusion with its classes renamed: one F1, but the last bit of its float may differ
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(0, 3, (CLASSES, CLASSES)) + np.eye(CLASSES, dtype=int)
        orders = [counts[np.ix_(order, order)] for order in ([0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])]
        folds = pl.DataFrame(
            [{"seed": 0, "fold": "c/01", "epoch": e, "counts": c.ravel().tolist()} for e, c in enumerate(orders)]
        )
        folds.write_parquet(tmp_path / predictions.FOLDS_TEST)
        assert selection._best_epochs(tmp_path, selection._present_f1) == {(0, "c/01"): 3}


def test_smoothing_averages_neighbours_and_ends_have_fewer():
    assert selection.smooth(np.array([1.0, 3.0, 8.0, 4.0])).tolist() == [2.0, 4.0, 5.0, 6.0]
    assert selection.smooth(np.array([7.0])).tolist() == [7.0]
    assert selection.smooth(np.array([[0.0, 2.0], [4.0, 4.0]])).tolist() == [[1.0, 1.0], [4.0, 4.0]]


def test_a_refit_speaks_at_the_epoch_it_was_refitted_for(tmp_path):
    corpus = Corpus(3)
    rng = np.random.default_rng(3)
    said, ends = {}, {}
    for i, key in enumerate(sorted(invent(rng, corpus, coarse=False))):
        ends[key] = i % EPOCHS
        said[key] = invent(rng, corpus, coarse=False, epochs=ends[key] + 1)[key]
    rows = selection.last(write(tmp_path / "refit", corpus, said)).rows
    assert {(s, f): e for s, f, e in rows.select("seed", "fold", "epoch").rows()} == ends
    assert len(rows) == len(SEEDS) * len(corpus.clips)
    for seed, fold, clip, prediction in rows.select("seed", "fold", "clip", "prediction").rows():
        at = corpus.clips[corpus.folds[fold].test]["clip"].to_list().index(clip)
        assert prediction == said[seed, fold][1][-1, at].argmax()


def test_a_fold_whose_refit_diverged_speaks_by_its_choice_and_is_counted(tmp_path):
    study, lost = Study(tmp_path, 4), (1, "c/03")
    refit = write(tmp_path / "refit", study.corpus, study.said[2], missing={lost})
    choice = selection.nested(study.folders)[0, "c/03"]
    found = selection.refitted(refit, study.folders, {lost: choice}, 0)
    wanted = slow_rows(study, {key: (2, EPOCHS - 1) for key in study.said[2] if key != lost})
    before = slow_rows(study, {(0, "c/03"): (choice.trial, choice.epoch)})
    assert as_dict(found.rows) == {**wanted, **{(1, clip): said for (_, clip), said in before.items()}}
    assert found.stand_ins == 1 and selection.last(refit).stand_ins == 0


def test_rules_by_name(tmp_path):
    study = Study(tmp_path, 9)
    folder = study.folders[0]
    for rule in selection.RUN_RULES:
        found = selection.of_run(rule, folder, folder)
        assert len(found.rows) == len(found.accuracy_rows) == len(SEEDS) * len(study.corpus.clips)
    for rule, everything, held in [("inner", folder, None), ("last", None, folder), ("nested", folder, folder)]:
        with pytest.raises(MerBenchError, match=f"rule '{rule}' does not fit"):
            selection.of_run(rule, everything, held)


def test_oracles_are_leaky_and_nothing_else():
    leaky = {rule for rule in (*selection.RUN_RULES, *selection.STUDY_RULES) if selection.is_leaky(rule)}
    assert leaky == {"oracle-epoch", "oracle-global-epoch", "oracle-mmnet", "oracle-trial"}
