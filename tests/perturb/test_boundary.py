import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.boundary import (
    EndEdit,
    InteriorEdit,
    OuterNeighbourEdit,
    OuterUnits,
    StartEdit,
    VirtualBoundary,
    entity_units,
)
from hf_adner.perturb.context import Terms
from hf_adner.perturb.perturbation import BOUNDARY
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
    assert [_text(edit, document, 1) for edit in (StartEdit(), EndEdit(), InteriorEdit())] == ["□", "□", None]
    assert StartEdit()(document, 0, entity=0).masked == (2,)


def test_edges_are_words_of_english_entities():
    assert _text(StartEdit(), english(), 0) == "□□□□□□□ eczema"
    assert _text(EndEdit(), english(), 0) == "chronic □□□□□□"
    assert _text(InteriorEdit(), english(), 0) is None
    assert [english().text[unit.start : unit.end] for unit in entity_units(english(), 1)] == ["severe", "itch"]


def test_protected_edges_and_cut_words_stay():
    assert _text(StartEdit(), Document("a", "左膝痛", (Entity(0, 3, "S"),)), 0) is None
    assert _text(StartEdit(), Document("a", "sIgE高", (Entity(1, 5, "S"),)), 0) is None
    assert _text(StartEdit(), Document("a", "IgE高", (Entity(0, 4, "S"), Entity(0, 2, "S"))), 0) is None
    assert StartEdit()(Document("a", "痒"), 0) is None


def test_other_sources():
    result = StartEdit(Confusions(["sound"]))(annotated("诊断皮炎", {"皮炎": "Disease"}), 0)
    assert result.document.text in {"诊断疲炎", "诊断脾炎"} and not result.masked
    assert StartEdit(Confusions())(Document("a", "㐀", (Entity(0, 1, "S"),)), 0) is None


def test_a_copy_of_an_edge_in_the_context():
    document = annotated("甲乙丙湿疹", {"湿疹": "Disease"})
    texts = {VirtualBoundary()(document, seed).document.text for seed in range(30)}
    assert texts == {"甲湿乙丙湿疹", "甲乙湿丙湿疹", "甲疹乙丙湿疹", "甲乙疹丙湿疹"}
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


@given(documents(), st.integers(0, 5))
def test_one_edit_beside_an_entity(document, seed):
    result = OuterNeighbourEdit()(document, seed)
    if result is None:
        return
    check(result, document)
    new = set(result.inserted) | {result.alignment[place] for place in result.edited} - {None}
    touched = range(min(new), max(new) + 1)
    assert any(
        entity.start - 1 <= touched[-1] + 1 and touched[0] - 1 <= entity.end
        for entity in map(result.entity, range(len(document.entities)))
    )


def _results(document, entity=0, **options):
    results = [OuterNeighbourEdit(**options)(document, seed, entity=entity) for seed in range(40)]
    return {result.document.text for result in results if result is not None}


UNITS = OuterUnits(["伴", "with"], ["等", "and"])


def test_replace_and_insert_on_both_sides():
    document = annotated("有湿疹史", {"湿疹": "Disease"})
    assert _results(document, units=UNITS) == {"伴湿疹史", "有伴湿疹史", "有湿疹等", "有湿疹等史"}
    assert _results(document, units=UNITS, operations=["insert"], sides=["left"]) == {"有伴湿疹史"}


def test_words_stand_beside_words():
    document = annotated("has itch now", {"itch": "Symptom"})
    expected = {"with itch now", "has with itch now", "has itch and", "has itch and now"}
    assert _results(document, units=UNITS) == expected
    mixed = annotated("查IgE高", {"IgE": "Test"})
    assert _results(mixed, units=UNITS, operations=["insert"]) == {"查伴IgE高", "查IgE等高"}
    assert _results(annotated("itch", {"itch": "Symptom"}), units=UNITS) == {"with itch", "itch and"}


def test_terms_must_not_come_about():
    document = annotated("有湿疹史", {"湿疹": "Disease"})
    terms = Terms(Lexicon(["伴湿疹", "有伴", "等史", "伴"]))
    assert _results(document, units=UNITS, terms=terms) == {"有湿疹等"}


def test_protected_neighbours_and_cut_words_stay():
    document = annotated("无湿疹3天", {"湿疹": "Disease"})
    assert _results(document, units=UNITS, operations=["replace"]) == set()
    assert _results(Document("a", "sIgE", (Entity(1, 4, "Test"),)), units=UNITS, sides=["left"]) == set()
    assert OuterNeighbourEdit()(Document("a", "无"), 0) is None
    assert _results(annotated("红斑瘙痒", {"红斑": "S", "瘙痒": "S"}), units=UNITS, operations=["replace"]) == set()


def test_units_of_documents():
    documents = [annotated(f"伴湿疹，{sign}", {"湿疹": "Disease"}) for sign in "甲乙丙"]
    documents.append(annotated("无湿疹史", {"湿疹": "Disease"}))
    units = OuterUnits.from_documents(documents, min_count=3)
    assert units.candidates("left", "han") == [("伴", 3)] and units.candidates("right", "han") == [("，", 3)]
    assert OuterUnits.from_documents(documents, min_count=1).candidates("right", "han") == [("史", 1), ("，", 3)]
    assert OuterUnits(["无", " ", "左"], []).candidates("left", "han") == []


def test_notes_get_an_edit():
    for document in (note(), english()):
        for index in range(len(document.entities)):
            result = OuterNeighbourEdit()(document, 3, entity=index)
            assert result is None or check(result, document) is None
        assert OuterNeighbourEdit()(document, 3) is not None


@pytest.mark.parametrize("options", [{"operations": []}, {"sides": ["top"]}, {"operations": ["turn"]}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected some of"):
        OuterNeighbourEdit(**options)
