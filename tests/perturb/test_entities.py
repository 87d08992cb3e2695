import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.context import EntitySurfaces, EntitySwap

from .documents import check, documents, english, note

SURFACES = EntitySurfaces(
    {"Symptom": ["丘疹", "脱屑", "左膝痛", "no itch", "a\nb", " c"], "Disease": ["荨麻疹"], "Drug": ["loratadine"]}
)


def test_surfaces_of_documents():
    surfaces = EntitySurfaces.from_documents([note(), english()])
    assert surfaces.of("Symptom") == ("fever", "severe itch", "瘙痒", "面部红斑")
    assert surfaces.of("Unknown") == ()
    assert SURFACES.of("Symptom") == ("丘疹", "脱屑")


@given(documents(), st.integers(0, 3), st.floats(0, 1))
def test_context_stays(document, seed, share):
    result = EntitySwap(SURFACES, share)(document, seed)
    if result is None:
        return
    check(result, document, swaps=True)
    inside = {place for index in result.changed_entities for place in range(*document.spans[index][:2])}
    assert result.changed_entities and set(result.edited) == inside
    for index in result.changed_entities:
        assert result.entity(index).text in SURFACES.of(document.entities[index].label)


def test_swap_in_a_note():
    result = EntitySwap(SURFACES)(note(), 0, entity=4)
    assert result.document.text == note().text.replace("特应性皮炎", "荨麻疹")
    assert result.changed_entities == (4,) and result.alignment[note().entities[4].start] is None
    everything = EntitySwap(SURFACES, share=1)(note(), 0)
    changed = {note().entities[index].text for index in everything.changed_entities}
    assert changed == {"瘙痒", "特应性皮炎", "他克莫司软膏"}


def test_nested_protected_and_unknown_entities_stay():
    assert EntitySwap(SURFACES)(note(), 0, entity=0) is None  # another one lies in it
    assert EntitySwap(SURFACES)(note(), 0, entity=1) is None
    assert EntitySwap(SURFACES)(note(), 0, entity=3) is None  # no other surface of its type
    assert EntitySwap(SURFACES)(Document("a", "左膝痛", (Entity(0, 3, "Symptom"),)), 0) is None
    assert EntitySwap(SURFACES)(Document("a", "痒"), 0) is None
    with pytest.raises(ValueError, match="share is 2, expected 0..1"):
        EntitySwap(SURFACES, 2)
