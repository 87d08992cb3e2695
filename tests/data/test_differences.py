"""What differs between two annotations of a text, and which documents belong together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.differences import KINDS, Difference, differences, paired
from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document


def test_each_kind_of_difference():
    first = [(0, 4, "A"), (5, 7, "B"), (8, 10, "A"), (11, 13, "A"), (20, 22, "A")]
    second = [(0, 4, "A"), (5, 7, "C"), (8, 9, "A"), (12, 15, "B"), (30, 32, "A")]
    assert differences(first, second) == [
        Difference("label", (5, 7, "B"), (5, 7, "C")),
        Difference("boundary", (8, 10, "A"), (8, 9, "A")),
        Difference("label and boundary", (11, 13, "A"), (12, 15, "B")),
        Difference("superfluous", (20, 22, "A"), None),
        Difference("missing", None, (30, 32, "A")),
    ]


def test_pairs_have_the_largest_overlap():
    assert differences([(0, 6, "A")], [(0, 2, "A"), (2, 6, "A")]) == [
        Difference("missing", None, (0, 2, "A")),
        Difference("boundary", (0, 6, "A"), (2, 6, "A")),
    ]


SPANS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 4), st.sampled_from("AB")).map(lambda d: (d[0], d[0] + d[1], d[2])),
    max_size=6,
)
SWAPPED = {"missing": "superfluous", "superfluous": "missing"}


@given(SPANS, SPANS)
def test_every_entity_is_shared_or_in_one_difference(first, second):
    found = differences(first, second)
    ours = [one.first for one in found if one.first is not None]
    theirs = [one.second for one in found if one.second is not None]
    shared = list(first)
    for span in ours:
        shared.remove(span)
    assert sorted(shared + theirs) == sorted(second) and {one.kind for one in found} <= set(KINDS)
    swapped = [(SWAPPED.get(one.kind, one.kind), one.place) for one in differences(second, first)]
    assert sorted(kind for kind, _ in swapped) == sorted(one.kind for one in found)
    assert differences(first, first) == []


def test_documents_are_paired_by_id():
    one, other = [Document("a", "x"), Document("b", "y")], [Document("b", "y"), Document("a", "x")]
    assert paired(one, other) == [(one[0], other[1]), (one[1], other[0])]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ([Document("a", "红斑")], "b.jsonl: 1 documents are not in it, beginning with 'b'"),
        ([Document("a", "红斑"), Document("b", "无"), Document("c", "")], "a.jsonl: 1 documents are not in it"),
        ([Document("a", "红斑"), Document("b", "无癣")], "b.jsonl, record 'b': the texts differ from character 1 on"),
        ([Document("a", "红疹"), Document("b", "无")], "record 'a': the texts differ from character 1 on"),
        ([Document("a", "红斑"), Document("a", "红斑")], "b.jsonl, record 'a': the id occurs twice"),
    ],
)
def test_documents_that_do_not_belong_together_are_named(second, told):
    with pytest.raises(DataFormatError) as caught:
        paired([Document("a", "红斑"), Document("b", "无")], second, ("a.jsonl", "b.jsonl"))
    assert told in str(caught.value)
