import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.surface import ClauseShuffle, rearranged

from .documents import annotated, check, documents, note


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
    assert [result.entity(index).text for index in range(6)] == [one.text for one in note().entities]


def test_pieces_must_fit():
    document = Document("a", "瘙痒热", (Entity(0, 2, "Symptom"),))
    assert rearranged(document, [(2, 3), (0, 2)], family="x").document.text == "热瘙痒"
    with pytest.raises(ValueError, match="cut the entity 0-2"):
        rearranged(document, [(1, 3), (0, 1)], family="x")
    with pytest.raises(ValueError, match="do not cover the text of 3 characters once"):
        rearranged(document, [(0, 2)], family="x")
