"""Invented miniature releases, laid out like the real ones; not a test itself.

`tests/sheets/<corpus>` holds invented rows (a leading ' marks text, as in Excel; other numbers become number cells),
where frames lie, and what must be read. Frames are drawn faces; nothing here was taken from a corpus.
"""

import csv
import functools
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.sax.saxutils import escape

import cv2

from mer_bench import catalog
from mer_bench.datasets._synth import cohorts, corpus

SHEETS = Path(__file__).resolve().parent / "sheets"
CORPORA = tuple(sorted(p.name for p in SHEETS.iterdir()))
TINY = cohorts.Cohort(name="tiny", seed=5, clips=(1,), fps=50.0)
NAMESPACE = "http://schemas.openxmlformats.org"
TYPES = f"""<Types xmlns="{NAMESPACE}/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>
<Override PartName="/xl/workbook.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>"""
RELATIONS = f"""<Relationships xmlns="{NAMESPACE}/package/2006/relationships"><Relationship Id="rId1"
 Type="{NAMESPACE}/officeDocument/2006/relationships/%s" Target="%s"/></Relationships>"""
BOOK = f"""<workbook xmlns="{NAMESPACE}/spreadsheetml/2006/main"
 xmlns:r="{NAMESPACE}/officeDocument/2006/relationships"><sheets>
<sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>"""


def write_xlsx(file, rows):
    """Rows of text and numbers as the smallest workbook that Excel opens."""
    lines = []
    for number, row in enumerate(rows, 1):
        cells = (_cell(f"{_letters(at)}{number}", value) for at, value in enumerate(row))
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    sheet = (
        f'<worksheet xmlns="{NAMESPACE}/spreadsheetml/2006/main"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    )
    parts = {
        "[Content_Types].xml": TYPES,
        "_rels/.rels": RELATIONS % ("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": BOOK,
        "xl/_rels/workbook.xml.rels": RELATIONS % ("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": sheet,
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')


def _letters(at):
    return chr(65 + at) if at < 26 else _letters(at // 26 - 1) + chr(65 + at % 26)


def _cell(place, value):
    if value is None or value == "":
        return ""
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'


def typed(text):
    """A committed cell as the release holds it: numbers as numbers, unless marked as text."""
    if text.startswith("'"):
        return text[1:]
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text


def rows_of(name):
    """The committed rows of `corpus/file.csv`, cells as released."""
    with (SHEETS / name).open(newline="", encoding="utf-8") as file:
        return [[typed(cell) for cell in line] for line in csv.reader(file)]


@functools.cache
def faces():
    """A few frames of one drawn clip, BGR, small."""
    (clip,) = cohorts.plan(TINY, "01")
    drawn = list(corpus.draw(TINY, corpus.subject_head(TINY, "01"), clip))
    return [cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in drawn[:8]]


@functools.cache
def picture(suffix, number):
    """A drawn face as a file's content."""
    return cv2.imencode(suffix, faces()[number % 8])[1].tobytes()


def build(name, root, frames=True):
    """Write the miniature release of a corpus into a folder; returns what must be read of it."""
    root.mkdir(parents=True, exist_ok=True)
    for sheet in (SHEETS / name).glob("*.csv"):
        if sheet.name != "frames.csv":
            write_xlsx(root / f"{sheet.stem}.xlsx", rows_of(f"{name}/{sheet.name}"))
    with (SHEETS / name / "frames.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            folder = root / line["folder"]
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(int(line["first"]), int(line["last"]) + 1) if frames else ():
                frame = folder / line["name"].format(number)
                frame.write_bytes(picture(frame.suffix, number))
    return expected(name)


def expected(name):
    """What must be read of a miniature release."""
    return json.loads((SHEETS / name / "expected.json").read_text())


def shrink(monkeypatch):
    """Let corpora and tasks expect what the miniature releases hold, in this process; hashes are not pinned."""
    known = catalog.load

    def load(kind, path):
        module = known(kind, path)
        if kind != "dataset" or path.stem not in (*CORPORA, "megc2019"):
            return module
        smaller = _composite if path.stem == "megc2019" else _smaller
        return SimpleNamespace(DATASET=smaller(path.stem, module.DATASET))

    monkeypatch.setattr(catalog, "load", load)


def _smaller(name, dataset):
    facts = expected(name)
    assert set(facts["tasks"]) == set(dataset.tasks)
    tasks = {
        task: replace(dataset.tasks[task], clips=n, subjects=people, counts=tuple(counts), sha256="")
        for task, (n, people, counts) in facts["tasks"].items()
    }
    emotions = facts["emotions"] if dataset.emotions else {}
    editions = {edition: replace(one, clips=0, subjects=0) for edition, one in dataset.editions.items()}
    return replace(
        dataset, clips=facts["clips"], subjects=facts["subjects"], emotions=emotions, tasks=tasks, editions=editions
    )


def _composite(name, dataset):
    parts = [expected(part)["tasks"][f"{part}-3"] for part in dataset.made_of]
    facts = {
        "clips": sum(n for n, _, _ in parts),
        "subjects": sum(people for _, people, _ in parts),
        "counts": tuple(map(sum, zip(*(counts for _, _, counts in parts), strict=True))),
        "sha256": "",
    }
    return replace(dataset, tasks={task: replace(one, **facts) for task, one in dataset.tasks.items()})
