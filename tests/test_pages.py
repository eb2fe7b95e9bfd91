"""The report's files: complete, the same twice, harmless whatever a model is called."""

import re
import zipfile
from html.parser import HTMLParser
from xml.etree import ElementTree

import polars as pl
import pytest
from invented_results import BANNER, counted, finished, measured, result, searched

from mer_bench.contracts import MerBenchError
from mer_bench.records import scores
from mer_bench.reports import pages, reading, standings, tables

WILD = "<script>alert(1)</script>|`x`_y_ & $2^3~{z}% \\end"
VOID = {"meta", "link", "rect", "line", "circle", "path", "br"}
PAPER = {
    "title": "A <b>paper", "year": 2022, "url": "https://example.org", "licence": "none", "code": "",
    "printed": ({"task": "synth-3", "metric": "uf1", "value": 0.87, "rule": "oracle-epoch"},
                {"task": "casme2-5", "metric": "accuracy", "value": 0.88, "rule": "oracle-mmnet"}),
}  # fmt: skip
NOTE = "PARTIAL: without a/01, whose training diverged <i>."
PARTS = {"casme2": {"uf1": 0.7, "uar": 0.68, "accuracy": 0.7}, "samm": {"uf1": 0.4, "uar": 0.41, "accuracy": 0.4}}


@pytest.fixture(scope="module")
def results():
    composite = measured("bi_woof", task="megc2019-3", banner="", rules={"last": counted(0.5, per_corpus=PARTS)})
    told = measured("told", kind="score", trials=None, rules={"self-reported": counted(0.7, trained_on="not known")})
    return finished(
        searched(), measured(paper=PAPER), measured("ridge_flow", 0.75, parameters=None, macs=None),
        measured(WILD, 0.55, noise=2, folds_done=3, notes=(NOTE,)), result("old"), told, composite,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(results, tmp_path_factory):
    made = pages.build(results, tmp_path_factory.mktemp("pages"))
    return {path.suffix: path.read_text("utf-8") for path in made}


class Balance(HTMLParser):
    """Fails on a tag that closes what is not open; keeps what was seen."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids, self.links = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        assert not {"src", "onclick", "onload", "srcset"} & set(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_two_builds_differ_in_their_stamp_alone(results, files, tmp_path, monkeypatch):
    monkeypatch.setattr(pages.Stamp, "now", lambda: pages.Stamp("another day", "9.9", "c0ffee"))
    again = {path.suffix: path.read_text("utf-8") for path in pages.build(results[::-1], tmp_path)}
    assert set(again) == {".html", ".md", ".tex", ".csv"}
    for kind, text in again.items():
        assert unstamped(text) == unstamped(files[kind]), kind
        assert ("another day" in text) == (kind != ".csv")


def unstamped(text):
    found = re.sub(r"(?s)(<!--|%) stamp.*?end of stamp", "", text)
    assert "UTC by mer-bench" not in found
    return found


def test_the_page_is_balanced_self_contained_and_every_link_leads_somewhere(files):
    parser = Balance()
    parser.feed(files[".html"])
    assert parser.open == []
    assert {"svg", "table", "style", "caption", "figcaption", "main", "nav"} <= parser.seen
    assert not parser.seen & {"b", "img", "iframe", "object"}
    assert len(parser.ids) == len(set(parser.ids))
    inner = [link for link in parser.links if link != "data:,"]
    assert inner and all(link[0] == "#" and link[1:] in parser.ids for link in inner)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", files[".html"])
    assert files[".html"].count("<script>") == 1


def test_hostile_names_are_text_everywhere(files):
    assert "<script>alert" not in files[".html"] and "&lt;script&gt;alert(1)&lt;/script&gt;" in files[".html"]
    assert "<script>" not in files[".md"] and "A &lt;b&gt;paper" in files[".html"]
    assert "A <b>paper" not in files[".html"]
    lines = files[".md"].splitlines()
    mine = [i for i, line in enumerate(lines) if line.startswith("|") and "alert" in line]
    assert len(mine) >= 3
    for i in mine:
        rule = next(line for line in lines[i::-1] if line.startswith("|--"))
        assert len(re.findall(r"(?<!\\)\|", lines[i])) == rule.count("|")


def test_latex_is_escaped_and_each_row_has_its_columns(files):
    text = files[".tex"]
    assert r"\textbackslash{}end" in text and r"\$2\textasciicircum{}3" in text and "\\toprule" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 3
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.S):
        for line in body.strip().splitlines():
            if line.endswith(r" \\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
    depth = re.sub(r"\\[{}]", "", text)
    assert depth.count("{") == depth.count("}")
    assert all(ord(c) < 128 for c in text.replace(WILD, ""))


def test_csv_holds_every_run_and_rule_and_what_the_board_says(results, files):
    read = pl.read_csv(files[".csv"].encode(), schema={**scores.ROWS, **pages.SAID})
    base = scores.rows(results)
    text = pl.selectors.string()
    kept = read.select(base.columns).with_columns(text.fill_null(""))
    assert kept.equals(base.with_columns(text.fill_null("")).cast(scores.ROWS))
    heads = read.filter(pl.col("headline"))
    assert len(heads) == 7 and heads.filter(pl.col("difference").is_not_null())["model"].to_list() == [
        "ridge_flow",
        "mmnet",
    ]
    assert heads.filter(pl.col("printed").is_not_null())["printed"].to_list() == ["uf1 0.87 (oracle-epoch)"]


def test_banner_partial_runs_and_facts_are_shown(files):
    for kind in (".html", ".md"):
        composite, synthetic = sorted(re.split(r"(?m)^(?:## |<h2>)", files[kind])[1:3])
        assert BANNER in synthetic and BANNER not in composite
        for words in ("3/16 PARTIAL", "1.23 M", "21.59 M", "3.2 ms", "13 min", "nested, strict", "self-reported"):
            assert words in synthetic, words
        assert ".700" in composite and ".410" in composite
        assert all(name.replace("-", r"-") in files[kind] for name in reading.RULES)
    # every article of a task with a banner carries it
    articles = re.findall(r"(?s)<article.*?</article>", files[".html"])
    assert sum(BANNER in a for a in articles) == len(articles) - 1


def test_what_to_know_about_a_run_stands_with_its_number_in_every_file(files):
    for kind, words in ((".html", "PARTIAL: without a/01, whose training diverged &lt;i&gt;."), (".csv", NOTE)):
        assert words in files[kind]
    assert files[".html"].count("PARTIAL: without a/01") == 2 and "3/16 PARTIAL ‡" in files[".html"]
    assert "‡ &lt;script" in files[".html"] and r"$\ddagger$" in files[".tex"] and "‡" in files[".md"]


def test_other_scores_have_their_intervals(results):
    ends = {"uar": (0.4, 0.7), "accuracy": (0.5, 0.8)}
    (board,) = standings.boards(finished(measured(rules={"last": counted(0.6, intervals=ends)}), result("old")))
    found = {row[0].text: [cell.text for cell in row] for row in tables.metrics(board).rows}
    assert found["mmnet"][2].endswith(" [.400, .700]") and found["mmnet"][3].endswith(" [.500, .800]")
    assert "[" not in found["old"][2]


def test_leaky_columns_are_marked_and_no_leaky_number_is_a_headline(results):
    for board in standings.boards(results):
        for table in tables.tables(board):
            for column in table.columns:
                assert column.leaky == (column.key.startswith("oracle")) and ("leaky" in column.title) == column.leaky
        assert not any(e.result.rules[e.rule].leaky for e in board.entries)


def test_printed_numbers_stand_beside_measured_ones(results):
    (board,) = [b for b in standings.boards(results) if b.task == "synth-3"]
    (row,) = tables.printed(board).rows
    run = next(e for e in board.entries if e.result.paper)
    assert [c.text for c in row[:4]] == [run.label, "UF1", ".870", "oracle-epoch (leaky)"]
    assert row[4].sort == run.result.rules["oracle-epoch"].uf1 and row[5].sort == run.result.rules["last"].uf1
    assert row[7].sort == pytest.approx(0.87 - run.result.rules["last"].uf1)


def test_optimism_is_the_design_s(results):
    (board,) = [b for b in standings.boards(results) if b.task == "synth-3"]
    table = tables.rules(board)
    at = [c.key for c in table.columns].index("optimism")
    found = {row[0].text: row[at].sort for row in table.rows}
    assert found["ridge_flow"] == pytest.approx(
        next(r.rules["oracle-epoch"].uf1 - r.rules["last"].uf1 for _, _, r in results if r.model == "ridge_flow")
    )
    study = next(r for _, _, r in results if r.kind == "search")
    assert found["mmnet · 12 trials"] == pytest.approx(
        study.rules["oracle-trial"].uf1 - study.rules["nested-no-refit"].uf1
    )


def test_pictures_of_the_page_are_xml_and_speak(files):
    drawn = re.findall(r"<svg.*?</svg>", files[".html"], re.S)
    assert len(drawn) > 20
    for picture in drawn:
        assert ElementTree.fromstring(picture).get("aria-label")


def test_a_page_for_one_run_and_one_for_a_comparison(results):
    alone = pages.model_page(*results[0])
    assert "mmnet · 12 trials on synth-3" in alone and "What the folds chose" in alone
    (board,) = [b for b in standings.boards(results) if b.task == "synth-3"]
    of = {e.label: e for e in board.entries}
    page = pages.comparison_page([(of["ridge_flow"], of["mmnet"])], ["the verdict <i>"])
    assert "the verdict &lt;i&gt;" in page and BANNER in page
    for text in (alone, page):
        parser = Balance()
        parser.feed(text)
        assert parser.open == []


def test_templates_are_in_the_wheel(tmp_path):
    """What hatch packs is what lies in the package; the build itself runs where hatchling is installed."""
    names = {path.name for path in pages.TEMPLATES.iterdir()}
    assert {"leaderboard.html.j2", "macros.html.j2", "page.css", "drawing.css", "sort.js"} <= names
    hatchling = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    (built,) = hatchling.WheelBuilder(str(pages.TEMPLATES.parent.parent)).build(directory=str(tmp_path))
    with zipfile.ZipFile(built) as wheel:
        assert {f"mer_bench/reports/templates/{name}" for name in names} <= set(wheel.namelist())


def test_no_results_name_the_first_command(tmp_path):
    with pytest.raises(MerBenchError, match="mer-bench run"):
        pages.build([], tmp_path)
    assert not list(tmp_path.iterdir())
