"""The scripts that read two recorded studies: of the null, whose answers are noise, and of a race beside the whole."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import invented_study as inv
import numpy as np
import pytest
import toy

from mer_bench import metrics, selection
from mer_bench.contracts import MerBenchError
from mer_bench.records import grading
from mer_bench.searching import accounts, shelf, trials

SIZES = (8,) * 5


def loaded(name):
    """A script of `benchmarks`, as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    yield loaded("null")
    del sys.modules["null"]


@pytest.fixture
def raced(script):
    yield loaded("raced")
    del sys.modules["raced"]


@pytest.fixture(scope="module")
def both(script, tmp_path_factory):
    """A strict and an adaptive study of the same space, both of noise, other noise each."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch, toy.corpus(signal=0, sizes=SIZES))
        patch.setattr("mer_bench.predictions._flush", lambda path: None)
        patch.setattr(inv, "skill", lambda values: 0.0)
        for sampler, seed in (("qmc", 0), ("tpe", 1)):
            folder = tmp_path_factory.mktemp(sampler)
            study, one = inv.recorded(folder, {}, SIZES, trials=5, sampler=sampler, seed=seed)
            found.append(script.Studied(shelf.read(study.folder, [one]), one.result, study.folder))
    return found


def read(script, *studies):
    """What the script finds in studies, alone and together."""
    grades = [script.graded(study) for study in studies]
    return script.verdicts([study.result for study in studies], grades), grades


def test_every_rule_is_there_the_leaky_ones_last(script, both):
    strict = both[0]
    found, _ = read(script, strict)
    assert set(script.SHOWN) <= set(found)
    flags = [row.leaky for row in found.values()]
    assert flags == sorted(flags) and "oracle" in next(n for n in found if found[n].leaky)
    for rule, score in strict.result.rules.items():
        row = found[rule]
        assert row.chance == strict.result.chance[rule] and row.band == accounts.chance_band(score)
        assert (row.value, row.low, row.high) == pytest.approx((score.uf1, *score.uf1_interval))
    assert found[accounts.CORRECTED].value == strict.result.hindsight["bias_corrected"]


def test_the_oracle_over_epochs_is_the_rule_of_that_name_on_the_trial_that_shared_chose(script, both):
    strict = both[0]
    passes = {t.number: strict.folder / f"trial-{t.number:04d}" / "pass" for t in strict.ledger.tried}
    chosen = next(iter(selection.shared(passes).values())).trial
    found, grades = read(script, strict)
    for rule, trial in ((script.CHOSEN, chosen), (script.PUBLISHED, 0)):
        one = selection.oracle_epoch(passes[trial])
        assert grades[0][rule] == grading.grade("oracle-epoch", one, inv.clips(SIZES), toy.TASK.classes)
        assert found[rule].leaky and found[rule].value == pytest.approx(grades[0][rule][0].uf1)


def test_where_a_number_lies(script):
    def row(value, low, high, band=(0.25, 0.42)):
        return accounts.Verdict("x", value, low, high, 0.33, band)

    assert [script.where(row(0.5, low, 0.6)) for low in (0.34, 0.33)] == ["yes", "no"]
    said = [script.where(row(value, None, None)) for value in (0.2, 0.3, 0.5)]
    assert said == ["below it", "inside the band", "above the band"]


def test_the_table_and_the_picture(script, both):
    strict, adaptive = both
    found, _ = read(script, strict)
    text = script.table([strict], adaptive, found, [found])
    assert inv.BANNER in text and "40 clips of 5 subjects, 5 trials, qmc, strict, seed 0" in text
    assert "5 trials, tpe, adaptive, seed 1" in text and text.count("\n| nested, strict |") == 1
    gap = adaptive.result.rules["nested"].uf1 - strict.result.rules["nested"].uf1
    (line,) = [line for line in text.splitlines() if line.startswith("| nested |")]
    assert float(line.split("|")[4].split("[")[0]) == pytest.approx(gap, abs=6e-4) and "p " in line
    drawn = ElementTree.fromstring(script.picture(found))
    kinds = [c.get("class") for c in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert kinds.count("dot") == 3 + 1 and kinds.count("dot leaky") == 2 + 1, "and one each in the legend"
    assert "95 % of shuffles" in "".join(drawn.itertext())


def test_answers_dealt_out_anew_are_noise_and_the_best_of_them_is_not_chance(script, both):
    found = script.dealt(both[0], again=20, methods=("percentile",))
    assert found.values.shape == found.chances.shape == found.lows["percentile"].shape == (20,)
    assert (found.values > found.chances).mean() > 0.7 and (found.lows["percentile"] < found.values).all()
    assert f"{(found.lows['percentile'] > found.chances).mean():.0%}" in script.power(found, 5)
    again = script.dealt(both[0], again=20, methods=("percentile",))
    assert np.array_equal(again.values, found.values)


def test_several_studies_are_graded_like_seeds(script, both):
    found, grades = read(script, *both)
    for rule in ("nested", "shared", "oracle-trial", script.PUBLISHED):
        alone = [one[rule] for one in grades]
        rows = np.concatenate([grading.counts_of(score)[0] for score, _ in alone], 1)
        slow = [metrics.uf1(rows[np.random.default_rng(i).integers(0, 5, 5)].sum(0), "zero").mean() for i in range(99)]
        row = found[rule]
        assert row.value == pytest.approx(np.mean([score.uf1 for score, _ in alone]))
        assert row.chance == pytest.approx(np.mean([chance for _, chance in alone]))
        assert row.low < row.value < row.high and row.low < np.median(slow) < row.high and row.band is None
    each = [read(script, study)[0] for study in both]
    text = script.table(both, both[1], found, each)
    assert "| rule | seed 0 | seed 1 |" in text and "The mean of 2 studies' best trials' UF1" in text
    said = [script.where(one[accounts.CORRECTED]) for one in each]
    assert f"| {script._counted(said)} |" in text and script._counted(["a", "b", "a"]) == "a in 2 of 3, b in 1 of 3"
    (line,) = [line for line in text.splitlines() if line.startswith("| oracle-trial (leaky) |") and ": " in line]
    for one, cell in zip(each, line.split("|")[2:4], strict=True):
        assert cell.strip().endswith(f": {script.where(one['oracle-trial'])}")
    assert "95 % of shuffles" not in script.picture(found)
    other = replace(both[1].result.rules["nested"], by_subject={"a/b": [[[1, 0], [0, 1]]]})
    with pytest.raises(MerBenchError, match="other subjects"):
        script.verdicts([both[0].result] * 2, [{"nested": (one, 0.3)} for one in (grades[0]["nested"][0], other)])


def test_a_study_is_found_by_its_run(script, both, monkeypatch):
    strict = both[0]
    found = strict.ledger.finished

    class Store:
        def tables_of(self, run_id):
            assert run_id == found.run_id
            return strict.folder

    monkeypatch.setattr(script.reproduce, "find", lambda run: found)
    monkeypatch.setattr(script.tracking, "open", Store)
    again = script.studied(found.run_id[:8])
    assert again.result == strict.result and again.ledger == strict.ledger
    assert trials.COMPLETE in again.ledger.counts


def test_a_race_beside_the_whole_study(script, raced, tmp_path, monkeypatch):
    toy.install(monkeypatch, toy.corpus(signal=0, sizes=SIZES))
    monkeypatch.setattr("mer_bench.predictions._flush", lambda path: None)
    dropped, found = {2: (trials.PRUNED, 3, "worse than trial 0"), 4: (trials.PRUNED, 4, "worse than trial 0")}, []
    for fates, racing in ((dropped, True), ({}, False)):
        study, one = inv.recorded(tmp_path / str(racing), fates, SIZES, trials=5, sampler="qmc", racing=racing)
        found.append(script.Studied(shelf.read(study.folder, [one]), one.result, study.folder))
    assert raced.shared_folds(found[0].ledger, found[1].ledger) == (3 * 5 + 3 + 4,) * 2
    text = raced.table(*found)
    assert "| 3, 2, 0 | 88 | 88.0% |" in text and "| 5, 0, 0 | 100 | 100.0% |" in text
    assert "oracle" not in text and inv.BANNER in text
    other = replace(found[1].ledger, folds=tuple(reversed(found[1].ledger.folds)))
    with pytest.raises(MerBenchError, match="in another order of folds"):
        raced.shared_folds(found[0].ledger, other)


def test_the_standard_error_is_that_of_subjects_drawn_anew(raced):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, (12, 1, 3, 3))
    drawn = [counts[rng.integers(0, 12, 12)].sum((0, 1)) for _ in range(2000)]
    slow = np.std([metrics.uf1(table, "zero") for table in drawn])
    assert raced.standard_error(counts) == pytest.approx(slow, rel=0.06)
