"""A study's page: its numbers against the records themselves, its pictures against hand-computed places."""

import json
import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import invented_study as inv
import numpy as np
import optuna
import pytest
import toy
import typer
from invented_results import finished, searched
from typer.testing import CliRunner

from mer_bench import stats
from mer_bench.answering import commands
from mer_bench.contracts import MerBenchError, Remark
from mer_bench.door import cli
from mer_bench.records.tracking import Finished
from mer_bench.reports import landscapes, lanes, pages, standings, svg
from mer_bench.reports.landscapes import Verdict
from mer_bench.reports.lanes import Lap
from mer_bench.searching import accounts, dossier, particulars, shelf, trials, tune
from mer_bench.searching.ledger import of_result

WILD = "<script>alert(1)</script>"
FATES = {
    4: (trials.PRUNED, 3, "worse than trial 2 by .4 log-loss over 3 folds, p = .01"),
    6: (trials.FAIL, 0, f"RuntimeError: 3 channels {WILD}"),
    7: (trials.PRUNED, 5, "worse than trial 2"),
    8: (trials.FAIL, 0, f"RuntimeError: 5 channels {WILD}"),
}
SIZES = (7, 5, 6, 8, 5, 6)


@pytest.fixture(scope="module", autouse=True)
def corpus():
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch, toy.corpus(signal=0, sizes=SIZES))
        patch.setattr("mer_bench.predictions._flush", lambda path: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A racing study of twelve trials, some dropped and failed, and its result."""
    return inv.recorded(tmp_path_factory.mktemp("whole"), FATES, SIZES, trials=12, sampler="tpe", racing=True)


@pytest.fixture(scope="module")
def ledger(whole):
    study, found = whole
    return shelf.read(study.folder, [found])


def test_a_ledger_says_what_the_records_say(whole, ledger):
    study, found = whole
    ends = trials.everything(study)
    assert [(t.number, t.state, t.reason, t.values) for t in ledger.tried] == [
        (e.number, e.state, e.reason, e.values) for e in ends
    ]
    for one, end in zip(ledger.tried, ends, strict=True):
        assert one.losses == pytest.approx(trials.losses(study, end.number)) and one.folds == end.folds
        assert one.inner_uf1 == (end.inner_uf1 if end.state == trials.COMPLETE else None)
    effort = trials.effort(study, ends)
    assert ledger.effort == (effort["fold_epochs"], effort["fold_epochs_unraced"])
    assert ledger.counts == {"COMPLETE": 8, "PRUNED": 2, "FAIL": 2} and ledger.done and ledger.finished == found
    assert (ledger.folds, ledger.total, ledger.asked) == (study.folds, 6, 12)


def test_fold_order_is_found_without_the_file_that_says_it(whole, ledger):
    study, found = whole
    about = study.folder / shelf.ABOUT
    text = about.read_text()
    about.unlink()
    try:
        assert replace(shelf.read(study.folder, [found]), model="tiny") == ledger
        assert shelf.read(study.folder).model == "tiny", "the published setting names it"
    finally:
        about.write_text(text)


def test_a_study_that_runs_has_a_page_and_no_number_of_a_held_out_subject(tmp_path):
    study = inv.question(tmp_path, trials=9, sizes=SIZES)
    inv.run(study, {2: (None, 4, ""), **{n: (None, 0, "") for n in range(3, 9)}}, SIZES)
    (study.folder / "trial-0003" / "folds" / "000").mkdir(parents=True)
    inv.on_record(study, done=False)
    found = shelf.read(study.folder)
    assert found.counts == {"COMPLETE": 2, "RUNNING": 7} and not found.done and found.result is None
    assert found.tried[2].losses == pytest.approx(trials.losses(study, 2)) and len(found.tried[2].losses) == 4
    text = dossier.html(found)
    assert "Not finished: 2 of 9 trials so far: 2 finished and 7 not ended." in text and "--resume" in text
    assert "What it found" not in text and "oracle" not in text and "Too little is known" in text
    checked(text)


def test_a_trial_whose_folds_diverged_keeps_the_others(tmp_path):
    study = inv.question(tmp_path, trials=1, sizes=SIZES)
    inv.trial(study, 0, study.space.default(), sizes=SIZES, diverged=2)
    inv.trial(study, 1, study.space.default(), state=None, folds=3, sizes=SIZES, diverged=2)
    inv.on_record(study, done=False)
    first, second = shelf.read(study.folder).tried
    assert sorted(first.losses) == [0, 1, 3, 4, 5] and (first.folds, first.inner_uf1) == (6, 0.0)
    assert sorted(second.losses) == [0, 1] and second.state == "RUNNING"


def test_one_trial_all_failed_or_none_at_all(tmp_path):
    study, found = inv.recorded(tmp_path / "one", {}, SIZES, trials=1)
    text = dossier.html(shelf.read(study.folder, [found]))
    assert "1 trial." in text and "Too little is known" in text
    checked(text)
    for name, fates in (("failed", dict.fromkeys(range(4), (trials.FAIL, 0, "out of memory 7"))), ("none", {})):
        study = inv.question(tmp_path / name, trials=4 if fates else 0, sizes=SIZES)
        inv.run(study, fates, SIZES)
        inv.on_record(study, done=False, trials_asked=4)
        text = dossier.html(shelf.read(study.folder))
        assert ("4 × <code>trial 0: out of memory 7" in text) == bool(fates)
        checked(text)


def test_a_study_recorded_before_there_were_folders(whole):
    found = of_result(whole[1])
    assert found.counts == {"COMPLETE": 8, "PRUNED": 2, "FAIL": 2}
    assert found.effort == (whole[1].result.effort["fold_epochs"], whole[1].result.effort["fold_epochs_unraced"])
    text = dossier.html(found)
    assert "What it found" in text and "as far as trials went" in text
    assert "folder is gone" in text and "PED-ANOVA" not in text
    checked(text)
    (bare,) = shelf.studies(whole[0].folder / "nowhere", [Finished(*one) for one in finished(searched())])
    checked(dossier.html(bare))


def test_a_record_that_cannot_be_read_is_left_out_with_a_remark(whole, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text("{")
    with pytest.raises(MerBenchError, match="study broken: its record cannot be read"):
        shelf.read(tmp_path / "broken")
    with pytest.warns(Remark, match="study broken"):
        assert shelf.studies(tmp_path, []) == []


def test_hostile_names_are_text(ledger):
    tried = [replace(one, values={**one.values, "hidden": WILD}) for one in ledger.tried]
    wild = replace(
        ledger, model=WILD, name=f"x{WILD}/../y", task=WILD, tried=tuple(tried), folds=(WILD, *ledger.folds[1:])
    )
    text = dossier.html(wild)
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    checked(text)


def test_a_page_of_a_hostile_name_stays_in_its_folder(ledger, tmp_path):
    links = dossier.write([replace(ledger, name="../../a b>c")], tmp_path)
    assert set(links) == set(ledger.runs)
    (link,) = links.values()
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.html")] == [link] == ["studies/..-..-a-b-c.html"]


def test_two_builds_differ_in_their_stamp_alone(ledger, monkeypatch):
    first = dossier.html(ledger)
    monkeypatch.setattr(pages.Stamp, "now", lambda: pages.Stamp("another day", "9.9", "c0ffee"))
    stamps = r"(?s)<!-- stamp.*?end of stamp -->"
    assert re.sub(stamps, "", dossier.html(ledger)) == re.sub(stamps, "", first)


class Balance(HTMLParser):
    """Fails on a tag that closes what is not open; keeps links and ids."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert not {"src", "onclick", "onload"} & set(found)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        if tag not in {"meta", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(text):
    """Balanced, self-contained, its own links lead somewhere, every picture is XML and speaks."""
    parser = Balance()
    parser.feed(text)
    assert parser.open == [] and len(parser.ids) == len(set(parser.ids))
    assert all(link[1:] in parser.ids for link in parser.links if link.startswith("#"))
    for drawn in re.findall(r"<svg.*?</svg>", text, re.S):
        assert ElementTree.fromstring(drawn).get("aria-label") and not re.search(r"\bnan\b|\binf\b", drawn)
    assert not re.search(r"url\(|@import|\bNone\b", text)


def test_rules_stand_side_by_side_with_their_optimism(whole, ledger):
    result = whole[1].result
    rows = {row[0].text: row for row in accounts.rules(ledger).rows}
    assert list(rows) == [
        "nested, adaptive", "nested-no-refit, adaptive", "shared", "shared-no-refit", accounts.CORRECTED,
        "oracle-trial (leaky)",
    ]  # fmt: skip
    base = result.rules["nested-no-refit"].uf1
    assert rows["oracle-trial (leaky)"][4].sort == pytest.approx(result.rules["oracle-trial"].uf1 - base)
    assert rows[accounts.CORRECTED][4].sort == pytest.approx(result.hindsight["bias_corrected"] - base)
    assert rows["shared"][4].sort == pytest.approx(result.rules["shared"].uf1 - result.rules["nested"].uf1)
    assert rows["nested, adaptive"][4].sort is None


def test_the_band_holds_95_of_100_shuffles(whole):
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 3, 90), rng.integers(0, 3, 90)
    low, high = stats.chance_band(truth, said, 3, seed=1)
    from sklearn.metrics import f1_score

    slow = [f1_score(truth, rng.permutation(said), average="macro") for _ in range(400)]
    assert np.mean((np.array(slow) >= low) & (np.array(slow) <= high)) == pytest.approx(0.95, abs=0.03)
    score = whole[1].result.rules["nested"]
    ends = accounts.chance_band(score)
    assert ends[0] < whole[1].result.chance["nested"] < ends[1]
    assert accounts.chance_band(replace(score, by_subject={})) is None


def test_what_to_type_is_what_was_typed_again(ledger):
    typed = (
        "mer-bench search /home/somebody/tiny.py --task toy --trials 12 --rules nested --space 'my space.py' --top 2"
    )
    own = replace(ledger, command=typed, model="tiny.py")
    lines = [shlex.split(line) for _, line in particulars.commands(own) if " search " in line]
    words = [*shlex.split(typed)[:2], "tiny.py", *shlex.split(typed)[3:]]
    more = [word if word != "12" else "24" for word in words]
    assert lines == [words, more], "as typed, but no path of the person who did"
    (resumed,) = [line for _, line in particulars.commands(replace(own, done=False)) if " search " in line]
    assert shlex.split(resumed) == [*words, "--resume"]
    assert not [line for _, line in particulars.commands(replace(own, command="")) if " search " in line]
    context = typer.main.get_command(cli.app).commands["search"].make_context("search", words[2:])
    assert (context.params["top"], context.params["space"]) == (2, "my space.py")


def test_tables_of_what_was_searched_and_chosen(whole, ledger):
    study, found = whole
    page = dossier.page(ledger)
    rows = {row[0].text: [cell.text for cell in row] for row in page.tables["searched"].rows}
    assert set(rows) == {"lr", "hidden", "class_weights"} and rows["lr"][1:3] == ["0.001 to 0.1, log", "0.01"]
    assert rows["hidden"][1] == "4, 6, 8" and rows["lr"][-1] == "12 of 12 trials"
    choices = found.result.evidence.choices["nested"]
    votes = [trial for trial, _ in choices.values()]
    assert {trial: len(mine) for trial, mine in ledger.chosen} == {trial: votes.count(trial) for trial in votes}
    told = {row[0].text: (row[1].sort, row[2].sort - 1) for row in page.tables["folds"].rows}
    assert told == {fold: tuple(choice) for fold, choice in choices.items()} and list(told) == list(study.folds)
    best = page.tables["trials"].rows[0]
    assert best[1].sort == max(one.inner_uf1 for one in ledger.whole) and len(page.tables["trials"].rows) == 12
    assert page.failures == [(2, f"trial 6: RuntimeError: 3 channels {WILD}")]


def strokes(path):
    """(column, first row, rows) of the upright strokes of a path."""
    return [(int(x), int(y), int(v)) for x, y, v in re.findall(r"M(\d+)\.5 (\d+)v(\d+)", path.get("d"))]


def test_the_race_has_one_cell_a_fold_shaded_by_its_loss():
    laps = [
        Lap(0, 0.5, "COMPLETE", {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, 4, True),
        Lap(1, None, "PRUNED", {0: 0.9, 1: 1.0}, 2, False),
        Lap(2, None, "FAIL", {}, 0, False),
        Lap(3, 0.6, "COMPLETE", {0: 0.15, 1: 0.25, 3: 0.5}, 4, False),
    ]
    drawn = ElementTree.fromstring(lanes.race(laps, ["a", "b", "c", "d"], 2, 0.7))
    edges = lanes.shades([loss for lap in laps for loss in lap.losses.values()])
    group = drawn.find("g")
    seen = {}
    for path in group.findall("path"):
        for x, y, rows in strokes(path):
            seen |= {(x, place): path.get("class") for place in range(y, y + rows)}
    wanted = {
        (x, place): f"loss s{lanes.shade(loss, edges)}"
        for x, lap in enumerate(laps)
        for place, loss in lap.losses.items()
    }
    assert seen == wanted and wanted[0, 0] == "loss s0" and wanted[1, 1] == "loss s5"
    assert len(re.findall("M", next(p for p in drawn.findall("path") if p.get("class") == "drop").get("d"))) == 1
    assert {p.get("class") for p in drawn.findall("path")} >= {"chosen", "drop", "fail"}
    assert "70 % of the fold-epochs trained" in "".join(t.text or "" for t in drawn.iter("text"))


def test_shades_hold_a_sixth_each():
    losses = np.random.default_rng(0).gamma(2, 1, 6000)
    edges = lanes.shades(losses.tolist())
    found = np.bincount([lanes.shade(loss, edges) for loss in losses], minlength=lanes.SHADES)
    assert found.tolist() == pytest.approx([1000] * 6, abs=2)
    assert lanes.shades([]) == [] and lanes.shade(0.3, lanes.shades([0.3, 0.3])) == 0


def test_very_many_trials_are_gathered_into_their_median():
    some = [Lap(n, None, "PRUNED", {0: float(n)} if n < 3 else {0: 9.0, 1: 1.0}, 1, False) for n in range(4)]
    assert lanes.gathered(some, 0) == (1.5, True) and lanes.gathered(some, 1) == (1.0, False)
    assert lanes.gathered(some, 2) is None
    rng = np.random.default_rng(0)
    laps = []
    for n in range(2000):
        done = n % 3 > 0
        losses = {fold: float(rng.gamma(2)) for fold in range(10 if done else 3)}
        laps.append(Lap(n, 0.5 if done else None, "COMPLETE" if done else "PRUNED", losses, len(losses), False))
    drawn = lanes.race(laps, [str(f) for f in range(10)], 3, 0.5)
    assert len(drawn) < 60_000
    columns = {x for path in ElementTree.fromstring(drawn).find("g").findall("path") for x, _, _ in strokes(path)}
    assert columns == set(range(250))
    assert len(landscapes.course(laps)) < 60_000


def test_the_history_climbs_and_marks_who_was_dropped():
    laps = [
        Lap(n, score, state, {}, 0, n == 3)
        for n, (score, state) in enumerate(
            [
                (0.3, "COMPLETE"),
                (None, "PRUNED"),
                (0.2, "COMPLETE"),
                (0.5, "COMPLETE"),
                (None, "FAIL"),
                (None, "RUNNING"),
            ]
        )
    ]
    drawn = ElementTree.fromstring(landscapes.course(laps, 0.3))
    of = {p.get("class"): p.get("d") for p in drawn.findall("path")}
    assert [of[kind].count("h0") for kind in ("trial", "chosen")] == [2, 1]
    assert [of[kind].count("v7") for kind in ("tick-dropped", "tick-failed")] == [1, 1]
    heights = [float(p.split()[1]) for p in re.split("[ML]", of["mean"])[1:]]
    assert heights == sorted(heights, reverse=True) and len(set(heights)) == 2
    assert "trial 0, as published" in [t.text for t in drawn.iter("text")]
    assert ElementTree.fromstring(landscapes.course([Lap(0, None, "FAIL", {}, 0, False)])).findall("path")


def test_what_fewer_trials_would_have_given_is_drawn_at_its_place():
    rows = [(1, 0.2, 0.3), (10, 0.4, 0.35), (100, 0.6, 0.6)]
    drawn = ElementTree.fromstring(landscapes.promise(rows, 0.33))
    line = next(p for p in drawn.findall("path") if p.get("class") == "mean").get("d")
    places = [tuple(map(float, p.split())) for p in re.split("[ML]", line)[1:]]
    xs, ys = [x for x, _ in places], [y for _, y in places]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2), "trials on a logarithmic scale"
    assert (ys[0] - ys[1]) == pytest.approx(ys[1] - ys[2], abs=0.2), "UF1 on a linear one"
    names = {t.text: float(t.get("y")) for t in drawn.iter("text") if t.text in ("nested", "shared")}
    assert abs(names["nested"] - names["shared"]) >= 11


def test_verdicts_mark_what_is_leaky_and_where_shuffles_lie():
    rows = [Verdict("nested", 0.5, 0.4, 0.6, 0.33, (0.25, 0.42)), Verdict("corrected", 0.4, None, None, 0.33)]
    rows += [Verdict("oracle", 0.7, 0.6, 0.8, 0.33, None, True)]
    groups = ElementTree.fromstring(landscapes.verdicts(rows)).findall("g")
    scale = svg.Scale(0, 1)
    band = next(r for r in groups[0].findall("rect"))
    assert float(band.get("x")) == pytest.approx(scale(0.25), abs=0.06)
    assert float(band.get("width")) == pytest.approx(scale(0.42) - scale(0.25), abs=0.11)
    kinds = [[x.get("class") for x in g.iter() if x.tag in ("line", "circle")] for g in groups]
    assert kinds == [["chance", "bar", "dot"], ["chance", "dot"], ["chance", "bar leaky", "dot leaky"]]
    assert "ground" in landscapes.verdicts(rows, (0, 0.9), legend=True)


def test_votes_have_one_block_a_fold():
    drawn = ElementTree.fromstring(landscapes.votes([(3, ["a", "b"]), (11, [WILD])], 3))
    assert [t.text for t in drawn.iter("title")] == ["a chose trial 3", "b chose trial 3", f"{WILD} chose trial 11"]


def test_the_leaderboard_leads_to_the_pages(whole, tmp_path, monkeypatch):
    study, found = whole
    monkeypatch.chdir(study.folder.parents[2])
    other = Finished("cd" * 16, datetime(2025, 1, 3, tzinfo=UTC), searched())
    files = commands.write([found, other], tmp_path, None)
    text = next(f for f in files if f.suffix == ".html").read_text()
    links = re.findall(r'href="(studies/[^"]+)"', text)
    assert set(links) == {"studies/tiny-toy-0123abcd.html", "studies/mmnet-synth-3-cdcdcdcd.html"}
    assert all((tmp_path / link).is_file() for link in links)
    assert f'<td class="n" data-sort="12"><a href="studies/{study.folder.name}.html">12</a>' in text
    back = (tmp_path / "studies" / f"{study.folder.name}.html").read_text()
    assert 'href="../leaderboard.html"' in back
    (board,) = standings.boards([found], links={found.run_id: "x"})
    assert board.entries[0].page == "x"
    only = commands.write([], tmp_path / "none", None)
    assert [f.name for f in only] == [f"{study.folder.name}.html"]


def test_the_journal_lists_trials_and_states_for_a_dashboard(tmp_path):
    """What `optuna-dashboard FILE` does: a JournalStorage over the file, every study in it, its trials."""
    study = inv.question(tmp_path, trials=4, sizes=SIZES, sampler="tpe")
    fates = {1: (trials.PRUNED, 3, "worse"), 2: (trials.FAIL, 0, "why"), 3: (None, 1, "")}
    inv.run(study, fates, SIZES)
    backend = optuna.storages.journal.JournalFileBackend(str(study.folder / "optuna.log"))
    storage = optuna.storages.JournalStorage(backend)
    (name,) = optuna.get_all_study_names(storage)
    told = optuna.load_study(study_name=name, storage=storage)
    assert name == study.folder.name and told.direction.name == "MAXIMIZE"
    assert [t.state.name for t in told.trials] == ["COMPLETE", "PRUNED", "PRUNED", "RUNNING"]
    assert told.best_trial.value == trials.ended(study, 0).inner_uf1
    assert all(set(t.distributions) == {"lr", "hidden", "class_weights"} for t in told.trials)
    assert json.loads((study.folder / shelf.ABOUT).read_text())["folds"] == list(study.folds)


def test_a_search_ends_with_its_page_and_the_report_links_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tune, "search", toy.in_this_process)
    (tmp_path / "tiny.py").write_text(toy.MODEL)
    line = ["search", "tiny.py", "--task", "toy", "--trials", "2", "--sampler", "qmc", "--no-refit", "--workers", "1"]
    said = CliRunner().invoke(cli.app, [*line, "--set", "epochs=2", "--json"])
    assert said.exit_code == 0, said.output
    (page,) = (tmp_path / "reports" / "studies").glob("*.html")
    text = page.read_text()
    assert "2 trials." in text and "mer-bench search tiny.py --task toy --trials 2 --sampler qmc" in text
    assert str(tmp_path) not in text, "no path of this machine"
    checked(text)
    files = commands.report()
    assert f'href="studies/{page.name}"' in next(f for f in files if f.suffix == ".html").read_text()
    assert "leaderboard.html" in page.read_text()
