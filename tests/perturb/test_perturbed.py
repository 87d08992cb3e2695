import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.edits import Edit, apply_edits, mask_edit
from hf_adner.perturb.perturbed import BOUNDARY, Perturbed, masked_tokens


def _document():
    return Document("a", "患者瘙痒三日余", (Entity(2, 4, "Symptom"),))


def test_unchanged():
    result = Perturbed.unchanged(_document(), "p8")
    assert result.is_unchanged and result.families == ("p8",)
    assert result.kept == [(place, place) for place in range(7)]
    assert result.entity(0) == _document().entities[0]


def test_one_after_the_other_adds_up():
    document = _document()
    first = apply_edits(document, [mask_edit(0, 1), mask_edit(6, 7), Edit(2, 2, "有")], family="p1")
    second = apply_edits(
        first.document, [Edit(0, 1, "病"), Edit(2, 3, "伴"), Edit(1, 1, "重")], family="b", kind=BOUNDARY
    )
    both = first.then(second)
    assert both.document.text == "病重者伴瘙痒三日□"
    assert both.edited == (0, 6)
    assert both.masked == (8,)
    assert both.inserted == (1, 3)
    assert both.families == ("p1", "b") and both.kind == BOUNDARY
    assert both.original is document and both.entity(0).text == "瘙痒"
    assert not both.is_unchanged
    assert Perturbed.unchanged(document).then(first).alignment == first.alignment
    with pytest.raises(ValueError, match="not one of this result"):
        second.then(first)


def test_a_deleted_character_is_a_change():
    result = apply_edits(_document(), [Edit(6, 7, "")], family="x")
    assert not result.is_unchanged and result.edited == (6,)


def test_tokens_of_masked_characters():
    assert masked_tokens([(0, 0), (0, 2), (2, 3), (3, 6), (0, 0)], [2, 5]) == [False, False, True, True, False]
