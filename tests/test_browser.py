"""The page in a real browser: no complaint on its console, sorting, sharing a sort, nothing wider than a phone."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import invented_study as inv
import pytest
import toy
from invented_results import finished, measured, searched

from mer_bench.reports import pages
from mer_bench.searching import dossier, shelf, trials

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
    "--enable-logging=stderr", "--virtual-time-budget=3000",
)  # fmt: skip
WILD = "<script>alert(1)</script>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (apt-get install chromium)")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    models = [
        measured(name, skill, noise=i) for i, (name, skill) in enumerate(zip("cdab", (0.5, 0.6, 0.9, 0.7), strict=True))
    ]
    results = finished(searched(), *models, measured(WILD, 0.8, parameters=None))
    return next(path for path in pages.build(results, tmp_path_factory.mktemp("browser")) if path.suffix == ".html")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The page of a study whose model, values and failures are all called like a script."""
    folder, sizes = tmp_path_factory.mktemp("study"), (4, 5, 4, 5, 4)
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch, toy.corpus(signal=0, sizes=sizes))
        patch.setattr("mer_bench.predictions._flush", lambda path: None)
        fates = {3: (trials.PRUNED, 3, "worse"), 5: (trials.FAIL, 0, WILD)}
        made, found = inv.recorded(folder, fates, sizes, trials=10, sampler="tpe", racing=True)
        one = replace(shelf.read(made.folder, [found]), model=WILD, task=WILD)
    (link,) = dossier.write([one], folder, "leaderboard.html").values()
    return folder / link


@pytest.fixture(params=["page", "study"])
def either(request):
    return request.getfixturevalue(request.param)


def opened(page, profile, fragment="", *flags):
    """The document after its scripts have run, and what was said on its console."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, "--dump-dom", f"file://{page}{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def scripted(page, folder, script):
    """The page with a visitor's script at its end, which leaves its findings in the title."""
    visited = folder / "visited.html"
    text = page.read_text("utf-8")
    assert text.count("</body>") == 1
    visited.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    document, said = opened(visited, folder / "profile")
    assert not said
    return json.loads(re.search(r"(?s)<title>(.*?)</title>", document)[1].replace("&lt;", "<").replace("&gt;", ">"))


def order(document, kind="standings"):
    """Models of a table from the top."""
    table = re.search(rf'(?s)<table class="sortable {kind}".*?</table>', document)[0]
    return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r'(?s)<th scope="row".*?</th>', table)]


def test_no_complaint_and_a_model_of_any_name_is_text(either, tmp_path):
    document, said = opened(either, tmp_path / "profile")
    assert said == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in document and WILD not in document


def test_a_complaint_would_be_seen(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><title>x</title><script>nothing.here()</script>")
    assert opened(bad, tmp_path / "profile")[1]


def test_a_shared_sort_is_followed(page, tmp_path):
    document, said = opened(page, tmp_path / "profile", "#sort=-uf1")
    best_last = order(document)
    assert said == [] and 'aria-sort="ascending"' in document
    assert best_last == order(page.read_text("utf-8"))[::-1]
    unknown, said = opened(page, tmp_path / "profile", "#sort=nonsense%22")
    assert said == [] and order(unknown) == best_last[::-1]


def test_clicks_sort_there_and_back_missing_values_stay_last_and_the_address_can_be_shared(page, tmp_path):
    script = """
    const table = document.querySelector("table.costs"), found = {};
    const click = (key) => table.querySelector(`th[data-key="${key}"] button`).click();
    const column = (key) => { const at = table.querySelector(`th[data-key="${key}"]`).cellIndex;
      return [...table.tBodies[0].rows].map((row) => row.cells[at].textContent); };
    click("parameters"); found.up = column("parameters"); found.hash = location.hash;
    click("parameters"); found.down = column("parameters"); found.back = location.hash;
    click("model"); found.models = column("model");
    found.sorts = [...table.querySelectorAll("[aria-sort]")].map((head) => head.dataset.key);
    found.said = document.getElementById("said").textContent;
    document.title = JSON.stringify(found);
    """
    found = scripted(page, tmp_path, script)
    assert found["up"][-1] == found["down"][-1] == "–" and found["up"][0] == "1.23 M"
    assert (found["hash"], found["back"]) == ("#sort=parameters", "#sort=-parameters")
    assert found["sorts"] == ["model"] and found["said"] == "sorted by model, ascending"
    assert [m for m in found["models"] if len(m) == 1] == ["a", "b", "c", "d"] and WILD in found["models"]


def test_keyboard_and_screen_reader_find_their_way(either, tmp_path):
    script = """
    const found = {};
    found.heads = [...document.querySelectorAll("table.sortable thead th")].every((th) => th.querySelector("button"));
    found.captions = [...document.querySelectorAll("table")].every((table) => table.caption?.textContent.trim());
    found.scrolls = [...document.querySelectorAll(".scroll")].every((x) => x.tabIndex === 0 && x.ariaLabel);
    found.pictures = [...document.querySelectorAll("svg")].every((svg) => svg.ariaLabel && svg.role !== "none");
    found.first = document.querySelector("a").getAttribute("href");
    found.headings = [...document.querySelectorAll("h1,h2,h3,h4")].map((h) => Number(h.tagName[1]));
    document.title = JSON.stringify(found);
    """
    found = scripted(either, tmp_path, script)
    assert found["heads"] and found["captions"] and found["scrolls"] and found["pictures"]
    assert found["first"] == "#content"
    assert found["headings"][0] == 1 and found["headings"].count(1) == 1
    assert all(b - a <= 1 for a, b in zip(found["headings"], found["headings"][1:], strict=False))


CONTRAST = """
const number = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const bright = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map(linear); return .2126 * r + .7152 * g + .0722 * b; };
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = number(getComputedStyle(node).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
let least = 21;
for (const node of document.querySelectorAll("p, td:not(.none), th, dd, dt, figcaption, a, caption, h1, h2, h3, h4")) {
  if (!node.textContent.trim() || node.closest(".hidden, .skip")) continue;
  const [a, b] = [bright(number(getComputedStyle(node).color)), bright(behind(node))].sort((x, y) => y - x);
  least = Math.min(least, (a + .05) / (b + .05));
}
document.title = JSON.stringify({least, dark: matchMedia("(prefers-color-scheme: dark)").matches});
"""


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_by_day_and_by_night(either, tmp_path, dark):
    visited = tmp_path / "visited.html"
    visited.write_text(either.read_text("utf-8").replace("</body>", f"<script>{CONTRAST}</script></body>"), "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    document, said = opened(visited, tmp_path / "profile", "", scheme)
    found = json.loads(re.search(r"<title>(.*?)</title>", document)[1])
    assert not said and found["dark"] == dark and found["least"] >= 4.5


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(either, tmp_path, width):
    script = """
    const wide = [...document.querySelectorAll("main *")].filter((x) => !x.closest(".scroll, svg, .hidden")
      && x.getBoundingClientRect().right > innerWidth + 1).map((x) => x.tagName + "." + x.className);
    document.title = JSON.stringify({wide, page: document.documentElement.scrollWidth, window: innerWidth});
    """
    frame = tmp_path / "frame.html"
    inner = either.read_text("utf-8").replace(
        "</body>", f"<script>{script}; parent.document.title = document.title</script></body>"
    )
    # headless windows have a least width; a frame has none
    hidden = inner.replace("&", "&amp;").replace('"', "&quot;")
    frame.write_text(
        f'<title></title><iframe width="{width}" height="800" style="border:0" srcdoc="{hidden}"></iframe>'
    )
    document, said = opened(frame, tmp_path / "profile")
    found = json.loads(re.search(r"<title>(.*?)</title>", document)[1])
    assert not said and found["wide"] == [] and found["page"] <= found["window"] == width
