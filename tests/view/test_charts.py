"""Charts of characters, visible characters, and shades of scores."""

from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.reporting import visible
from hf_adner.view.charts import (
    CHART_REACH,
    COLUMN_WIDTH,
    HEIGHT,
    LEVELS,
    LONGEST_CHART,
    TOP,
    WHOLE,
    encode_levels,
    grouped_chart,
    heat_levels,
    heat_runs,
    shortened,
    stacked_chart,
)

TEXT = "患者四肢红斑伴瘙痒"


def test_bars_are_as_high_as_their_probability():
    chart = grouped_chart(TEXT, (4, 6), {"begins": [0, 0, 0, 0, 1.0, 0, 0, 0, 0], "ends": [0.5] * 9})
    assert [column.character for column in chart.characters] == list(TEXT)
    assert [column.place for column in chart.characters if column.is_entity] == [4, 5]
    first = [bar for bar in chart.bars if bar.series == 0]
    assert [(bar.height, bar.y) for bar in first] == [(HEIGHT, TOP)] and "begins 1.000 at 红 (4)" in first[0].title
    assert {bar.height for bar in chart.bars if bar.series == 1} == {HEIGHT / 2}
    assert chart.shade == ((chart.characters[4].x - COLUMN_WIDTH / 2, 2 * COLUMN_WIDTH),)
    assert all(0 <= bar.x and bar.x + bar.width <= chart.width for bar in chart.bars)


def test_shares_fill_the_cell():
    chart = stacked_chart(TEXT, (4, 6), {"local": [3.0] * 8 + [0.0], "global": [1.0] * 8 + [0.0]})
    assert [bar.height for bar in chart.bars[:2]] == [0.75 * HEIGHT, 0.25 * HEIGHT]
    assert chart.bars[0].y + chart.bars[0].height == chart.baseline == TOP + HEIGHT
    assert len(chart.bars) == 16  # the last character has no weight at all


def test_of_a_long_entity_both_ends():
    text = "红" * 300
    chart = grouped_chart(text, (50, 250), {"begins": [0.1] * 300})
    places = [column.place for column in chart.characters]
    assert (
        len(places) == LONGEST_CHART
        and places[0] == 50 - CHART_REACH
        and places[-1] == 249 + CHART_REACH
        and len(chart.breaks) == 1
    )
    assert len(chart.shade) == 2


@pytest.mark.parametrize("character, shown", [("\n", "↵"), (" ", "␣"), ("\x00", "\u2400"), ("<", "<")])
def test_white_space_is_seen(character, shown):
    assert grouped_chart(character, (0, 1), {}).characters[0].character == shown


ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


@given(ANY)
def test_one_for_one_and_the_same_in_a_parser(text):
    shown = visible(text)
    assert len(shown) == len(text) and visible(shown) == shown
    found = []
    parser = HTMLParser(convert_charrefs=True)
    parser.handle_data = found.append
    parser.feed(escape(shown).encode("utf-8").decode("utf-8"))
    parser.close()
    assert "".join(found) == shown and not {"\r", "\0"} & set(shown)


def test_what_is_replaced():
    assert visible("红\r\n斑\r痒\t\n") == "红\u200c\n斑\n痒\t\n"
    assert visible("\x00\x1b\x7f\x85\ud83d\u202e") == "\u2400\u241b\u2421\ufffd\ufffd\ufffd"
    assert visible("Dis\u2066\u200b\u200f\ufeffease") == "Dis\ufffd\ufffd\ufffd\ufffdease"
    assert visible("<b>&红斑👩‍⚕️") == "<b>&红斑👩‍⚕️"


def test_long_texts_lose_their_middle():
    assert shortened("红斑瘙痒", 4) == "红斑瘙痒"
    assert shortened("abcdefghij", 5) == "ab…ij" and len(shortened("a" * 99, 8)) == 8


def test_shades_are_even_steps_to_the_furthest_score():
    assert heat_levels([0.0, 4.0, -2.0, 0.2, 0.3, -4.0]) == [0, 8, -4, 0, 1, -8]
    assert heat_levels([0.0, 0.0]) == [0, 0] and heat_levels([]) == []
    assert encode_levels([-8, 0, 8]) == "aiq"


@given(st.lists(st.integers(-LEVELS, LEVELS), min_size=1, max_size=600), st.data())
def test_runs_cover_the_text_and_show_the_entity(levels, data):
    start = data.draw(st.integers(0, len(levels) - 1))
    entity = (start, data.draw(st.integers(start + 1, len(levels))))
    runs = heat_runs(levels, entity)
    assert [place for run in runs for place in range(run.start, run.end)] == list(range(len(levels)))
    for run in runs:
        if run.is_gap:
            assert not run.is_entity and len(levels) > WHOLE
        else:
            assert set(levels[run.start : run.end]) == {run.level}
        assert all(run.is_entity == (entity[0] <= place < entity[1]) for place in range(run.start, run.end))


def test_far_from_the_entity_only_strong_places_are_shown():
    levels = [0] * 1000
    levels[500], levels[600] = LEVELS, 1
    gaps = [(run.start, run.end) for run in heat_runs(levels, (10, 12)) if run.is_gap]
    assert gaps == [(48, 492), (509, 1000)]
