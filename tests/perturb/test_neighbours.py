import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.boundary import OuterNeighbourEdit, OuterUnits
from hf_adner.perturb.context import Terms

from .documents import annotated, check, documents, english, note


@given(documents(), st.integers(0, 5))
def test_one_edit_beside_an_entity(document, seed):
    result = OuterNeighbourEdit()(document, seed)
    if result is None:
        return
    check(result, document)
    new = set(result.inserted) | {result.alignment[place] for place in result.edited} - {None}
    touched = range(min(new), max(new) + 1)
    assert any(
        one.start - 1 <= touched[-1] + 1 and touched[0] - 1 <= one.end
        for one in (result.entity(index) for index in range(len(document.entities)))
    )


def _results(document, entity=0, **options):
    found = [OuterNeighbourEdit(**options)(document, seed, entity=entity) for seed in range(40)]
    return {one.document.text for one in found if one is not None}


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
    assert units.of("left", "han") == [("伴", 3)] and units.of("right", "han") == [("，", 3)]
    assert OuterUnits.from_documents(documents, min_count=1).of("right", "han") == [("史", 1), ("，", 3)]
    assert OuterUnits(["无", " ", "左"], []).of("left", "han") == []


def test_notes_get_one():
    for document in (note(), english()):
        for index in range(len(document.entities)):
            result = OuterNeighbourEdit()(document, 3, entity=index)
            assert result is None or check(result, document) is None
        assert OuterNeighbourEdit()(document, 3) is not None


@pytest.mark.parametrize("options", [{"operations": []}, {"sides": ["top"]}, {"operations": ["turn"]}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected some of"):
        OuterNeighbourEdit(**options)
