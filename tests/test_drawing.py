"""Pictures: places against closed forms, everything drawn once, nothing outside, hostile names harmless."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.reports import charts, portraits, svg

HOSTILE = "<script>alert(1)</script>&\"'"


def parsed(drawn):
    return ElementTree.fromstring(drawn)


def titles(drawn):
    return [t.text for t in parsed(drawn).iter("title")]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1))
def test_a_scale_is_linear_and_stays_inside(low, span, share):
    scale = svg.Scale(low, low + span, 10, 110)
    assert scale(low + share * span) == pytest.approx(10 + 100 * share, abs=0.1)
    assert scale(low - span) == 10 and scale(low + 2 * span) == 110


@given(st.floats(1e-6, 1e6), st.floats(1.5, 1e6), st.floats(0, 1))
def test_a_logarithmic_scale_keeps_ratios(low, ratio, share):
    scale = svg.Scale(low, low * ratio, 0, 100, log=True)
    assert scale(low * ratio**share) == pytest.approx(100 * share, abs=0.01)


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.booleans())
def test_ticks_lie_inside_and_are_few(low, span, log):
    low = abs(low) + 1e-3 if log else low
    scale = svg.Scale(low, low + span, log=log)
    ticks = scale.ticks(6)
    assert len(ticks) <= 8 and ticks == sorted(set(ticks))
    slack = 1e-6 * (abs(low) + span)
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    assert log or ticks


def test_text_and_attributes_are_escaped():
    drawn = svg.element("text", HOSTILE, data_name=HOSTILE)
    assert "<script" not in drawn and parsed(drawn).text == HOSTILE and parsed(drawn).get("data-name") == HOSTILE


def test_coordinates_are_short():
    assert [svg.shown(x) for x in (1.26, 3.0, -0.01, 120000.4)] == ["1.3", "3", "0", "120000"]


def test_a_picture_of_its_own_carries_its_style():
    drawn = parsed(svg.alone(portraits.loso()))
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--honest" in drawn.find("{http://www.w3.org/2000/svg}style").text


SCORES = [charts.Score("mmnet", 0.5, 0.4, 0.6, 0.33, 0.7), charts.Score(HOSTILE, 0.2, 0.1, 0.25, 0.3)]


def test_scores_draw_each_interval_its_chance_and_its_leaky_twin():
    groups = parsed(charts.scores(SCORES)).findall("g")
    place = svg.Scale(0, 1)
    for group, row in zip(groups, SCORES, strict=True):
        chance, bar = group.findall("line")[0], next(x for x in group.findall("line") if x.get("class") == "bar")
        assert float(chance.get("x1")) == pytest.approx(place(row.chance), abs=0.06)
        ends = [float(bar.get(k)) for k in ("x1", "x2")]
        assert ends == pytest.approx([place(row.low), place(row.high)], abs=0.06)
        dots = {c.get("class"): float(c.get("cx")) for c in group.findall("circle")}
        assert dots["dot"] == pytest.approx(place(row.value), abs=0.06)
        assert ("dot leaky" in dots) == (row.leaky is not None)


def test_a_forest_has_a_line_at_zero_and_pale_rows_where_nothing_was_shown():
    gaps = [
        charts.Gap("a", 0.1, 0.02, 0.2, 0.01),
        charts.Gap("b", -0.01, -0.1, 0.08, 0.8),
        charts.Gap("the test disagrees", 0.1, 0.02, 0.2, 0.06),
    ]
    drawn = parsed(charts.forest(gaps, "mmnet"))
    zero = float(next(x for x in drawn.findall("line") if x.get("class") == "zero").get("x1"))
    circles = [g.find("circle") for g in drawn.findall("g")]
    assert [c.get("class") for c in circles] == ["dot", "dot unsure", "dot unsure"]
    assert float(circles[0].get("cx")) > zero > float(circles[1].get("cx"))
    assert "p = .01" in titles(charts.forest(gaps, "mmnet"))[0]


def test_ranks_from_the_first_to_the_last():
    drawn = parsed(
        charts.ranks([charts.Rank("a", 1, 2, True), charts.Rank("b", 1, 3, True), charts.Rank("c", 3, 3, False)])
    )
    bars = [g.find("line") for g in drawn.findall("g")]
    assert [b.get("class") for b in bars] == ["rank", "rank", "rank behind"]
    assert float(bars[0].get("x1")) == float(bars[1].get("x1")) < float(bars[2].get("x1"))


def test_a_scatter_draws_every_point_and_names_do_not_cover_each_other():
    rng = np.random.default_rng(0)
    points = [charts.Point(f"model {i}", 10 ** rng.uniform(-2, 3), rng.uniform(0.4, 0.6), 0.4, 0.6) for i in range(40)]
    drawn = parsed(charts.scatter(points, "parameters"))
    assert len(drawn.findall("circle")) == 40
    named = [t for t in drawn.findall("text") if (t.text or "").startswith("model ")]
    assert 0 < len(named) < 40
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in drawn.findall("circle")]
    boxes = []
    for t in named:
        wide, x, y = 5.8 * len(t.text), float(t.get("x")), float(t.get("y"))
        boxes.append((x if t.get("text-anchor") == "start" else x - wide, wide, y))
    for i, (a, wide, y) in enumerate(boxes):
        assert all(a + wide < b + 0.2 or b + other < a + 0.2 or abs(y - at) > 10 for b, other, at in boxes[:i])
        assert not any(a < x < a + wide and abs(y - 4 - at) < 9 for x, at in dots)


def test_a_curve_of_one_epoch_or_one_seed():
    assert parsed(charts.curve([(0.4,)], "UF1")) is not None
    two = parsed(charts.curve([(0.4, 0.5), (0.2, 0.6)], "UF1"))
    assert [p.get("class") for p in two.findall("path")] == ["seed", "seed", "mean"]
    assert [p.get("class") for p in parsed(charts.curve([(0.4, 0.5)], "UF1")).findall("path")] == ["mean"]


def test_a_confusion_matrix_says_its_counts_and_shares():
    counts = np.array([[6.0, 2.0], [0.5, 1.5]])
    said = titles(portraits.confusion(counts, ["yes", HOSTILE]))
    assert said[0] == "yes said to be yes: 6 clips, 75 %"
    assert said[2] == f"{HOSTILE} said to be yes: 0.5 clips, 25 %"
    shades = [r for r in parsed(portraits.confusion(counts, ["a", "b"])).iter("rect") if r.get("class") == "shade"]
    assert [float(r.get("fill-opacity")) for r in shades] == pytest.approx([0.76, 0.28, 0.28, 0.76])
    assert parsed(portraits.confusion(np.zeros((5, 5)), list("abcde"))) is not None


def test_a_strip_has_one_column_a_subject_and_fills_what_is_right():
    subjects = ["casme2/01", "casme2/02", "samm/006"]
    right, clips = np.array([3.0, 0.0, 5.0]), np.array([6.0, 2.0, 5.0])
    drawn = parsed(portraits.strip(subjects, right, clips))
    heights = [[float(r.get("height")) for r in g.findall("rect")] for g in drawn.findall("g")]
    assert [h[1] / h[0] for h in heights] == pytest.approx([0.5, 0.0, 1.0], abs=0.01)
    assert {t.text for t in drawn.findall("text")} >= {"casme2", "samm"}


def test_swings_are_sorted_and_marked():
    drawn = portraits.swings(["a/1", "a/2", "a/3"], np.array([0.0, 2.0, -1.5]))
    assert titles(drawn) == ["a/2: +2 clips", "a/1: 0 clips", "a/3: -1.5 clips"]
    kinds = [r.get("class") for r in parsed(drawn).iter("rect")]
    assert kinds == ["shade", "shade worse", "shade worse"]


def test_progress_climbs_and_leaves_failures_out():
    drawn = parsed(portraits.progress([0.3, None, 0.2, 0.5]))
    dots, stairs = drawn.findall("path")
    assert dots.get("d").count("h0") == 3
    heights = [float(p.split()[1]) for p in re.split("[ML]", stairs.get("d"))[1:]]
    assert heights == sorted(heights, reverse=True)
    assert parsed(portraits.progress([None, None])).findall("path") == []


@pytest.mark.parametrize(
    "values",
    [[1e-4, 1e-3, 1e-2, 0.1, 0.05], ["gap", "flatten", "gap", HOSTILE, "gap"], [True, False, True, True, False],
     [1, 2, 2, 1, 4], [None, 1, 2, 3, 4], [0.0, 1e-9, 1.0, 2.0, 3.0]],
)  # fmt: skip
def test_a_knob_of_any_kind_has_one_dot_a_trial(values):
    drawn = parsed(portraits.knob(HOSTILE, values, [0.1, 0.2, 0.3, 0.4, 0.5], [True, False, False, True, False]))
    counts = {p.get("class"): p.get("d").count("h0") for p in drawn.findall("path")}
    assert counts == {"trial": 3, "chosen": 2}


def test_each_fold_holds_out_another_subject_and_each_is_held_out_once():
    said = [re.fullmatch(r"fold (\d): subject (\d) (.*)", t).groups() for t in titles(portraits.loso())]
    held = [(fold, subject) for fold, subject, role in said if role == "held out"]
    assert held == [(str(i), str(i)) for i in range(1, 8)]
    assert sum(role == "validates" for _, _, role in said) == 14


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=40), st.floats(0, 1)), min_size=1, max_size=6))
def test_no_number_in_a_picture_is_lost_or_broken(rows):
    drawn = charts.scores(
        [charts.Score(n.replace("\x00", ""), v, v * 0.9, min(1.0, v * 1.1), 0.3) for n, v in clean(rows)]
    )
    for found in parsed(drawn).iter():
        for value in found.attrib.values():
            if re.fullmatch(r"-?[\d.]+", value):
                assert math.isfinite(float(value))


def clean(rows):
    """Letters that XML can hold at all."""
    return [("".join(c for c in name if c.isprintable() and ord(c) < 0xD800), value) for name, value in rows]
