"""FACS strings: nothing is lost, nothing is guessed."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mer_bench import facs
from mer_bench.facs import ActionUnit as Au

UNITS = st.builds(Au, st.integers(0, 99), st.sampled_from(facs.SIDES), st.sampled_from(facs.INTENSITIES))


def render(units):
    """Units as a string that `parse` reads back."""
    choices = {}
    for unit in units:
        choices.setdefault(unit.choice, []).append(f"{unit.side}{unit.number}{unit.intensity}")
    parts = [" or ".join(names) for names in choices.values()]
    return "+".join(f"({part})" if " or " in part and len(parts) > 1 else part for part in parts)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("4+L10", [Au(4), Au(10, "L", "", 1)]),
        ("12A", [Au(12, "", "A")]),
        ("A12", [Au(12, "A")]),
        ("A/L12", [Au(12, "A/L")]),
        ("R14A or 17A or 24A", [Au(14, "R", "A"), Au(17, "", "A"), Au(24, "", "A")]),
        ("(R6 or R12)+R15", [Au(6, "R"), Au(12, "R"), Au(15, "R", "", 1)]),
        ("R15+(R6 or R12)", [Au(15, "R"), Au(6, "R", "", 1), Au(12, "R", "", 1)]),
        ("AU4 + AU 7, R 12E", [Au(4), Au(7, "", "", 1), Au(12, "R", "E", 2)]),
        ("4，9", [Au(4), Au(9, "", "", 1)]),
        ("１２", [Au(12)]),
        ("1 2", [Au(1), Au(2, "", "", 1)]),
    ],
)
def test_units_sides_intensities_and_choices(text, units):
    found = facs.parse(text)
    assert found == facs.Facs(tuple(units))


@pytest.mark.parametrize(("text", "count"), [("?", 0), ("4+?", 1), ("?+4", 1)])
def test_a_question_mark_is_kept_as_such(text, count):
    found = facs.parse(text)
    assert found.unsure and len(found.units) == count and not found.unread


@pytest.mark.parametrize(
    ("text", "numbers", "unread"),
    [
        ("4D+ref(6)+7C+43E", [4, 6, 7, 43], ("ref",)),
        ("R14 soft focus", [14], ("soft", "focus")),
        ("AU4+AU7(k)", [4, 7], ("k",)),
        ("123", [], ("123",)),
        ("12F", [12], ("F",)),
        ("x12", [], ("x", "12")),
        ("or 4", [4], ("or",)),
        ("(6+12) or 15", [6, 12, 15], ("alternatives of combinations",)),
        ("15 or (6+12)", [15, 6, 12], ("alternatives of combinations",)),
    ],
)
def test_what_is_no_code_is_told(text, numbers, unread):
    found = facs.parse(text)
    assert [unit.number for unit in found.units] == numbers
    assert found.unread == unread


@given(st.lists(st.lists(UNITS, min_size=1, max_size=3), max_size=5))
def test_what_is_written_is_read_back(choices):
    units = [Au(u.number, u.side, u.intensity, choice) for choice, part in enumerate(choices) for u in part]
    assert facs.parse(render(units)) == facs.Facs(tuple(units))


@given(st.text(alphabet="0123456789LRABE+/()? or,refAU", max_size=30))
@example("o,r")
def test_no_letter_and_no_digit_disappears(text):
    found = facs.parse(text)
    kept = "".join(f"{unit.side}{unit.number}{unit.intensity}" for unit in found.units)
    # apart, because "o" and "r" side by side would be a joining word
    kept += " " + " ".join(word for word in found.unread if word != "alternatives of combinations")

    def letters(said):
        # prefixes and joining words carry nothing; a leading zero is no digit lost
        return len(re.sub(r"[^1-9LRBEefr]", "", re.sub(r"AU(?=\s*(A/[LR]|[LRA])?\s*\d)|\bor\b", "", said)))

    assert letters(kept) >= letters(re.sub(r"(?<![A-Za-z])or(?![A-Za-z])", "", text))


@given(st.text(max_size=40))
def test_any_text_is_read(text):
    found = facs.parse(text)
    assert all(0 <= u.number <= 99 and u.side in facs.SIDES and u.intensity in facs.INTENSITIES for u in found.units)
    choices = [unit.choice for unit in found.units]
    assert choices == sorted(choices) and set(choices) == set(range(len(set(choices))))
    assert facs.parse(render(found.units)).units == found.units
