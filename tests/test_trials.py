"""Trials on disk, their proposals and the driver's control of them: what is on record is never lost or done twice."""

import json

import optuna
import polars as pl
import pytest
import toy

from mer_bench import predictions, selection
from mer_bench.contracts import PAPER_SCALE, MerBenchError
from mer_bench.searching import control, proposer, studies, trials
from mer_bench.searching.space import Space, draw

SIZES = (6, 5, 7, 4, 5, 6)
FOLDS = [f"toy/{i:02d}" for i in range(len(SIZES))]


@pytest.fixture(autouse=True)
def corpus(monkeypatch):
    toy.install(monkeypatch, toy.corpus(signal=60, sizes=SIZES))


@pytest.fixture
def study(tmp_path):
    def make(name="study", text=toy.MODEL, **changes):
        path = tmp_path / "tiny.py"
        path.write_text(text)
        order = studies.shuffled(FOLDS, 0)
        settings = {"sampler": "tpe", "trials": 6, "seed": 0, **changes}
        return studies.Study(Space(str(path), {}), "toy", PAPER_SCALE, folder=tmp_path / name, folds=order, **settings)

    return make


def run(question, number, folds=6):
    for place in range(folds):
        trials.run_fold(question, number, place)


def test_fold_order_is_drawn_once_from_the_seed():
    assert studies.shuffled(FOLDS, 0) == studies.shuffled(FOLDS, 0) != studies.shuffled(FOLDS, 1)
    assert sorted(studies.shuffled(FOLDS, 0)) == FOLDS


def test_a_finished_trial_is_one_pass_of_its_folds(study):
    question = study()
    trials.propose(question, 0, question.space.default())
    run(question, 0)
    end = trials.close(question, 0, trials.COMPLETE)
    assert (end.state, end.folds, end.reason) == (trials.COMPLETE, len(SIZES), "")
    folder = trials.passed(question, 0)
    assert end.inner_uf1 == selection.inner_uf1(folder)
    assert predictions.open_test(folder)["fold"].unique().sort().to_list() == FOLDS
    assert not (trials.folder(question, 0) / "folds").exists()
    assert trials.ended(question, 0) == end and trials.candidates(question) == {0: folder}


def test_a_stopped_trial_goes_on_from_its_folds_and_ends_as_if_it_never_stopped(study):
    whole, halted = study("whole"), study("halted")
    for question in (whole, halted):
        trials.propose(question, 0, question.space.default())
    run(whole, 0)
    run(halted, 0, folds=3)
    before = {p: p.stat().st_mtime_ns for p in halted.folder.rglob("*.parquet")}
    assert len(before) == 3 * 4
    run(halted, 0)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())
    for question in (whole, halted):
        trials.close(question, 0, trials.COMPLETE)
    for name in predictions.TABLES:
        tables = [pl.read_parquet(trials.passed(q, 0) / name) for q in (whole, halted)]
        assert tables[0].equals(tables[1]), name


def test_a_dropped_trial_keeps_its_folds_and_is_no_candidate(study):
    question = study()
    trials.propose(question, 0, question.space.default())
    run(question, 0, folds=3)
    end = trials.close(question, 0, trials.PRUNED, "worse")
    assert (end.state, end.folds) == (trials.PRUNED, 3)
    assert len(predictions.record(trials.passed(question, 0))["folds"]) == 3
    assert set(trials.losses(question, 0)) == {0, 1, 2}
    assert trials.candidates(question) == {}
    assert trials.close(question, 0, trials.COMPLETE) == end, "an ended trial stays as it ended"


def test_losses_are_the_same_before_and_after_a_trial_ends(study):
    question = study()
    trials.propose(question, 0, question.space.default())
    run(question, 0, folds=4)
    before = trials.losses(question, 0)
    trials.close(question, 0, trials.PRUNED, "worse")
    assert trials.losses(question, 0) == before and len(before) == 4


def test_a_trial_whose_folds_all_diverge_has_failed_with_the_reason(study):
    question = study()
    trials.propose(question, 0, {**question.space.default(), "lr": 1e38})
    run(question, 0)
    end = trials.close(question, 0, trials.COMPLETE)
    assert end.state == trials.FAIL and "lower lr=1e" in end.reason and end.inner_uf1 == 0


def test_a_fold_that_kills_its_worker_again_and_again_is_lost_and_in_a_race_ends_the_trial(study):
    for racing in (False, True):
        question = study(f"racing-{racing}", racing=racing)
        trials.propose(question, 0, question.space.default())
        note = trials.folder(question, 0) / "folds" / "000.begun"
        note.parent.mkdir(parents=True)
        note.write_text("me\n" * trials.DEATHS)
        reason = f"the worker died 3 times in fold {question.folds[0]}"
        if racing:
            with pytest.raises(MerBenchError, match=reason):
                trials.run_fold(question, 0, 0, "me")
        else:
            assert trials.run_fold(question, 0, 0, "me").diverged.startswith(reason)
            assert trials.run_fold(question, 0, 1, "me").loss is not None, "other folds keep the trial"


def test_of_two_workers_one_has_a_fold_and_it_is_trained_once(study):
    question = study()
    trials.propose(question, 0, question.space.default())
    done = trials.run_fold(question, 0, 2, "one")
    note = trials.folder(question, 0) / "folds" / "003.begun"
    note.write_text("one\n")
    assert trials.run_fold(question, 0, 3, "other") is None, "another worker is at it"
    assert trials.run_fold(question, 0, 2, "other") == done, "on record"
    assert trials.run_fold(question, 0, 3, "one").loss is not None, "its own worker, started again, trains it"
    assert note.read_text() == "one\n" * 2
    trials.forget_attempts(question)
    assert not note.exists() and trials.run_fold(question, 0, 2, "third") == done


def test_the_worker_that_writes_the_last_fold_ends_the_trial(study):
    question = study()
    trials.propose(question, 0, question.space.default())
    run(question, 0, folds=5)
    assert trials.finish(question, 0) is None
    trials.run_fold(question, 0, 5, "helper")
    end = trials.finish(question, 0)
    assert end == trials.ended(question, 0) == trials.finish(question, 0) and end.state == trials.COMPLETE
    assert not (trials.folder(question, 0) / "folds").exists()


def test_a_fold_that_two_workers_trained_is_on_record_once(study, monkeypatch):
    """A node thought dead goes on: its copy of the fold comes second, and changes nothing."""
    question = study()
    trials.propose(question, 0, question.space.default())
    train = trials.train

    def slow(training):
        monkeypatch.setattr(trials, "train", train)
        trials.run_fold(question, 0, 0, "the same, started again")
        return train(training)

    monkeypatch.setattr(trials, "train", slow)
    note = trials.folder(question, 0) / "folds" / "000.begun"
    claim = trials._claim
    monkeypatch.setattr(trials, "_claim", lambda path, worker: claim(path, "one"))
    first = trials.run_fold(question, 0, 0, "one")
    assert first.loss is not None and len(note.read_text().splitlines()) == 2
    run(question, 0)
    assert trials.close(question, 0, trials.COMPLETE).folds == len(SIZES)


def test_a_closing_that_died_halfway_leaves_no_pass_of_too_few_folds(study, monkeypatch):
    question = study()
    trials.propose(question, 0, question.space.default())
    run(question, 0, folds=3)
    with monkeypatch.context() as patch:
        patch.setattr(trials.cache, "write_new", lambda *args, **options: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trials.close(question, 0, trials.PRUNED, "killed here")
    assert trials.passed(question, 0).is_dir() and trials.ended(question, 0) is None
    run(question, 0)
    end = trials.close(question, 0, trials.COMPLETE)
    rows = predictions.open_test(trials.passed(question, 0))
    assert end.folds == len(SIZES) and rows["fold"].unique().sort().to_list() == FOLDS


def test_a_clearing_that_died_halfway_is_done_by_the_next_driver(study, monkeypatch):
    question = study()
    trials.propose(question, 0, question.space.default())
    run(question, 0)
    remove = trials.shutil.rmtree

    def die(path, **options):
        if str(path).endswith("folds"):
            raise KeyboardInterrupt
        remove(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trials.shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            trials.close(question, 0, trials.COMPLETE)
    end, folds = trials.ended(question, 0), trials.folder(question, 0) / "folds"
    assert end.state == trials.COMPLETE and folds.is_dir()
    trials.clear(question)
    assert not folds.exists() and trials.ended(question, 0) == end and list(trials.candidates(question)) == [0]


def test_a_trials_time_runs_from_its_first_fold_whatever_dies(study):
    question = study(timeout=100.0)
    trials.propose(question, 0, question.space.default())
    assert 99 < trials.time_left(question, 0) <= 100
    note = trials.folder(question, 0) / "began"
    note.write_text(repr(float(note.read_text()) - 60))
    assert 39 < trials.time_left(question, 0) <= 40
    trials.forget_attempts(question)
    assert 99 < trials.time_left(question, 0) <= 100
    assert trials.time_left(study(), 0) is None


@pytest.mark.parametrize("sampler", ["qmc", "random"])
def test_strict_proposals_are_the_drawn_ones_whenever_the_driver_starts_anew(study, sampler):
    question = study(sampler=sampler)
    handed = {}
    for _ in range(3):
        asking = proposer.Proposer(question)
        for _ in range(2):
            number, values = asking.next()
            handed[number] = values
            trials.close(question, number, trials.FAIL, "test")
            asking.tell(trials.ended(question, number))
    assert proposer.Proposer(question).next() is None
    assert handed == dict(enumerate(draw(question.space, sampler, 0, 6)))


def test_trials_that_never_ended_are_handed_out_first(study):
    question = study()
    first = proposer.Proposer(question)
    handed = dict(first.next() for _ in range(3))
    trials.close(question, 1, trials.PRUNED, "test")
    again = proposer.Proposer(question)
    assert [again.next() for _ in range(2)] == [(0, handed[0]), (2, handed[2])]
    assert again.next()[0] == 3


def test_the_journal_says_how_trials_ended(study):
    question = study()
    asking = proposer.Proposer(question)
    for state in (trials.COMPLETE, trials.PRUNED, trials.FAIL):
        number, _ = asking.next()
        run(question, number, folds=len(SIZES) if state == trials.COMPLETE else 2)
        asking.tell(trials.close(question, number, state, "" if state == trials.COMPLETE else "why"))
    proposer.Proposer(question)  # rebuilt from the record
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(question.folder / "optuna.log"))
    )
    (found,) = optuna.get_all_study_summaries(storage)
    told = optuna.load_study(study_name=found.study_name, storage=storage).trials
    assert [t.state.name for t in told] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert told[0].value == trials.ended(question, 0).inner_uf1
    assert list(told[1].intermediate_values) == [2] and list(told[2].intermediate_values) == [0]
    assert told[1].user_attrs["reason"] == "why"


def race(question, **options):
    ends = []
    return control.Control(question, ends.append, options.get("budget")), ends


def test_a_hopeless_trial_is_dropped_and_a_fair_one_runs_on(study):
    question = study(racing=True)
    brain, ends = race(question)
    for _ in range(2):
        number = brain.next()
        run(question, number)
        for place, loss in trials.losses(question, number).items():
            assert not brain.fold(number, place, loss, "")
        trials.close(question, number, trials.COMPLETE)
        brain.end(number)
    number = brain.next()
    run(question, number, folds=3)
    good = trials.losses(question, 0)
    said = [brain.fold(number, place, good[place] + 50 + place / 10, "") for place in range(3)]
    assert said == [False, False, True]
    brain.end(number)
    assert ends[-1].state == trials.PRUNED and "worse than trial" in ends[-1].reason
    assert set(trials.candidates(question)) == {0, 1}


def test_without_racing_nothing_is_dropped(study):
    question = study(racing=False)
    brain, _ = race(question)
    number = brain.next()
    assert not any(brain.fold(number, place, 99.0, "") for place in range(5))
    assert not brain.fold(number, 0, None, "diverged")


def test_a_diverged_fold_drops_a_racing_trial(study):
    question = study(racing=True)
    brain, ends = race(question)
    number = brain.next()
    assert brain.fold(number, 0, None, "loss is nan")
    brain.end(number)
    assert ends[-1].reason == "loss is nan"


def test_three_errors_alike_in_a_row_stop_the_search(study):
    question = study()
    brain, _ = race(question)
    for size in (3, 5, 7):
        assert not brain.broken
        number = brain.next()
        trials.close(question, number, trials.FAIL, f"RuntimeError: {size} channels expected")
        brain.end(number)
    assert brain.broken == "RuntimeError: 7 channels expected"
    assert brain.next() is None


def test_workers_without_a_trial_help_the_last_ones(study):
    """Two trials left for four workers: the third and fourth take folds from the end, nobody waits for anybody."""
    question = study(trials=2, racing=False)
    brain, ends = race(question)
    assert brain.idle and [brain.next() for _ in range(3)] == [0, 1, None]
    assert [brain.spare() for _ in range(4)] == [(0, 5), (1, 5), (0, 4), (1, 4)]
    run(question, 0, folds=4)
    for place, loss in trials.losses(question, 0).items():
        assert not brain.fold(0, place, loss, "")
    brain.end(0)
    assert not ends and not brain.idle, "two of its folds are with helpers"
    for place in (5, 4):
        trials.run_fold(question, 0, place, "helper")
        assert not brain.fold(0, place, 1.0, "")
        brain.end(0)
    assert [(end.number, end.state, end.folds) for end in ends] == [(0, trials.COMPLETE, 6)]
    assert brain.spare() == (1, 3) and brain.spare() == (1, 2) and brain.spare() == (1, 1) and brain.spare() is None


def test_a_dropped_or_failed_trial_is_told_once_and_its_other_workers_stop(study):
    question = study(racing=True, trials=4)
    brain, ends = race(question)
    for number in range(2):
        assert brain.next() == number
        run(question, number)
        trials.close(question, number, trials.COMPLETE)
        brain.end(number)
    assert (brain.next(), brain.next(), brain.next()) == (2, 3, None)
    assert brain.spare() == (2, 5)
    assert [brain.fold(2, place, 50.0 + place, "") for place in (5, 0, 1)] == [False, False, True]
    brain.end(2)
    assert brain.fold(2, 2, 50.0, "") and ends[-1].state == trials.PRUNED
    brain.end(2)
    assert brain.spare() == (3, 5)
    trials.close(question, 3, trials.FAIL, "MemoryError")
    brain.end(3)
    assert brain.fold(3, 0, 1.0, "")
    brain.end(3)
    assert [end.number for end in ends] == [0, 1, 2, 3] and brain.idle and brain.spare() is None


def test_a_worker_that_died_for_good_fails_its_trial(study):
    brain, ends = race(study(trials=1))
    number = brain.next()
    brain.end(number, "its worker died again and again")
    assert [(end.state, end.reason) for end in ends] == [(trials.FAIL, "its worker died again and again")]


def test_a_spent_budget_starts_no_trial(study):
    brain, _ = race(study(), budget=0.0)
    assert brain.out_of_time and brain.next() is None


def test_a_study_that_goes_on_races_against_what_finished_before(study):
    question = study(racing=True)
    for number in range(2):
        trials.propose(question, number, question.space.default())
        run(question, number)
        trials.close(question, number, trials.COMPLETE)
    brain, _ = race(question)
    number = brain.next()
    assert number == 2
    assert [brain.fold(number, place, 50.0 + place, "") for place in range(3)] == [False, False, True]


def test_effort_counts_what_was_trained(study):
    question = study()
    for number, (folds, state) in enumerate([(6, trials.COMPLETE), (3, trials.PRUNED)]):
        trials.propose(question, number, question.space.default())
        run(question, number, folds=folds)
        trials.close(question, number, state)
    found = trials.effort(question, trials.everything(question))
    assert found == {"complete": 1, "pruned": 1, "fail": 0, "fold_epochs": 36, "fold_epochs_unraced": 48}
    assert json.loads((trials.folder(question, 1) / "ended.json").read_text())["folds"] == 3
