import hashlib
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench import clips, facs
from mer_bench.contracts import Mend, MerBenchError, Task


def row(subject, name, emotion="happy", **more):
    base = {
        "clip": f"c/{subject}/{name}",
        "corpus": "c",
        "subject": f"c/{subject}",
        "onset": 10,
        "apex": 20,
        "offset": 30,
        "apex_source": "annotated",
        "fps": 200.0,
        "emotion": emotion,
        "action_units": [4, 12],
        "sides": ["L", ""],
        "frame_path": f"{subject}/{name}/{{frame}}.jpg",
    }
    return base | more


ROWS = [
    row("02", "b", "happy"),
    row("01", "a", "disgust"),
    row("01", "c", "others"),
    row("03", "a", "fear"),
    row("03", "d", "surprise"),
]
TASK = Task(
    corpora=("c",),
    classes=("negative", "positive", "surprise"),
    class_map={"disgust": "negative", "fear": "negative", "happy": "positive", "surprise": "surprise"},
    clips=4,
    subjects=3,
    counts=(2, 1, 1),
)


def test_the_table_has_its_columns_in_order_and_is_sorted():
    table = clips.table(dict(reversed(r.items())) for r in ROWS)
    assert dict(table.schema) == clips.COLUMNS
    assert table["clip"].to_list() == ["c/01/a", "c/01/c", "c/02/b", "c/03/a", "c/03/d"]


def test_released_without_frames_is_null_and_empty_is_a_table():
    bare = {k: v for k, v in ROWS[0].items() if k not in ("onset", "apex", "offset", "fps", "frame_path")}
    table = clips.table([bare])
    assert table["onset"].null_count() == table["frame_path"].null_count() == 1
    assert clips.problems(table) == []
    assert dict(clips.table([]).schema) == clips.COLUMNS


def test_an_unknown_key_is_an_error():
    with pytest.raises(MerBenchError, match="c/02/b: no such column: gender"):
        clips.table([{**ROWS[0], "gender": "f"}])


@pytest.mark.parametrize(
    ("text", "units", "sides"),
    [
        ("4+L10", [4, 10], ["", "L"]),
        ("12", [12], [""]),
        ("R14", [14], ["R"]),
        ("L4 + R 7+17", [4, 7, 17], ["L", "R", ""]),
        ("?", [], []),
        ("", [], []),
        ("4+?", [4], [""]),
        ("AU12 or AU14", [12, 14], ["", ""]),
    ],
)
def test_action_units(text, units, sides):
    assert clips.parse_action_units(text) == (units, sides)


@given(st.lists(st.tuples(st.sampled_from(["", "L", "R"]), st.integers(1, 99)), max_size=6))
def test_action_units_come_back(units):
    text = "+".join(f"{side}{number}" for side, number in units)
    assert clips.parse_action_units(text) == ([n for _, n in units], [s for s, _ in units])


@given(st.text())
def test_any_text_gives_as_many_sides_as_units(text):
    units, sides = clips.parse_action_units(text)
    assert len(units) == len(sides) and set(sides) <= set(facs.SIDES)


def test_a_mend_changes_one_cell_and_says_so_of_an_apex():
    table = clips.table(ROWS)
    mended = clips.mend(table, [Mend("c/01/a", "apex", 25, "typed wrongly"), Mend("c/03/a", "emotion", "happy", "x")])
    assert mended.schema == table.schema
    before, after = table.rows(named=True), mended.rows(named=True)
    changed = {(a["clip"], k): b[k] for a, b in zip(before, after, strict=True) for k in a if a[k] != b[k]}
    wanted = {("c/01/a", "apex"): 25, ("c/01/a", "apex_source"): "mended", ("c/03/a", "emotion"): "happy"}
    assert changed == wanted


@pytest.mark.parametrize(("clip", "column"), [("c/01/z", "apex"), ("c/01/a", "apx")])
def test_a_mend_that_matches_nothing_is_an_error(clip, column):
    with pytest.raises(MerBenchError, match=rf"{clip}\.{column} \(because\) matches no clip"):
        clips.mend(clips.table(ROWS), [Mend(clip, column, 1, "because")])


def test_a_mend_that_matches_two_clips_is_an_error():
    with pytest.raises(MerBenchError, match="matches 2 clips"):
        clips.mend(clips.table([*ROWS, ROWS[1]]), [Mend("c/01/a", "apex", 25, "because")])


@given(st.tuples(*[st.one_of(st.none(), st.integers(0, 4))] * 3))
def test_key_frames_are_in_order_or_named(frames):
    onset, apex, offset = frames
    found = clips.problems(clips.table([row("01", "a", onset=onset, apex=apex, offset=offset)]))
    fine = None not in frames and onset <= apex <= offset
    assert (found == []) == fine
    assert all(line.startswith("c/01/a: ") and "Mend" in line for line in found)


def test_doubled_clips_and_blank_emotions_are_named():
    table = clips.table([row("01", "a"), row("01", "a"), row("01", "b", ""), row("01", "c", None)])
    found = clips.problems(table)
    assert [line.split(":")[0] for line in found] == ["c/01/a", "c/01/b", "c/01/c"]


def test_select_maps_classes_and_leaves_out_the_rest():
    table = clips.select(clips.table(ROWS).reverse(), replace(TASK, drop={"c/03/a": "no apex"}))
    assert table.select("clip", "label").rows() == [("c/01/a", 0), ("c/02/b", 1), ("c/03/d", 2)]
    assert table.schema["label"] == pl.Int8


def test_the_hash_is_of_the_sorted_names():
    table = clips.table(ROWS)
    wanted = hashlib.sha256(b"c/01/a\nc/01/c\nc/02/b\nc/03/a\nc/03/d").hexdigest()
    assert clips.sha256(table) == clips.sha256(table.reverse()) == wanted


def test_a_pinned_task_holds():
    table = clips.select(clips.table(ROWS), TASK)
    clips.check(table, "c-3", replace(TASK, sha256=clips.sha256(table)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clips": 5}, "expected 5 clips of 3 subjects, found 4 of 3"),
        ({"subjects": 4}, "expected 4 clips of 4 subjects, found 4 of 3"),
        ({"counts": (1, 2, 1)}, r"clips per class \(1, 2, 1\), found \(2, 1, 1\)"),
        ({"sha256": "0" * 64}, "differs from the pinned one"),
    ],
)
def test_a_task_whose_facts_changed_is_an_error(change, words):
    with pytest.raises(MerBenchError, match=words):
        clips.check(clips.select(clips.table(ROWS), TASK), "c-3", replace(TASK, **change))


def test_the_first_problem_is_named_and_the_others_counted():
    rows = [ROWS[1] | {"apex": 99}, ROWS[0] | {"apex": 1}, *ROWS[2:]]
    with pytest.raises(MerBenchError, match=r"c/01/a: onset 10 <= apex 99 <= offset 30 .*\(and 1 more\)"):
        clips.check(clips.select(clips.table(rows), TASK), "c-3", TASK)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "is missing"), ("subject,clip\n1,a\n", "lacks the columns onset"), ("", "cannot be read")],
)
def test_a_sheet_that_cannot_be_used_is_told_in_one_line(tmp_path, text, said):
    file = tmp_path / "sheet.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(MerBenchError, match=said) as caught:
        clips.read_sheet(file, ("subject", "clip", "onset"))
    assert "sheet.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_every_cell_of_a_sheet_is_text(tmp_path):
    (tmp_path / "sheet.csv").write_text("subject,onset\n006,12\n")
    assert clips.read_sheet(tmp_path / "sheet.csv", ("subject",)).rows() == [("006", "12")]
