"""A study and its answers: asked for more, for fewer, with finalists, after a stop; without Ray."""

import pytest
import toy

from mer_bench.answering import commands, reproduce
from mer_bench.answering.book import Book
from mer_bench.answering.options import Options
from mer_bench.contracts import Remark, UsageError
from mer_bench.door.cli import app, parse_settings
from mer_bench.records import tracking
from mer_bench.searching import finals, studies, tune

OPTIONS = {"sampler": "qmc", "workers": 1, "settings": {"epochs": 2}}
SIZES = (6, 5, 7, 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "search", toy.in_this_process)
        yield toy.settle(tmp_path_factory.mktemp("book"), patch, toy.corpus(signal=40, sizes=SIZES))


@pytest.fixture
def search(place):
    def go(trials, rules=("nested-no-refit",), **more):
        return commands.search(str(place / "tiny.py"), "toy", trials=trials, rules=rules, **{**OPTIONS, **more})

    return go


def trial_files(answer):
    return {path: path.read_bytes() for path in answer.tables.glob("trial-*/**/*") if path.is_file()}


def test_more_trials_leave_the_first_untouched_and_fewer_answer_from_the_record(search):
    few = search(2, refit=False)
    assert tracking.open().client.get_run(few.run_id).data.tags["mer_bench.study"] == few.tables.name
    before = trial_files(few)
    many = search(4, refit=False)
    assert many.tables == few.tables and many.result.trials == 4 and many.run_id != few.run_id
    assert {path: text for path, text in trial_files(many).items() if path in before} == before
    with pytest.warns(Remark, match="4 trials are on record; this answer is of the first 2"):
        again = search(2, refit=False)
    assert again.run_id == few.run_id and again.reused
    assert again.result.rules == few.result.rules and again.result.trials == 2
    # never asked before: the first three answer as a study of three would
    with pytest.warns(Remark):
        third = search(3, refit=False)
    alone = search(3, refit=False, fresh=True)
    assert third.tables == few.tables != alone.tables and not third.reused
    assert third.result.rules == alone.result.rules
    tried = [[(t.values, t.inner_uf1) for t in answer.result.evidence.trials] for answer in (third, alone)]
    assert tried[0] == tried[1] and len(tried[0]) == 3
    assert (third.result.question["first_of"], alone.result.question.get("first_of")) == (4, None)
    assert trial_files(third) == trial_files(many)


def test_finalists_are_reported_with_their_seeds_and_reproduced(search):
    plain = search(3, rules=(), seed=5)
    answer = search(3, rules=(), seed=5, seeds=2, top=2)
    result, asked = answer.result, finals.Finals(answer.tables, 5, 2, 2)
    assert answer.tables == plain.tables and answer.run_id != plain.run_id
    assert {rule: score.seeds for rule, score in result.rules.items()} == {
        "nested": 2, "nested-no-refit": 2, "shared": 2, "shared-no-refit": 2, "oracle-trial": 1,
    }  # fmt: skip
    assert result.rules["nested"].uf1_sd is not None and result.question["top"] == 2
    assert "2 finalists trained with 2 seeds" in result.setting_name
    folders = {number: answer.tables / f"trial-{number:04d}" / "pass" for number in range(3)}
    for name in ("nested", "shared"):
        chosen = {fold: (c.trial, c.epoch) for (_, fold), c in finals.choose(name, folders, asked).choices.items()}
        assert result.evidence.choices[name] == chosen
    again = search(3, rules=(), seed=5, seeds=2, top=2)
    assert again.reused and again.run_id == answer.run_id and again.result.rules == result.rules
    assert reproduce.reproduce(answer.run_id, workers=1).words() == f"0 of {sum(SIZES)} clips differ"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"top": 2}, "--top 2 trains finalists with further seeds: add --seeds 2"),
        ({"top": 0, "seeds": 2}, "--top 0: at least one"),
        ({"seeds": 2, "refit": False}, "repeat finalists by --top"),
        ({"resume": True, "fresh": True}, "choose one"),
    ],
)
def test_what_cannot_be_asked(search, more, said):
    with pytest.raises(UsageError, match=said):
        search(2, **more)


def test_a_stopped_answer_asks_to_be_resumed_but_others_of_the_record_do_not(search, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(studies, "conclude", stopped)
        with pytest.raises(KeyboardInterrupt):
            search(3, seed=7)
    with pytest.raises(UsageError, match=r"stopped after 3 trials: go on with --resume"):
        search(3, seed=7)
    with pytest.raises(UsageError, match=r"stopped after 3 trials: go on with --resume"):
        search(4, seed=7)
    with pytest.warns(Remark):
        fewer = search(2, seed=7)
    assert not fewer.reused
    book = Book.read(fewer.tables)
    assert sorted((run["trials"], run["done"]) for run in book.runs.values()) == [(2, True), (3, False)]
    more = search(4, seed=7, resume=True)
    assert sorted(run["trials"] for run in Book.read(more.tables).runs.values()) == [2, 4], "what was left is not done"
    with pytest.warns(Remark):
        assert not search(3, seed=7).reused


def test_the_book_says_what_is_searched_and_how_to_ask_again(search, place):
    answer = search(2, refit=False, fresh=True)
    book = Book.read(answer.tables)
    (entry,) = [run for run in book.runs.values() if run["run_id"] == answer.run_id]
    model = place / "tiny.py"
    assert entry["command"] == (
        f"mer-bench search {model} --task toy --trials 2 --sampler qmc --rules nested-no-refit --device cpu "
        "--set epochs=2 --no-refit"
    )
    assert Book.read(place) is None


def test_the_command_asks_for_the_same_again(search, place, monkeypatch):
    import shlex

    from typer.testing import CliRunner

    options = {"inner_folds": 2, "trial_timeout": 90.0, "race": True, "seeds": 3, "top": 2, "seed": 4}
    ready = type("Settled", (), {})()
    space = type("Space", (), {"model": "m.py", "file": "s.py", "pinned": {"lr": 1e-3, "motion": "flow"}})()
    vars(ready).update(space=space, task="toy", scale_name="paper", seeds=3, device="cpu")
    given = {name: value for name, value in options.items() if name != "seeds"}
    line = Options(trials=7, rules=("nested",), **given).typed(ready)
    caught = {}
    monkeypatch.setattr(commands, "search", lambda *args, **more: caught.update(more, args=args))
    monkeypatch.setattr(commands, "study_page", lambda answer: "page")
    for name in ("_show", "_whole"):
        monkeypatch.setattr(f"mer_bench.door.cli.{name}", lambda *args: None)
    assert CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False).exit_code == 0
    assert caught["args"] == ("m.py", "toy") or (caught["model"], caught["task"]) == ("m.py", "toy")
    expected = {**options, "trials": 7, "space": "s.py", "scale": "paper", "rules": ("nested",)}
    assert {name: caught[name] for name in expected} == expected
    assert caught["settings"] == parse_settings(["lr=0.001", "motion=flow"])
