import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.surface import GROUPS, SHAPE, SOUND, SPEECH, ConfusionEdit, Confusions
from hf_adner.perturb.units import HAN, text_units

from .documents import check, documents, english


@pytest.mark.parametrize("groups", [SOUND, SHAPE, SPEECH])
def test_groups_are_of_chinese_characters(groups):
    assert {unit.kind for unit in text_units("".join(groups.split()))} == {HAN}
    assert len(groups.split()) > 80


def test_confusion_is_mutual():
    confusions = Confusions()
    characters = {character for groups in GROUPS.values() for character in "".join(groups.split())}
    assert len(confusions) > 900
    for character in characters:
        assert character not in confusions.of(character)
        assert all(character in confusions.of(other) for other in confusions.of(character))


def test_causes():
    assert "政" in Confusions(["sound"]).of("症") and "证" not in Confusions(["speech"]).of("症")
    assert Confusions(["shape"]).of("己") == tuple(sorted("已巳"))
    with pytest.raises(ValueError, match="expected some of"):
        Confusions(["smell"])
    with pytest.raises(ValueError, match="expected some of"):
        Confusions([])


@given(documents(), st.integers(0, 3))
def test_misspelt_context_is_aligned(document, seed):
    result = ConfusionEdit(share=0.5)(document, seed)
    if result is not None:
        check(result, document)
        assert result.alignment.is_identity and result.edited


def test_words_and_characters_are_misspelt():
    document = Document("a", "患者诉皮肤红肿", (Entity(5, 7, "Symptom"),))
    result = ConfusionEdit(share=1)(document, 1)
    assert len(result.edited) == 5 and result.document.text.endswith("红肿")
    letters = ConfusionEdit(share=1)(english(), 1)
    changed = [place for place in letters.edited if letters.document.text[place] != letters.original.text[place]]
    assert changed and "chronic eczema" in letters.document.text
    assert sorted(letters.document.text) == sorted(letters.original.text)


def test_it_is_for_tests_only():
    assert ConfusionEdit.test_only and ConfusionEdit.kind == "label-preserving"


def test_short_and_uniform_words_stay():
    document = Document("a", "ab aaaa 1234")
    assert Confusions().propose(document, text_units(document.text), random.Random(0)) == [None] * 5
