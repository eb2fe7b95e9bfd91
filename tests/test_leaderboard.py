import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import StringIO
from xml.etree import ElementTree

import polars as pl
import pytest
from invented_results import BANNER, HELD, result, rule, study
from rich.console import Console

from mer_bench import leaderboard, scores
from mer_bench.contracts import MerBenchError

PARTS = {"casme2": {"uf1": 0.7, "uar": 0.68}, "samm": {"uf1": 0.4, "uar": 0.41}}
WILD = "<b>mine|`x`"
VOID = {"meta", "circle", "line"}


@pytest.fixture
def results():
    composite = result("bi_woof", "megc2019-3", {"last": rule(0.55, per_corpus=PARTS, absent=4)}, banner="")
    found = [study(), result(), result(WILD, folds_done=3), composite]
    return [(f"{i}" * 32, datetime(2025, 1, 1 + i, tzinfo=UTC), r) for i, r in enumerate(found)]


@pytest.fixture
def page(results, tmp_path):
    leaderboard.build(results, tmp_path)
    return (tmp_path / "leaderboard.html").read_text("utf-8")


class Balance(HTMLParser):
    """Fails on a tag that closes what is not open; keeps what was seen."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_three_files_equal_byte_by_byte_when_built_again(results, tmp_path):
    first = leaderboard.build(results, tmp_path / "a")
    again = leaderboard.build(results[::-1], tmp_path / "b")
    assert [p.name for p in first] == ["leaderboard.md", "leaderboard.html", "leaderboard.csv"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_csv_holds_the_rows(results, tmp_path):
    leaderboard.build(results, tmp_path)
    read = pl.read_csv(tmp_path / "leaderboard.csv", schema=scores.ROWS)
    text = pl.selectors.string()
    assert read.with_columns(text.fill_null("")).equals(leaderboard.rows(results).with_columns(text.fill_null("")))


def test_html_is_balanced_self_contained_and_escaped(page):
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert {"svg", "table", "style"} <= parser.seen
    assert not parser.seen & {"b", "script", "link", "img"}
    assert "&lt;b&gt;mine" in page
    assert "http" not in page


def test_leaky_rows_stand_apart_and_are_labelled(page):
    honest = "".join(re.findall(r'<tbody class="honest">(.*?)</tbody>', page, re.S))
    leaky = "".join(re.findall(r'<tbody class="leaky">(.*?)</tbody>', page, re.S))
    assert "oracle" not in honest and "leaky" not in honest
    assert leaky.count("oracle-epoch (leaky)") == 2 and "oracle-trial (leaky)" in leaky
    assert "nested, strict" in honest


def test_the_plot_draws_every_row_its_interval_and_its_chance(page):
    plots = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.S)]
    assert [len(plot.findall("g")) for plot in plots] == [1, 9]
    for group in plots[1].findall("g"):
        dot, (chance, bar) = group.find("circle"), group.findall("line")
        assert float(bar.get("x1")) < float(dot.get("cx")) < float(bar.get("x2"))
        assert float(chance.get("x1")) == pytest.approx(12 + 0.331 * 376, abs=0.06)
        assert ("oracle" in group.find("title").text) == (group.get("class") == "leaky")
        assert any(name in group.findall("text")[0].text for name in leaderboard.RULES)


@pytest.mark.parametrize("name", ["leaderboard.md", "leaderboard.html"])
def test_banner_rules_and_facts_are_on_the_page(results, tmp_path, name):
    leaderboard.build(results, tmp_path)
    text = (tmp_path / name).read_text("utf-8")
    composite, synthetic = sorted(re.split(r"(?m)^(?:## |<h2>)", text)[1:3])
    assert BANNER in synthetic and BANNER not in composite
    for words in (".703 [.603, .783]", "+.107", "3/24 PARTIAL", "without validation", "200", "1.23 M", "13 min"):
        assert words in synthetic
    assert "casme2: UF1 .700, UAR .680; samm: UF1 .400, UAR .410" in composite
    assert "by corpus" not in synthetic
    assert all(rule_name in text for rule_name in leaderboard.RULES)


def test_markdown_cells_cannot_break_the_table(results, tmp_path):
    leaderboard.build(results, tmp_path)
    lines = (tmp_path / "leaderboard.md").read_text("utf-8").splitlines()
    mine = [line for line in lines if "mine" in line]
    head = [line for line in lines if line.startswith("| model")][-1]
    assert len(mine) == 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in mine} == {head.count("|")}
    assert all("<b>" not in line for line in lines)


def test_screen_fits_a_narrow_terminal_and_names_chance_and_leaks(results):
    console = Console(width=80, file=StringIO())
    console.print(leaderboard.screen([r for r in results if r[2].kind == "search"]))
    text = console.file.getvalue()
    assert ".660 [.560, .740]" in text and "chance .331" in text and "SYNTHETIC" in text
    assert re.search(r"nested-no-refit, strict\*", text) and "* trained without" in text
    assert re.search(r"oracle-trial .* leaky", text)


def test_every_way_without_results_names_the_first_command(tmp_path):
    for ask in (lambda: leaderboard.build([], tmp_path), lambda: leaderboard.screen([])):
        with pytest.raises(MerBenchError, match="mer-bench run"):
            ask()


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [(0.703, False, ".703"), (1.0, False, "1.000"), (0.0, False, ".000"), (-0.0201, True, "-.020"),
     (0.052, True, "+.052"), (-0.0001, True, "+.000"), (None, False, "–")],
)  # fmt: skip
def test_three_digits(value, signed, shown):
    assert leaderboard.number(value, signed) == shown


def test_training_subjects_have_a_short_name():
    assert set(leaderboard.TRAINED_ON) == {rule(0.5).trained_on, HELD}
