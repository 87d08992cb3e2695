"""Windows for entities of long texts."""

import pytest

from hf_adner.explain.text_windows import cover_text, place_entities


def fits(limit: int):
    return lambda texts: all(len(text) <= limit for text in texts)


def test_a_short_text_is_one_window():
    (passage,) = place_entities(3, "x" * 20, [(0, 2, "A"), (19, 20, "A")], 20, fits(20))
    assert passage.text == 3 and passage.window == (0, 20) and [index for index, _ in passage.entities] == [0, 1]


def test_an_entity_goes_where_it_has_most_context():
    text = "x" * 50
    entities = [(start, start + 3, "A") for start in range(48)]
    passages = place_entities(0, text, entities, 20, fits(20))
    assert sorted(index for passage in passages for index, _ in passage.entities) == list(range(48))
    for passage in passages:
        for _, (start, end, _) in passage.entities:
            assert passage.window.start <= start and end <= passage.window.end
            left = start - passage.window.start if passage.window.start else 99
            right = passage.window.end - end if passage.window.end < 50 else 99
            assert min(left, right) >= 3


def test_an_entity_longer_than_the_overlap_gets_its_own_window():
    (passage,) = place_entities(0, "x" * 100, [(5, 23, "A")], 20, fits(20))
    assert passage.window == (4, 24)


def test_windows_shrink_until_they_fit():
    windows, size = cover_text("x" * 100, 40, fits(10))
    assert size <= 10 and windows[0].start == 0 and windows[-1].end == 100


def test_no_limit_and_no_text():
    assert cover_text("x" * 999, None, fits(1))[0] == [(0, 999)]
    assert cover_text("", 5, fits(5))[0] == []


def test_errors():
    with pytest.raises(ValueError, match="entity 0-21 has 21 characters"):
        place_entities(0, "x" * 30, [(0, 21, "A")], 20, fits(20))
    with pytest.raises(ValueError, match="no room for text"):
        cover_text("xxx", 2, fits(0))
