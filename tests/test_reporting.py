"""Values as Markdown, read back by a Markdown parser."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.reporting import NOTHING, cell, duration, literal, setting, share, table, text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT)
def test_text_is_one_line_without_markup(value):
    line = text(value)
    assert len(line.splitlines()) <= 1
    for place, character in enumerate(line):
        if character in "`*_|<>[]#$~{}":
            assert line[place - 1] == "\\"


@pytest.mark.parametrize(("value", "line"), [("- a", r"\- a"), ("1. a", r"1\. a"), ("a\n\n---", "a ---"), ("=", r"\=")])
def test_no_line_opens_a_list_or_a_heading(value, line):
    assert text(value) == line


@given(TEXT)
def test_a_literal_is_the_text_and_closes_no_block(value):
    source = literal(value)
    assert "`" not in source and source.isprintable()
    assert eval(source) == value


def test_cells():
    assert [cell(value) for value in (None, math.nan, 12345, 0.5, True, "", "a|b")] == [
        NOTHING, NOTHING, "12,345", "0.5000", "yes", NOTHING, r"a\|b",
    ]  # fmt: skip
    assert [setting(value) for value in (5e-5, 10.0, 12345, "x_y", False)] == ["5e-05", "10", "12345", r"x\_y", "no"]
    assert share(0.456) == "45.6 %"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "less than 1 s"), (59.7, "1 min"), (75, "1 min 15 s"), (3600, "1 h"), (5025, "1 h 23 min")],
)
def test_duration(seconds, told):
    assert duration(seconds) == told


def test_table():
    assert table([(1, 2)], ("a", "b"), "r") == "| a | b |\n| ---: | --- |\n| 1 | 2 |"
