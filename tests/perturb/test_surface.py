import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.surface import (
    GROUPS,
    OPERATIONS,
    SHAPE,
    SOUND,
    SPEECH,
    ClauseShuffle,
    ConfusionEdit,
    Confusions,
    PunctuationEdit,
    rearranged,
)
from hf_adner.perturb.units import HAN, text_units

from .documents import annotated, check, documents, english, note


@given(documents(), st.integers(0, 3), st.floats(0.01, 1))
def test_only_signs_and_spaces_change(document, seed, share):
    result = PunctuationEdit(share)(document, seed)
    if result is not None:
        check(result, document)
        gone = [document.text[place] for place in result.edited if result.alignment[place] is None]
        assert not result.masked and not any(character.isalnum() for character in gone)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_alone(operation):
    results = [PunctuationEdit(0.3, (operation,))(note(), seed) for seed in range(10)]
    for result in results:
        check(result, note())
        kept = result.document.text.replace(" ", "")
        if operation == "insert":
            assert kept == note().text.replace(" ", "") and result.inserted
        elif operation == "delete":
            assert len(result.document.text) < len(note().text)
        else:
            assert result.alignment.is_identity and result.edited
    assert len({result.document.text for result in results}) > 1


def _results(text, operation, **labels):
    document = annotated(text, labels)
    found = (PunctuationEdit(0.01, (operation,))(document, seed) for seed in range(30))
    return {result.document.text for result in found if result is not None}


def test_signs_that_part_entities_words_or_figures_stay():
    assert _results("红斑、瘙痒，重", "delete", 红斑="Symptom", 瘙痒="Symptom") == {"红斑、瘙痒重"}
    assert _results("itch and rash", "delete") == set()
    assert _results("a,b 1,2", "delete") == set()
    assert _results("查 IgE", "delete") == {"查IgE"}
    assert _results("共1，2天", "delete") == set()  # 12天 is another thing


def test_widths_and_exchanges():
    assert _results("痒，A", "width") == {"痒,A", "痒，Ａ"}
    assert _results("重。", "exchange") == {"重；"}
    assert _results("v1.5 x.", "exchange") == {"v1.5 x;"}
    assert _results("3天", "width") == set()


def test_spaces_come_beside_chinese_only():
    assert _results("甲乙", "insert") == {"甲 乙"}
    assert _results("ab", "insert") == set()
    assert _results("无热", "insert") == {"无 热"}
    assert _results("没有", "insert") == set()


def test_nothing_to_edit():
    assert PunctuationEdit()(Document("a", ""), 0) is None
    assert PunctuationEdit()(Document("a", "痒", (Entity(0, 1, "Symptom"),)), 0) is None
    with pytest.raises(ValueError, match="share is 0"):
        PunctuationEdit(0)
    with pytest.raises(ValueError, match="operations are"):
        PunctuationEdit(operations=("turn",))


def _orders(text, *entities):
    document = annotated(text, dict.fromkeys(entities, "Symptom"))
    results = [ClauseShuffle()(document, seed) for seed in range(40)]
    for result in results:
        if result is not None:
            check(result, document)
    return {result.document.text for result in results if result is not None}


@given(documents(), st.integers(0, 3))
def test_characters_only_move(document, seed):
    result = ClauseShuffle()(document, seed)
    if result is not None:
        check(result, document)
        assert sorted(result.document.text) == sorted(document.text)
        assert not result.edited and not result.inserted and not result.is_unchanged


def test_clauses_change_places_and_signs_stay():
    orders = {"痒，痛；热。", "热，痒；痛。", "热，痛；痒。", "痛，痒；热。", "痛，热；痒。"}
    assert _orders("痒，热；痛。", "痒", "热") == orders
    orders = {"rash, itch. pain; heat!", "itch, rash. heat; pain!", "rash, itch. heat; pain!"}
    assert orders == _orders("itch, rash. pain; heat!", "rash")


def test_a_denial_keeps_what_follows():
    assert _orders("痒，否认发热，咳嗽。", "咳嗽") == {"否认发热，咳嗽，痒。"}
    assert _orders("无热，咳嗽，痛。") == set()
    assert _orders("itch, no fever, cough.") == {"no fever, cough, itch."}


def test_stories_figures_and_entities_stay_whole():
    assert _orders("先痒，后红斑。") == set()
    assert _orders("重，湿疹，皮炎。", "湿疹，皮炎") == {"湿疹，皮炎，重。"}
    assert _orders("共1,000mg，痒") == {"痒，共1,000mg"}
    assert _orders("  痒 ，\n热  ") == set()  # two lines
    assert _orders("  痒 ， 热  ") == {"  热 ， 痒  "}
    assert _orders("痒。") == set() == _orders("")


def test_a_note_keeps_its_entities():
    result = ClauseShuffle()(note(), 0)
    assert [result.entity(index).text for index in range(6)] == [entity.text for entity in note().entities]


def test_pieces_must_fit():
    document = Document("a", "瘙痒热", (Entity(0, 2, "Symptom"),))
    assert rearranged(document, [(2, 3), (0, 2)], family="x").document.text == "热瘙痒"
    with pytest.raises(ValueError, match="the spans cut the entity 0-2"):
        rearranged(document, [(1, 3), (0, 1)], family="x")
    with pytest.raises(ValueError, match="do not cover the text of 3 characters once"):
        rearranged(document, [(0, 2)], family="x")


@pytest.mark.parametrize("groups", [SOUND, SHAPE, SPEECH])
def test_groups_are_of_chinese_characters(groups):
    assert {unit.kind for unit in text_units("".join(groups.split()))} == {HAN}
    assert len(groups.split()) > 80


def test_confusion_is_mutual():
    confusions = Confusions()
    characters = {character for groups in GROUPS.values() for character in "".join(groups.split())}
    assert len(confusions) > 900
    for character in characters:
        assert character not in confusions.confused_with(character)
        assert all(character in confusions.confused_with(other) for other in confusions.confused_with(character))


def test_causes():
    assert "政" in Confusions(["sound"]).confused_with("症") and "证" not in Confusions(["speech"]).confused_with("症")
    assert Confusions(["shape"]).confused_with("己") == tuple(sorted("已巳"))
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


def test_short_and_uniform_words_stay():
    document = Document("a", "ab aaaa 1234")
    assert Confusions().propose(document, text_units(document.text), random.Random(0)) == [None] * 5
