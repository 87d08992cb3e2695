"""Pieces of overlapping spans."""

from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Entity, nested_pieces

SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=8)


def sorted_entities(spans):
    entities = [Entity(start, start + length, "x") for start, length in spans]
    return sorted(entities, key=lambda one: (one.start, -one.end))


def test_a_crossing_span_is_cut_at_the_edge():
    first, second = sorted_entities([(0, 4), (2, 5)])
    pieces = nested_pieces([first, second])
    assert [(one.start, one.end, one.goes_on) for one in pieces] == [(0, 4, False), (2, 4, True), (4, 7, False)]
    assert [one.entity for one in pieces] == [first, second, second]


@given(SPANS)
def test_pieces_lie_in_one_another_or_apart_and_cover_their_spans(spans):
    entities = sorted_entities(spans)
    pieces = nested_pieces(entities)
    for number, first in enumerate(pieces):
        for second in pieces[number + 1 :]:
            assert second.start >= first.end or (first.start <= second.start and second.end <= first.end)
    for entity in entities:
        own = [one for one in pieces if one.entity is entity]
        covered = [place for one in own for place in range(one.start, one.end)]
        assert covered == list(range(entity.start, entity.end))
        assert [one.goes_on for one in own] == [True] * (len(own) - 1) + [False]
