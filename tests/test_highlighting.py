"""Colours of labels and what stays on a line."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.highlighting import SHORT, TONES, WIDE, line_class, mixed, painted, shows_colours, text_width, tones_of


def test_colours_follow_the_labels_of_the_model():
    assert tones_of({"b", "z", "a"}, ["z", "y", "b"]) == {"z": 0, "y": 1, "b": 2, "a": 3}
    assert tones_of(["b", "a"]) == {"a": 0, "b": 1}


@given(st.lists(st.text(max_size=3), max_size=20), st.lists(st.text(max_size=3), max_size=20))
def test_every_label_has_a_colour_of_its_own(labels, order):
    tones = tones_of(labels, order)
    assert set(labels) | set(order) == set(tones) and sorted(tones.values()) == list(range(len(tones)))
    assert all(tones_of([], order)[label] == tones[label] for label in order)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("tone", TONES)
def test_letters_on_a_colour_can_be_read(tone):
    assert (luminance("#ffffff") + 0.05) / (luminance(tone) + 0.05) >= 4.5
    assert mixed(tone, "#ffffff", 1) == tone and mixed(tone, "#ffffff", 0) == "#ffffff"


def test_short_entities_stay_on_a_line():
    assert text_width("红斑ab") == 3.0
    assert line_class("红斑", "Symptom") == "kept" and line_class("红\n斑", "Symptom") == ""
    assert line_class("红" * int(SHORT), "A") == "kept-wide" and line_class("红" * int(WIDE), "A") == ""
    assert line_class("红斑", "很长的标签" * 20) == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "shown"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_a_terminal_shows_colours_unless_asked_not_to(stream, environment, shown):
    assert shows_colours(stream, environment) is shown


def test_a_painted_text_ends_its_colour():
    assert painted("红斑", 0).startswith("\x1b[48;5;") and painted("红斑", 0).endswith("红斑\x1b[0m")
    assert painted("a", 1) == painted("a", 1 + len(TONES)) != painted("a", 2)
