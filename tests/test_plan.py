"""What a search would take: trainings counted, time told from paces, assumptions said; never timed here."""

import json
from types import SimpleNamespace

import pytest
import toy
from typer.testing import CliRunner

from mer_bench import splits
from mer_bench.answering import commands, planning, probing, ready
from mer_bench.answering.options import Options
from mer_bench.answering.planning import _Work
from mer_bench.contracts import UsageError
from mer_bench.door import terms
from mer_bench.door.cli import app
from mer_bench.searching import trials, tune
from mer_bench.training import pace
from mer_bench.training.pace import Pace

SIZES = (6, 5, 7, 4)
SECOND = Pace(build=0.5, epoch=0.2, record=0.1, epochs=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "search", toy.in_this_process)
        yield toy.settle(tmp_path_factory.mktemp("plan"), patch, toy.corpus(signal=40, sizes=SIZES))


@pytest.fixture
def paced(monkeypatch):
    """Every training has the same pace, which nobody measures; what was probed."""
    seen = []

    def measure(training, place):
        seen.append(training)
        return SECOND

    monkeypatch.setattr(pace, "measure", measure)
    return seen


def test_a_fold_is_building_epochs_and_its_record():
    assert SECOND.seconds == pytest.approx(0.5 + 2 * 0.2 + 0.1)


def settled(place):
    return ready.prepare(ready.Command(str(place / "tiny.py"), "toy", device="cpu", workers=1))


def test_a_pace_is_measured_of_the_training_itself(place, monkeypatch):
    """Epochs cost what the clock says: here a clock that trainings move by their epochs and clips."""
    clock = SimpleNamespace(now=0.0)

    def fit(build, recipe, data, rows, classes, names, precision, last):
        clock.now += 3.0 + (last + 1) * (len(rows[0]) * 0.1 + (len(rows[1]) + len(rows[2])) * 0.01)

    monkeypatch.setattr(pace.trainer, "fit", fit)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock.now)
    training = settled(place).trainings(True)[0]
    parts = splits.inner(toy.corpus(40, SIZES).clips, training.fold, 1)[0]
    epoch = len(parts.train) * 0.1 + (len(parts.validation) + len(parts.test)) * 0.01
    found = pace.measure(training, place / "records")
    # an epoch of more than a second is cut to a share of the rows, which are spread evenly
    assert found.build == pytest.approx(3.0, rel=0.1) and found.epoch == pytest.approx(epoch, rel=0.35)
    assert found.epochs == training.setting.recipe.epochs and list((place / "records").iterdir()) == []


def test_a_real_pace_is_a_pace(place):
    training = settled(place).trainings(False)[0]
    found = pace.probe(pace.Probe((training, training), place / "records", 0.0))
    (one,) = found.paces  # no time for a second one
    assert one.epoch > 0 and one.build >= 0 and one.record > 0 and one.epochs == 4


def test_a_setting_that_diverges_has_no_pace(place, monkeypatch):
    def diverges(*args):
        raise pace.trainer.Diverged("loss is nan")

    monkeypatch.setattr(pace.trainer, "fit", diverges)
    training = settled(place).trainings(True)[0]
    assert pace.measure(training, place) is None
    with pytest.raises(UsageError, match="diverged at once"):
        probing.probed([training], 1, None)


def test_trainings_are_counted_and_a_strict_study_probes_what_it_will_try(place, paced):
    said = planning.search(
        str(place / "tiny.py"), "toy", trials=5, sampler="qmc", seeds=3, top=2, workers=1, inner_folds=2
    )
    folds = len(SIZES)
    assert said.trainings == {"trials": 5 * folds * 2, "finalists": 2 * 2 * folds * 2 * 2, "refits": 2 * 3 * folds}
    assert said.epochs == 4 * sum(said.trainings.values()) and said.share == 1 and said.probed == (1.0,) * 5
    assert [one.setting.options["hidden"] for one in paced] == [
        values["hidden"] for values in probing.draw(probing_space(place), "qmc", 0, 5)
    ]
    assert said.parts["trials"] == pytest.approx(5 * (folds * 2 * 1.0 + planning.TRIAL))
    assert said.seconds == pytest.approx(sum(said.parts.values())) and said.ends == pytest.approx((said.seconds,) * 2)


def probing_space(place):
    return settled(place).space


def test_racing_and_tpe_are_assumptions_and_are_said(place, paced):
    said = planning.search(str(place / "tiny.py"), "toy", trials=50, workers=1)
    assert said.share == pytest.approx((1 + 9 * planning.DRAWN[0] + 40 * planning.LEARNT[0]) / 50)
    low, high = said.share_ends
    assert low < said.share < high and said.ends[0] < said.seconds < said.ends[1]
    notes = " ".join(said.notes)
    assert "racing is assumed to leave 63%" in notes and "tpe gathers" in notes and "16 settings" in notes
    assert len(paced) == probing.SETTINGS
    assert "50 of trials" not in said.words() and "200 of trials, 8 of refits" in said.words()


def test_what_is_on_record_is_not_counted_and_tells_the_time(place, paced, monkeypatch):
    options = {"sampler": "qmc", "workers": 1, "settings": {"epochs": 2}}
    before = commands.search(
        str(place / "tiny.py"), "toy", trials=3, refit=False, rules=("nested-no-refit",), **options
    )
    said = planning.search(str(place / "tiny.py"), "toy", trials=5, **options)
    assert said.trainings["trials"] == 2 * len(SIZES) and "3 of 5 trials are on record" in " ".join(said.notes)
    monkeypatch.setattr(probing, "KNOWN", 3)
    paced.clear()
    said = planning.search(str(place / "tiny.py"), "toy", trials=5, **options)
    each = [trial.seconds / len(SIZES) for trial in before.result.evidence.trials]
    assert not paced and said.probed == pytest.approx(each)
    assert "last 3 trials on record" in " ".join(said.notes)


def test_a_dropped_trial_on_record_tells_racings_share(place):
    ends = [trials.Ended(n, {}, "PRUNED", "", 0.5, folds, 2.0 * folds) for n, folds in enumerate([4, 2, 1, 1] * 3)]
    study = SimpleNamespace(folds=("a", "b", "c", "d"), inner_folds=1)
    told = probing.recorded(study, ends)
    assert told.seconds == (2.0,) * 12 and told.share == 0.5
    assert planning._share(Options(trials=22), 12, 2, told.share) == (0.5, (0.5, 0.5))


def test_trials_that_were_drawn_are_dropped_sooner_than_those_of_tpe():
    drawn, tpe = planning.DRAWN[0], planning.LEARNT[0]
    assert planning._share(Options(trials=8), 0, 2, None)[0] == pytest.approx((2 + 3 * drawn + 3 * tpe) / 8)
    assert planning._share(Options(trials=8, sampler="qmc"), 0, 2, None) == (1.0, (1.0, 1.0))
    assert planning._share(Options(trials=8, sampler="qmc", race=True), 0, 2, None)[0] == pytest.approx(
        (2 + 6 * drawn) / 8
    )
    assert planning._share(Options(trials=100), 50, 4, None)[0] == pytest.approx(tpe)
    assert planning._share(Options(trials=2), 0, 4, None)[0] == 1
    assert planning._share(Options(trials=20), 20, 4, None)[0] == 1


@pytest.mark.parametrize(
    ("workers", "share", "expected"), [(1, 1.0, 10 * 4.0), (2, 1.0, 5 * 4.0 + 1.0), (2, 0.5, 5 * 2.0 + 0.5)]
)
def test_trials_side_by_side_wait_for_the_last_one(workers, share, expected):
    study = SimpleNamespace(folds=("a", "b", "c", "d"))
    work = _Work(study, 10, workers, Options(trials=10), 1, ("nested",), 0.0)
    assert work.parts(1.0, share)["trials"] - 10 * planning.TRIAL / workers == pytest.approx(expected)


def test_a_budget_ends_it():
    work = _Work(SimpleNamespace(folds=("a",) * 10), 100, 1, Options(trials=100, budget=60.0), 1, ("nested",), 0.0)
    assert work.parts(1.0, 1.0)["trials"] == 60 + 10


def test_a_run_is_planned_too(place, paced):
    model = str(place / "tiny.py")
    said = planning.run(model, "toy", seeds=2, rules=("last", "inner"), workers=1)
    assert said.trainings == {"folds": 2 * 2 * len(SIZES)} and said.folds == len(SIZES)
    assert said.parts["trainings"] == pytest.approx(16.0)
    with pytest.raises(UsageError, match="nothing to plan"):
        planning.run(model, "toy", weights_dir="somewhere")


def test_a_classical_model_describes_clips_once(place):
    said = planning.run("majority", "toy", workers=2)
    assert said.workers == 1 and said.epochs == len(SIZES) and said.trainings == {"folds": len(SIZES)}


def test_plans_as_typed(place, paced):
    words = ["plan", "search", str(place / "tiny.py"), "--task", "toy", "--trials", "3", "--workers", "1"]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert told["trainings"]["trials"] == 12 and told["ends"][0] <= told["seconds"] <= told["ends"][1]
    shown = CliRunner().invoke(app, [*words, "--sampler", "random"], catch_exceptions=False).stdout
    assert "search tiny.py on toy: 4 folds" in shown and "about" in shown
    words = ["plan", "run", str(place / "tiny.py"), "--task", "toy", "--workers", "1"]
    assert "run tiny.py on toy" in CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_a_plan_has_the_options_of_what_it_plans():
    import typer

    command = typer.main.get_command(app)
    for name in ("run", "search"):
        mine, its = (
            {option for one in part.params for option in one.opts}
            for part in (command.commands["plan"].commands[name], command.commands[name])
        )
        assert mine == its and "--set" in mine


def test_a_command_takes_a_question_and_options_of_its_own():
    def question(model: terms.Model, seeds: terms.Seeds = 1) -> dict:
        """What is asked."""
        return {"model": model, "seeds": seeds}

    said = []

    def go(question: dict, as_json: terms.Json = False) -> None:
        """Go."""
        said.append((question, as_json))

    command = terms.takes(question)(go)
    assert command.__doc__ == "Go." and list(command.__annotations__) == ["model", "seeds", "as_json"]
    command(model="m", seeds=3, as_json=True)
    assert said == [({"model": "m", "seeds": 3}, True)]
