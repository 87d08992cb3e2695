import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity, first_overlap, flatten

TEXT = "患者面部皮炎伴瘙痒"


def test_entities_are_filled_in_and_sorted():
    document = Document("a", TEXT, (Entity(7, 9, "Symptom"), Entity(2, 4, "BodySite"), Entity(2, 6, "Disease")))
    assert document.spans == [(2, 6, "Disease"), (2, 4, "BodySite"), (7, 9, "Symptom")]
    assert [entity.text for entity in document.entities] == ["面部皮炎", "面部", "瘙痒"]


def test_whole_numbers_of_other_libraries_become_integers():
    entity = Entity(np.int64(1), np.int32(3), "A")
    assert (type(entity.start), type(entity.end)) == (int, int)


@pytest.mark.parametrize("start", [True, 1.0, float("nan"), "1", None, np.float32(1), np.bool_(True)])
def test_other_offsets_are_refused(start):
    with pytest.raises(DataFormatError, match="start must be an integer"):
        Entity(start, 3, "A")


@pytest.mark.parametrize("start, end", [(-1, 2), (2, 2), (3, 2)])
def test_spans_that_enclose_nothing_are_refused(start, end):
    with pytest.raises(DataFormatError, match="0 <= start < end"):
        Entity(start, end, "A")


def test_documents_that_do_not_fit_together_are_refused():
    with pytest.raises(DataFormatError, match="reaches outside the text of 9 characters"):
        Document("a", TEXT, (Entity(7, 10, "A"),))
    with pytest.raises(DataFormatError, match="recorded as '痒瘙', but the text there is '瘙痒'"):
        Document("a", TEXT, (Entity(7, 9, "A", "痒瘙"),))
    with pytest.raises(DataFormatError, match="7-9 'A' is given more than once"):
        Document("a", TEXT, (Entity(7, 9, "A"), Entity(2, 4, "A"), Entity(7, 9, "A")))
    with pytest.raises(DataFormatError, match="half of a surrogate pair at character 1"):
        Document("a", "a\ud83d")
    with pytest.raises(DataFormatError, match="id must be a non-empty string"):
        Document("", TEXT)
    with pytest.raises(DataFormatError, match="meta must be an object"):
        Document("a", TEXT, meta=[1])


def test_records_can_be_hashed_and_compared():
    one, other = (Document("a", TEXT, (Entity(7, 9, "A", meta={"x": [1]}),), {"y": {}}) for _ in range(2))
    assert one == other and len({one, other}) == 1
    assert dataclasses.replace(one, entities=()) != other


def test_flatten_keeps_the_outermost():
    inner, outer, after = Entity(2, 4, "BodySite"), Entity(2, 6, "Disease"), Entity(7, 9, "Symptom")
    assert flatten([inner, outer, after]) == ((outer, after), (inner,))
    assert flatten([inner, outer, after], "innermost") == ((inner, after), (outer,))
    with pytest.raises(ValueError, match="nested must be one of"):
        flatten([inner], "middle")


def test_flatten_settles_ties_without_regard_to_order():
    first, second, third = Entity(2, 4, "B"), Entity(2, 4, "A"), Entity(3, 5, "A")
    assert flatten([first, second, third]) == flatten([third, second, first]) == ((second,), (first, third))


def test_flattened_document_says_what_it_had():
    document = Document("a", TEXT, (Entity(2, 4, "BodySite"), Entity(2, 6, "Disease")), {"k": 1})
    assert document.has_overlaps
    flat = document.flattened()
    assert flat.spans == [(2, 6, "Disease")] and flat.meta == {"k": 1} and not flat.has_overlaps
    assert flat.flattened() is flat


spans = st.lists(
    st.tuples(st.integers(0, 19), st.integers(1, 8), st.sampled_from("AB")).map(
        lambda item: Entity(item[0], min(20, item[0] + item[1]), item[2])
    ),
    unique_by=lambda entity: (entity.start, entity.end, entity.label),
    max_size=8,
)


@given(spans, st.sampled_from(["outermost", "innermost"]))
def test_flatten_is_disjoint_complete_and_maximal(entities, nested):
    kept, left_out = flatten(entities, nested)
    assert sorted(map(id, (*kept, *left_out))) == sorted(map(id, entities))
    assert all(first.end <= second.start for first, second in zip(kept, kept[1:]))
    assert all(any(one.start < other.end and other.start < one.end for other in kept) for one in left_out)


@given(spans)
def test_first_overlap_agrees_with_all_pairs(entities):
    document = Document("a", "x" * 20, tuple(entities))
    pairs = [(a, b) for i, a in enumerate(document.entities) for b in document.entities[i + 1 :]]
    overlapping = [(a, b) for a, b in pairs if a.start < b.end and b.start < a.end]
    crossing = [(a, b) for a, b in overlapping if a.start < b.start < a.end < b.end]
    assert (first_overlap(document.entities, crossing=False) is not None) == bool(overlapping) == document.has_overlaps
    assert (first_overlap(document.entities, crossing=True) is not None) == bool(crossing)
