import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.edits import Edit, EditError, apply_edits, apply_guarded, mask_edit, spliced
from hf_adner.perturb.perturbed import BOUNDARY, MASK
from hf_adner.perturb.protected import Territory

from .documents import check, documents


def _document(text="面部红斑伴瘙痒。"):
    return Document("a", text, (Entity(0, 4, "Symptom"), Entity(0, 2, "Site"), Entity(5, 7, "Symptom")), {"k": 1})


@st.composite
def edited_documents(draw):
    document = draw(documents())
    closed = Territory.of_context(document)
    edits, place = [], 0
    while place < len(document.text) and draw(st.booleans()):
        start = draw(st.integers(place, len(document.text)))
        end = draw(st.integers(start, min(start + 3, len(document.text))))
        if closed.is_open(start, end):
            edits.append(Edit(start, end, draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=3))))
        place = end + 1
    return document, edits


@given(edited_documents())
def test_edits_of_the_context_keep_entities(given_edits):
    document, edits = given_edits
    result = apply_edits(document, edits, family="x")
    assert result.document.text == spliced(document.text, edits)
    for index, entity in enumerate(document.entities):
        moved = result.entity(index)
        assert moved.text == entity.text
        assert result.alignment.map_span(entity.start, entity.end) == (moved.start, moved.end)
    assert all(result.document.text[place] == document.text[start] for start, place in result.kept)
    guarded = apply_guarded(document, edits, family="x")
    if guarded is not None:
        check(guarded, document)


def test_insertions_at_edges_stay_outside():
    result = apply_edits(_document(), [Edit(0, 0, "有"), Edit(5, 5, "及"), Edit(7, 7, "著")], family="x")
    assert result.document.text == "有面部红斑伴及瘙痒著。"
    assert [(one.start, one.end) for one in result.document.entities] == [(1, 5), (1, 3), (7, 9)]
    assert result.inserted == (0, 6, 9)
    assert result.edited == ()


def test_insertion_between_touching_and_nested_entities():
    document = Document("a", "红斑瘙痒", (Entity(0, 2, "S"), Entity(2, 4, "S")))
    result = apply_edits(document, [Edit(2, 2, "及")], family="x")
    assert [one.text for one in result.document.entities] == ["红斑", "瘙痒"]
    with pytest.raises(EditError, match="edit 2-2 lies in an entity"):
        apply_edits(_document(), [Edit(2, 2, "及")], family="x")


def test_replacements_align_only_at_equal_length():
    result = apply_edits(_document(), [Edit(4, 5, "及与"), mask_edit(7, 8)], family="x")
    assert result.document.text == "面部红斑及与瘙痒" + MASK
    assert result.alignment.forward == (0, 1, 2, 3, None, 6, 7, 8)
    assert (result.edited, result.masked, result.families) == ((4, 7), (8,), ("x",))
    assert result.changed_entities == ()


def test_edits_in_entities_only_where_allowed():
    edit = Edit(0, 2, "四肢内侧", aligned=False)
    with pytest.raises(EditError, match="edit 0-2 lies in an entity"):
        apply_edits(_document(), [edit], family="x")
    result = apply_edits(_document(), [edit], family="x", kind=BOUNDARY, inside_entities=True)
    assert [one.text for one in result.document.entities] == ["四肢内侧红斑", "四肢内侧", "瘙痒"]
    assert result.changed_entities == (0, 1)
    assert result.kind == BOUNDARY


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Edit(7, 9, "")], "edit 7-9 lies outside the text of 8 characters"),
        ([Edit(4, 3, "")], "lies outside"),
        ([Edit(4, 5, "x"), Edit(4, 5, "y")], "meet in the same place"),
        ([Edit(4, 4, "x"), Edit(4, 4, "y")], "meet in the same place"),
        ([Edit(3, 5, "x")], "edit 3-5 crosses the edge of an entity at 4"),
        ([Edit(4, 8, "x")], "crosses the edge of an entity at 5"),
        ([Edit(0, 4, "")], "crosses the edge of an entity at 2"),
        ([Edit(5, 7, "")], "leave nothing of the entity 5-7"),
    ],
)
def test_bad_edits_are_refused(edits, message):
    with pytest.raises(EditError, match=message):
        apply_edits(_document(), edits, family="x", inside_entities=True)


def test_guard_leaves_out_what_touches_or_makes_protected_words():
    document = Document("a", "五官无痒，1，2天")
    edits = [Edit(0, 1, "无"), Edit(2, 3, "有"), Edit(6, 7, ""), Edit(3, 4, "热")]
    result = apply_guarded(document, edits, family="x")
    assert result.document.text == "五官无热，1，2天"
    assert apply_guarded(document, edits[:3], family="x") is None
    assert apply_guarded(document, [], family="x") is None
