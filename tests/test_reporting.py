"""Values as Markdown, read back by a Markdown parser."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.reporting import (
    NOTHING,
    cell,
    code_points,
    duration,
    escape_markdown,
    literal,
    markdown_table,
    new_figure,
    printable_json,
    setting,
    share,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT)
def test_escaped_text_is_one_line_without_markup(value):
    line = escape_markdown(value)
    assert len(line.splitlines()) <= 1
    for place, character in enumerate(line):
        if character in "`*_|<>[]#$~{}":
            assert line[place - 1] == "\\"


@pytest.mark.parametrize(("value", "line"), [("- a", r"\- a"), ("1. a", r"1\. a"), ("a\n\n---", "a ---"), ("=", r"\=")])
def test_no_line_opens_a_list_or_a_heading(value, line):
    assert escape_markdown(value) == line


HIDDEN = "a\u202e\u2066\u200b\ufeff\x9b\x1bb"
"""Direction marks, characters of no width and terminal controls between two letters."""


def test_what_does_not_print_is_a_code_point():
    assert code_points(HIDDEN) == "aU+202EU+2066U+200BU+FEFFU+009BU+001Bb"
    assert code_points("红斑\u3000 (a)") == "红斑\u3000 (a)" and code_points("a\n\ud83d") == "aU+000AU+D83D"
    assert escape_markdown("<a\u202e>") == r"\<aU+202E\>"


@given(TEXT)
def test_printable_json_has_the_same_value(value):
    for text in (value, HIDDEN + value):
        line = printable_json(json.dumps(text, ensure_ascii=False))
        assert json.loads(line) == text
        assert code_points(line) == line


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
    assert markdown_table(("a", "b"), [(1, 2)], "rl") == "| a | b |\n| ---: | --- |\n| 1 | 2 |"
    assert markdown_table(("a", "b", "c"), []) == "| a | b | c |\n| --- | ---: | ---: |"
    row = markdown_table(("a", "b", "c"), [("**x**", 1234, math.nan), ("", None, 0.25)]).splitlines()[2:]
    assert row == [f"| **x** | 1,234 | {NOTHING} |", f"|  | {NOTHING} | 0.2500 |"]


@pytest.mark.parametrize(
    ("text", "escaped"), [("a|b", r"a\|b"), (r"a\|b", r"a\|b"), (r"a\\|b", r"a\\\|b"), ("||", r"\|\|")]
)
def test_no_pipe_of_a_string_ends_its_cell(text, escaped):
    assert markdown_table((text,), [(text,)]).splitlines()[::2] == [f"| {escaped} |"] * 2


def test_new_figure_has_a_canvas_without_display():
    figure = new_figure(5, 2)
    assert tuple(figure.get_size_inches()) == (5, 2)
    assert type(figure.canvas).__name__ == "FigureCanvasAgg"
