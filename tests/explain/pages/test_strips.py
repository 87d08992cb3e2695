"""Small charts: what stands where, and how high."""

import pytest

from hf_adner.view.charts import CELL, HEIGHT, LONGEST, STRIP_REACH, TOP, grouped_strip, stacked_strip

TEXT = "患者四肢红斑伴瘙痒"


def test_bars_are_as_high_as_their_probability():
    strip = grouped_strip(TEXT, (4, 6), {"begins": [0, 0, 0, 0, 1.0, 0, 0, 0, 0], "ends": [0.5] * 9})
    assert [cell.character for cell in strip.cells] == list(TEXT)
    assert [cell.place for cell in strip.cells if cell.is_entity] == [4, 5]
    first = [bar for bar in strip.bars if bar.series == 0]
    assert [(bar.height, bar.y) for bar in first] == [(HEIGHT, TOP)] and "begins 1.000 at 红 (4)" in first[0].title
    assert {bar.height for bar in strip.bars if bar.series == 1} == {HEIGHT / 2}
    assert strip.shade == ((strip.cells[4].x - CELL / 2, 2 * CELL),)
    assert all(0 <= bar.x and bar.x + bar.width <= strip.width for bar in strip.bars)


def test_shares_fill_the_cell():
    strip = stacked_strip(TEXT, (4, 6), {"local": [3.0] * 8 + [0.0], "global": [1.0] * 8 + [0.0]})
    assert [bar.height for bar in strip.bars[:2]] == [0.75 * HEIGHT, 0.25 * HEIGHT]
    assert strip.bars[0].y + strip.bars[0].height == strip.baseline == TOP + HEIGHT
    assert len(strip.bars) == 16  # the last character has no weight at all


def test_of_a_long_entity_both_ends():
    text = "红" * 300
    strip = grouped_strip(text, (50, 250), {"begins": [0.1] * 300})
    places = [cell.place for cell in strip.cells]
    assert (
        len(places) == LONGEST
        and places[0] == 50 - STRIP_REACH
        and places[-1] == 249 + STRIP_REACH
        and len(strip.breaks) == 1
    )
    assert len(strip.shade) == 2


@pytest.mark.parametrize("character, shown", [("\n", "↵"), (" ", "␣"), ("\x00", "\u2400"), ("<", "<")])
def test_white_space_is_seen(character, shown):
    assert grouped_strip(character, (0, 1), {}).cells[0].character == shown
