"""Printed numbers against every table there is, for small classes, and against what is known of the literature."""

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.claims.attain import attain
from mer_bench.claims.feasible import bounded, extremes
from mer_bench.claims.printed import fits, meanings, scores, truncated, window
from mer_bench.contracts import UsageError

STSTNET = ((219, 22, 9), (40, 62, 7), (21, 3, 59))


def ask(classes, **printed):
    return attain(classes, {name: window(text) for name, text in printed.items()})


def rows(size, classes):
    """Every way to give the clips of one class to the classes."""
    return [row for row in itertools.product(range(size + 1), repeat=classes) if sum(row) == size]


def every_table(sizes):
    return itertools.product(*(rows(size, len(sizes)) for size in sizes))


SMALL = {sizes: [scores(table) for table in every_table(sizes)] for sizes in ((3, 2, 4), (5, 6), (1, 2, 1, 2))}


@pytest.mark.parametrize(
    "metrics", [("uf1",), ("uar",), ("uf1", "uar"), ("uf1", "accuracy"), ("uf1", "uar", "accuracy")]
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_small_classes_against_every_table(metrics, data):
    sizes = data.draw(st.sampled_from(sorted(SMALL)))
    told = SMALL[sizes]
    digits = data.draw(st.integers(1, 3))
    start = data.draw(st.sampled_from(told))
    # near a true table's numbers, so that both answers occur
    printed = {
        m: window(f"{float(start[m]) * data.draw(st.floats(0.9, 1.1)):.{digits}f}"[:5].lstrip("-")) for m in metrics
    }
    holds = [one for one in told if all(printed[m].holds(one[m]) for m in metrics)]
    found = attain(sizes, printed)
    assert found.attainable == bool(holds)
    if holds:
        assert tuple(map(sum, found.example)) == sizes
        assert all(printed[m].holds(scores(found.example)[m]) for m in metrics)
    for metric, near in found.nearest.items():
        others = [o for o in told if all(printed[m].holds(o[m]) for m in metrics if m != metric)]
        best = min((abs(o[metric] - printed[metric].value) for o in others), default=None)
        assert (near != near) if best is None else abs(near - printed[metric].value) == pytest.approx(best, abs=2e-5)


def test_lbp_top_on_smic_cannot_be():
    """UF1 .2000 and UAR .5280 with 70, 51 and 43 clips (STSTNet, table III): UAR alone asks for a UF1 of .398."""
    found = ask((70, 51, 43), uf1=".2000", uar=".5280")
    assert found.attainable is False and not found.cut_off and not found.example
    assert 0.398 <= found.nearest["uf1"] < 0.3985
    assert found.nearest["uar"] < 0.4
    assert ask((70, 51, 43), uf1=".200", uar=".528").nearest["uf1"] >= 0.375
    assert ask((70, 51, 43), uf1=".3983", uar=".5280").attainable


def test_accuracies_of_mmnet_fit_other_lists_of_clips():
    assert (149, 156) in fits(window("95.51"), range(1, 301))
    assert fits(window("88.35"), range(246, 250)) == [(220, 249)]
    assert fits(window("88.35"), range(246, 249)) == []
    found = ask((32, 63, 27, 25, 99), accuracy="88.35")
    assert found.attainable is False and found.nearest["accuracy"] == pytest.approx(217 / 246, abs=2e-5)


def test_a_printed_uar_may_be_mean_precision():
    assert meanings(STSTNET, window(".7605")) == ["mean precision"]
    assert meanings(STSTNET, window(".7186")) == ["uar"]
    assert meanings(STSTNET, window(".7353")) == ["uf1"]
    assert meanings(STSTNET, window("76.92%")) == ["accuracy"]
    assert meanings(STSTNET, window(".1234")) == []


def test_tables_of_the_literature_can_be():
    found = ask((250, 109, 83), uf1=".7353", uar=".7186", accuracy=".7692")
    assert found.attainable and Counter(map(sum, found.example)) == Counter((250, 109, 83))
    assert ask((32, 63, 27, 25, 99), uf1=".8676").attainable
    assert ask((32, 64, 27, 25, 99, 7, 2), uf1=".6124", accuracy="70.31").attainable


def test_a_uf1_alone_that_few_tables_have_is_found_and_one_that_none_has_is_not():
    """The guesses miss a UF1 next to 1; every table with so few wrong clips is known."""
    one_wrong = scores(((9, 1, 0), (0, 8, 0), (0, 0, 7)))["uf1"]
    assert ask((10, 8, 7), uf1=f"{float(one_wrong):.4f}").attainable
    found = ask((10, 8, 7), uf1=".9999")
    assert found.attainable is False and found.nearest["uf1"] == 1


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_cheap_look_rules_out_nothing_that_may_be(data):
    sizes = tuple(data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4)))
    hits = np.array([[data.draw(st.integers(0, n)) for n in sizes] for _ in range(5)])
    low, high = extremes(sizes, hits)
    wanted = window(f"{data.draw(st.floats(0, 0.999)):.2f}")
    inside = (low <= float(wanted.high)) & (high >= float(wanted.low))
    assert not (inside & ~bounded(sizes, hits, wanted)).any()


def test_digits_that_were_cut_off():
    """8 of 13 is .61538...: .6153 if cut off, .6154 if rounded."""
    assert ask((13, 5), accuracy=".61").attainable
    sizes, text = (7, 6), ".6153"
    assert ask(sizes, accuracy=".6154").attainable
    found = ask(sizes, accuracy=text)
    assert found.attainable is False and found.cut_off
    assert truncated(window(text)).holds(Fraction(8, 13)) and not window(text).holds(Fraction(8, 13))


@given(right=st.integers(0, 400), more=st.integers(0, 400), digits=st.integers(2, 5))
def test_an_accuracy_fits_the_clips_it_came_from(right, more, digits):
    total = right + more + 1
    for text in (f"{right / total:.{digits}f}", f"{100 * right / total:.{digits - 2}f}%"):
        assert (right, total) in fits(window(text), range(total, total + 1))


@pytest.mark.parametrize(
    ("text", "value", "low", "high"),
    [
        (".5280", "0.5280", "0.52795", "0.52805"),
        ("0.5", "0.5", "0.45", "0.55"),
        ("95.51", "0.9551", "0.95505", "0.95515"),
        ("88%", "0.88", "0.875", "0.885"),
        ("1", "1", "0.5", "1.5"),
        ("100.0%", "1", "0.9995", "1"),
    ],
)
def test_what_a_printed_number_means(text, value, low, high):
    one = window(text)
    assert (one.value, one.low) == (Fraction(value), Fraction(low)) and one.high == min(Fraction(high), 1)


@pytest.mark.parametrize("text", ["", ".", "abc", "-0.5", "1.2.3", "101", "120%"])
def test_what_is_no_printed_share(text):
    with pytest.raises(UsageError):
        window(text)


@pytest.mark.parametrize(("classes", "printed"), [((5,), {"uf1": ".5"}), ((5, 0), {"uf1": ".5"}), ((5, 5), {})])
def test_what_cannot_be_audited(classes, printed):
    with pytest.raises(UsageError):
        ask(classes, **printed)
    with pytest.raises(UsageError, match="uf1, uar, accuracy"):
        ask((5, 5), f1=".5")
