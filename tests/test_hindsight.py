"""Hindsight: against the rules of selection themselves, and against a study where the truth is known."""

import numpy as np
import pytest
import toy
from test_trials import run

from mer_bench import hindsight, metrics, selection
from mer_bench.contracts import PAPER_SCALE
from mer_bench.searching import studies, trials
from mer_bench.searching.space import Space, draw

SIZES = (6, 5, 7, 4, 5, 6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Five finished trials of a strict study."""
    base = tmp_path_factory.mktemp("hindsight")
    (base / "tiny.py").write_text(toy.MODEL)
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch, toy.corpus(signal=60, sizes=SIZES))
        order = studies.shuffled([f"toy/{i:02d}" for i in range(len(SIZES))], 0)
        space = Space(str(base / "tiny.py"), {})
        question = studies.Study(space, "toy", PAPER_SCALE, "qmc", 5, 0, base / "study", order)
        for number, values in enumerate(draw(space, "qmc", 0, 5)):
            trials.propose(question, number, values)
            run(question, number)
            trials.close(question, number, trials.COMPLETE)
        return trials.candidates(question)


def uf1_of(chosen):
    counts = metrics.confusion(chosen.rows["label"].to_numpy(), chosen.rows["prediction"].to_numpy(), 3)
    return float(metrics.uf1(counts, absent="zero"))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_curve_is_what_the_rules_choose_among_the_first_trials(folders, count):
    first = {number: folder for number, folder in folders.items() if number < count}
    curve = {n: (nested, shared) for n, nested, shared in hindsight.best_so_far(hindsight.outcomes(folders))}
    expected = [uf1_of(selection.at_choices(first, rule(first))) for rule in (selection.nested, selection.shared)]
    assert curve[count] == pytest.approx(expected)


def test_outcomes_count_every_clip_once_for_test_and_as_often_as_it_validates(folders):
    known = hindsight.outcomes(folders)
    assert known.trials == (0, 1, 2, 3, 4)
    assert (known.test.sum((1, 2, 3)) == sum(SIZES)).all()
    assert (known.test.sum((0, 2, 3)) == 5 * np.array(SIZES)).all()
    pooled = [float(metrics.uf1(part.sum(0), absent="zero")) for part in known.inner]
    assert pooled == pytest.approx([selection.inner_uf1(folders[n]) for n in known.trials])


def test_no_trials_no_outcomes():
    assert hindsight.outcomes({}) is None


def invented(rng, count, subjects=30, clips=8, skill=0.0):
    """Trials of equal skill on three classes, chosen by the very counts that they are judged by."""
    labels = rng.integers(0, 3, (subjects, clips))
    right = rng.random((count, subjects, clips)) < 1 / 3 + skill
    said = np.where(right, labels, (labels + rng.integers(1, 3, (count, subjects, clips))) % 3)
    counts = np.zeros((count, subjects, 3, 3), np.int64)
    where = np.indices((count, subjects, clips))
    np.add.at(counts, (where[0], where[1], np.broadcast_to(labels, said.shape), said), 1)
    losses = rng.random((count, subjects))
    return hindsight.Outcomes(tuple(range(count)), np.arange(subjects), counts, losses, counts)


def test_luck_is_taken_back():
    """Choosing the best of forty guessers by the very labels it is judged on flatters; the correction does not."""
    rng, lucky, corrected = np.random.default_rng(0), [], []
    for study in range(12):
        known = invented(rng, 40)
        lucky.append(hindsight.best_so_far(known)[-1][2])
        corrected.append(hindsight.bias_corrected(known, study))
    assert np.mean(lucky) > 0.38
    assert np.mean(corrected) == pytest.approx(1 / 3, abs=0.02)


def test_one_trial_needs_no_correction():
    known = invented(np.random.default_rng(1), 1, subjects=60, skill=0.3)
    plain = float(metrics.uf1(known.test[0].sum(0)))
    assert hindsight.bias_corrected(known) == pytest.approx(plain, abs=0.02)
