"""Released sheets: every cell as text, columns by name, rows that say where they stand, and one line for bad files."""

import os
import zipfile
from pathlib import Path

import pytest
import releases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mer_bench import coding, sheets
from mer_bench.contracts import MerBenchError

HEADER = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]
ROW = [1.0, "EP02_01f", 46.0, 59.0, 86.0, "12", "happiness"]
TEXT = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\ufeff"), min_size=1, max_size=8)


def write(file, rows):
    if file.suffix == ".csv":
        text = "\n".join(",".join("" if c is None else str(c) for c in row) for row in rows)
        file.write_text(text + "\n", encoding="utf-8")
    else:
        releases.write_xlsx(file, rows)
    return file


@pytest.mark.parametrize("name", ["sheet.xlsx", "sheet.csv"])
def test_cells_are_text_and_rows_know_their_number(tmp_path, name):
    title = ["a title"] + [None] * 6
    file = write(tmp_path / name, [title, HEADER, ROW, [None] * 7, ["006", *ROW[1:]]])
    first, second = sheets.rows(file)
    assert first.cells["onset"].removesuffix(".0") == "46" and first.cells["clip"] == "EP02_01f"
    assert second.cells["subject"] == "006" and second.cells["emotion"] == "happiness"
    assert (first.source, second.number) == (f"{name} row 3", 5)


@given(st.permutations(range(7)), st.sets(st.integers(0, 7), max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_are_found_by_name_in_any_order(tmp_path, order, gaps):
    def laid(row):
        cells = [row[at] for at in order]
        for gap in sorted(gaps):
            cells.insert(gap, None)
        return cells

    (row,) = sheets.rows(write(tmp_path / "s.xlsx", [laid(HEADER), laid(ROW)]))
    wanted = ["1", "EP02_01f", "46", "59", "86", "12", "happiness"]
    names = ("subject", "clip", "onset", "apex", "offset", "action_units", "emotion")
    assert [row.cells[name] for name in names] == wanted


CELL = st.one_of(st.none(), st.integers(0, 10**6), TEXT)


@given(st.lists(st.tuples(TEXT, TEXT, CELL, CELL, CELL), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_row_and_no_cell_is_lost(tmp_path, rows):
    lines = [[s, c, onset, apex, offset, None, "others"] for s, c, onset, apex, offset in rows]
    found = sheets.rows(write(tmp_path / "s.xlsx", [HEADER, *lines]))
    assert len(found) == len(rows)
    for row, (_, _, *frames) in zip(found, rows, strict=True):
        for column, cell in zip(("onset", "apex", "offset"), frames, strict=True):
            remarks = []
            number = coding.frame(row.cells[column], column, remarks)
            if isinstance(cell, int):
                assert number == cell and not remarks
            elif number is None:
                assert cell is None or (remarks and repr(row.cells[column]) in remarks[0])
            else:
                assert str(number) == row.cells[column].split(".")[0].lstrip("0") or number == 0


@given(
    st.integers(0, 9999), st.sampled_from(["", "sub", "SUB", "sub "]), st.integers(1, 6), st.sampled_from(["", ".0"])
)
def test_a_subject_has_one_spelling(number, prefix, width, tail):
    def spelt(text):
        return coding.subject(sheets.Row("s", 2, {"subject": text}), "sub", 2)

    text = f"{prefix}{number:0{width}d}{tail}"
    assert spelt(text) == f"{number:02d}" == spelt(spelt(text))


@given(st.text(max_size=6))
def test_a_subject_that_is_no_number_is_an_error_never_a_guess(text):
    row = sheets.Row("s.xlsx", 7, {"subject": text})
    try:
        found = coding.subject(row, "sub", 2)
    except MerBenchError as error:
        assert "s.xlsx row 7" in str(error) and "sub01" in str(error)
    else:
        assert int(found) == int("".join(c for c in text.split(".")[0] if c.isdigit()))


@pytest.mark.parametrize("text", ["", "/", "-", "?", "N/A", "nan"])
def test_a_blank_frame_is_blank(text):
    remarks = []
    assert coding.frame(text, "apex", remarks) is None
    assert remarks == ([f"apex is {text!r}"] if text else [])


@pytest.mark.parametrize("text", ["abc", "4.5", "-3", "12 or 13", "1e3", "٣"])
def test_a_frame_that_is_no_number_is_remarked(text):
    remarks = []
    assert coding.frame(text, "apex", remarks) is None and repr(text) in remarks[0]


def test_signs_are_folded_and_emotions_in_lower_case(tmp_path):
    row = ["１", "\u00a0EP1 ", 1.0, 2.0, 3.0, "4，5", " Happiness\u00a0"]
    (found,) = sheets.rows(write(tmp_path / "s.xlsx", [HEADER, row]))
    table = coding.clip("c", coding.subject(found, "", 2), found.cells["clip"], found, fps=None)
    assert (table["clip"], table["emotion"], table["action_units"]) == ("c/01/EP1", "happiness", [4, 5])


BAD = {
    "missing": (None, "is missing"),
    "cut.xlsx": ("cut", "is no readable Excel file"),
    "empty.xlsx": (b"", "is no readable Excel file"),
    "locked.xlsx": (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "is protected by a password"),
    "text.xlsx": (b"Subject,Filename", "is no readable Excel file"),
    "bytes.csv": (b"\xff\xfe\x00S", "cannot be read"),
    "empty.csv": (b"", "cannot be read"),
    "wrong.csv": (b"dataset,label\nx,1\n", "lacks the columns Subject, Filename, OnsetFrame, OffsetFrame"),
    "twice.csv": (b"Subject,Filename,Onset,Onset,Offset,Emotion\n1,a,1,2,3,x\n", "Onset stands there twice"),
    "header.csv": (b"Subject,Filename,Onset,Apex,Offset,Emotion\n", "no rows below its header"),
    "blank.csv": (b"Subject,Filename,Onset,Apex,Offset,Emotion\n,a,1,2,3,x\n", "row 2: subject is blank"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sheet_is_one_line(tmp_path, name):
    content, said = BAD[name]
    file = tmp_path / name
    if content == "cut":
        releases.write_xlsx(file, [HEADER, ROW])
        content = file.read_bytes()[:700]
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MerBenchError, match=said) as caught:
        sheets.rows(file)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_a_workbook_with_other_parts_is_read_by_its_right_sheet(tmp_path):
    releases.write_xlsx(tmp_path / "a.xlsx", [["notes"], ["more"]])
    with zipfile.ZipFile(tmp_path / "a.xlsx") as archive:
        assert "xl/workbook.xml" in archive.namelist()
    with pytest.raises(MerBenchError, match="found notes"):
        sheets.rows(tmp_path / "a.xlsx")


def test_the_sheet_is_found_and_other_levels_are_named(tmp_path):
    inner = tmp_path / "CASME II" / "annotation"
    inner.mkdir(parents=True)
    (inner / "Coding-2014.XLSX").write_bytes(b"x")
    (inner / "~$coding-2014.xlsx").write_bytes(b"lock")
    assert sheets.find(tmp_path, "c", "coding-2014.xls*") == inner / "Coding-2014.XLSX"
    deeper = inner / "sub01"
    deeper.mkdir()
    with pytest.raises(MerBenchError, match=f"it lies in {inner}: give that folder"):
        sheets.find(deeper, "c", "coding-2014.xls*")
    with pytest.raises(MerBenchError, match=r"no sheet nothing\.xlsx in .*unpacked into"):
        sheets.find(tmp_path, "c", "nothing.xlsx")
    (inner / "coding-2014.xls").write_bytes(b"x")
    with pytest.raises(MerBenchError, match="are both its sheet; remove or rename one"):
        sheets.find(tmp_path, "c", "coding-2014.xls*")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read(tmp_path):
    (tmp_path / "a").mkdir(mode=0)
    with pytest.raises(OSError):
        sheets.find(tmp_path, "c", "x.xlsx")


def test_a_name_with_a_stroke_is_refused():
    row = sheets.Row("s", 2, {"onset": "1", "emotion": "x"})
    with pytest.raises(MerBenchError, match="holds a stroke"):
        coding.clip("c", "1", "a/b", row, fps=None)


def test_every_alias_belongs_to_one_column():
    bare = ["".join(c for c in a.casefold() if c.isalnum()) for names in sheets.ALIASES.values() for a in names]
    assert len(bare) == len(set(bare)) and Path(sheets.__file__).is_file()
