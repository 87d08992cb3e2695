import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.edits import Edit, apply_edits
from hf_adner.perturb.perturbation import BOUNDARY, MASK, CharacterAlignment, Perturbed, masked_tokens


def _document():
    return Document("a", "患者瘙痒三日余", (Entity(2, 4, "Symptom"),))


def test_unchanged():
    result = Perturbed.unchanged(_document(), "punctuation")
    assert result.is_unchanged and result.families == ("punctuation",)
    assert result.kept == [(place, place) for place in range(7)]
    assert result.entity(0) == _document().entities[0]


def test_one_after_the_other_adds_up():
    document = _document()
    first = apply_edits(
        document,
        [Edit(0, 1, MASK, masked=True), Edit(6, 7, MASK, masked=True), Edit(2, 2, "有")],
        family="context-masking",
    )
    second = apply_edits(
        first.document, [Edit(0, 1, "病"), Edit(2, 3, "伴"), Edit(1, 1, "重")], family="b", kind=BOUNDARY
    )
    both = first.then(second)
    assert both.document.text == "病重者伴瘙痒三日□"
    assert both.edited == (0, 6)
    assert both.masked == (8,)
    assert both.inserted == (1, 3)
    assert both.families == ("context-masking", "b") and both.kind == BOUNDARY
    assert both.original is document and both.entity(0).text == "瘙痒"
    assert not both.is_unchanged
    assert Perturbed.unchanged(document).then(first).alignment == first.alignment
    with pytest.raises(ValueError, match="starts from another text"):
        second.then(first)


def test_a_deleted_character_is_a_change():
    result = apply_edits(_document(), [Edit(6, 7, "")], family="x")
    assert not result.is_unchanged and result.edited == (6,)


def test_tokens_of_masked_characters():
    assert masked_tokens([(0, 0), (0, 2), (2, 3), (3, 6), (0, 0)], [2, 5]) == [False, False, True, True, False]


@st.composite
def alignments(draw: st.DrawFn, length: int | None = None) -> CharacterAlignment:
    length = draw(st.integers(0, 8)) if length is None else length
    origins = draw(st.permutations(range(length)))[: draw(st.integers(0, length))]
    backward = list(origins)
    for _ in range(draw(st.integers(0, 3))):
        backward.insert(draw(st.integers(0, len(backward))), None)
    return CharacterAlignment.from_backward(backward, length)


@given(alignments())
def test_both_maps_lead_back(alignment):
    for start, place in enumerate(alignment.forward):
        assert place is None or alignment.backward[place] == start
    for place, start in enumerate(alignment.backward):
        assert start is None or alignment[start] == place
    assert len(alignment) == len(alignment.forward)


@given(st.data())
def test_composition_is_that_of_the_maps(data):
    first = data.draw(alignments())
    second = data.draw(alignments(len(first.backward)))
    third = data.draw(alignments(len(second.backward)))
    both = first.then(second)
    for start in range(len(first)):
        middle = first[start]
        assert both[start] == (None if middle is None else second[middle])
    assert both.then(third) == first.then(second.then(third))


@given(alignments())
def test_identity_is_neutral(alignment):
    assert CharacterAlignment.identity(len(alignment)).then(alignment) == alignment
    assert alignment.then(CharacterAlignment.identity(len(alignment.backward))) == alignment
    assert CharacterAlignment.identity(3).is_identity and not CharacterAlignment.from_backward([1, 0], 2).is_identity


def test_spans_map_where_they_stay_whole():
    alignment = CharacterAlignment.from_backward([3, 4, None, 0, 1], 5)  # 2 is gone
    assert alignment.map_span(3, 5) == (0, 2)
    assert alignment.map_span(0, 2) == (3, 5)
    assert alignment.map_span(1, 3) is None
    assert alignment.map_span(2, 3) is None
    assert CharacterAlignment.from_backward([0, None, 1], 2).map_span(0, 2) is None
    with pytest.raises(ValueError, match="span 4-6 is outside a text of 5"):
        alignment.map_span(4, 6)


def test_wrong_maps_are_refused():
    with pytest.raises(ValueError, match="forward maps 0 to 1"):
        CharacterAlignment((1,), (0,))
    with pytest.raises(ValueError, match="backward maps 0 to 0"):
        CharacterAlignment((None,), (0,))
    with pytest.raises(ValueError, match="comes from 2, expected a place in 0..1"):
        CharacterAlignment.from_backward([2], 2)
    with pytest.raises(ValueError, match="does not lead back"):
        CharacterAlignment.from_backward([0, 0], 1)
    with pytest.raises(ValueError, match="from 2 characters cannot follow one to 1"):
        CharacterAlignment.identity(1).then(CharacterAlignment.identity(2))
