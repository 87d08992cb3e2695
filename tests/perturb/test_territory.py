import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.protected import Territory


def test_characters_and_gaps():
    closed = Territory(6, [(1, 3), (3, 5)])
    assert [closed.is_open(place, place + 1) for place in range(6)] == [True, False, False, False, False, True]
    assert [closed.is_open(gap, gap) for gap in range(7)] == [True, True, False, True, False, True, True]
    assert closed.is_open(5, 6) and not closed.is_open(0, 2)


@pytest.mark.parametrize(
    ("make", "open_places"),
    [
        (Territory.of_entities, [0, 3, 4, 5, 6]),
        (Territory.of_protected, [1, 2, 3, 6]),
        (Territory.of_context, [3, 6]),
    ],
)
def test_of_a_document(make, open_places):
    closed = make(Document("a", "无瘙痒、3天，", (Entity(1, 3, "Symptom"),)))
    assert [place for place in range(7) if closed.is_open(place, place + 1)] == open_places
