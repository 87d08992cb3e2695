import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.boundary import EndEdit, InteriorEdit, StartEdit, VirtualBoundary, edge_edits, entity_units
from hf_adner.perturb.perturbed import BOUNDARY
from hf_adner.perturb.surface import Confusions

from .documents import annotated, check, documents, english, note


@given(documents(), st.integers(0, 3), st.sampled_from([StartEdit, EndEdit, InteriorEdit, VirtualBoundary]))
def test_results_fit_together(document, seed, make):
    result = make()(document, seed)
    if result is not None:
        check(result, document)
        assert result.kind == BOUNDARY and not result.is_unchanged


def _text(perturbation, document, entity):
    result = perturbation(document, 0, entity=entity)
    return None if result is None else result.entity(entity).text


def test_edges_and_interior_of_chinese_entities():
    document = annotated("诊断湿疹样皮炎，痒", {"湿疹样皮炎": "Disease", "痒": "Symptom"})
    assert _text(StartEdit(), document, 0) == "□疹样皮炎"
    assert _text(EndEdit(), document, 0) == "湿疹样皮□"
    assert _text(InteriorEdit(), document, 0) in {"湿□样皮炎", "湿疹□皮炎", "湿疹样□炎"}
    assert [_text(one, document, 1) for one in edge_edits()] == ["□", "□", None]
    assert StartEdit()(document, 0, entity=0).masked == (2,)


def test_edges_are_words_of_english_entities():
    assert _text(StartEdit(), english(), 0) == "□□□□□□□ eczema"
    assert _text(EndEdit(), english(), 0) == "chronic □□□□□□"
    assert _text(InteriorEdit(), english(), 0) is None
    assert [english().text[unit.start : unit.end] for unit in entity_units(english(), 1)] == ["severe", "itch"]


def test_protected_edges_and_cut_words_stay():
    assert _text(StartEdit(), Document("a", "左膝痛", (Entity(0, 3, "S"),)), 0) is None
    assert _text(StartEdit(), Document("a", "sIgE高", (Entity(1, 5, "S"),)), 0) is None
    assert StartEdit()(Document("a", "痒"), 0) is None


def test_other_sources():
    result = StartEdit(Confusions(["sound"]))(annotated("诊断皮炎", {"皮炎": "Disease"}), 0)
    assert result.document.text in {"诊断疲炎", "诊断脾炎"} and not result.masked
    assert StartEdit(Confusions())(Document("a", "㐀", (Entity(0, 1, "S"),)), 0) is None


def test_a_copy_of_an_edge_in_the_context():
    document = annotated("甲乙丙湿疹", {"湿疹": "Disease"})
    found = {VirtualBoundary()(document, seed).document.text for seed in range(30)}
    assert found == {"甲湿乙丙湿疹", "甲乙湿丙湿疹", "甲疹乙丙湿疹", "甲乙疹丙湿疹"}
    near = {VirtualBoundary(reach=1)(document, seed).document.text for seed in range(30)}
    assert near == {"甲乙湿丙湿疹", "甲乙疹丙湿疹"}
    result = VirtualBoundary()(english(), 1, entity=1)
    assert result.document.text.count("severe ") + result.document.text.count("itch ") == 3
    assert VirtualBoundary()(annotated("湿疹", {"湿疹": "Disease"}), 0) is None
    with pytest.raises(ValueError, match="reach is 0"):
        VirtualBoundary(0)


def test_entities_are_tried_until_one_can_be_edited():
    result = InteriorEdit()(note(), 0)
    assert result is not None and len(result.edited) == 1
