"""A note's text with its entities, nested and crossing ones as well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner import Entity
from hf_adner.explain.explanation import ExplainedNote
from hf_adner.view.page import make_note_view, summarise

from .notes import NOTE, SPANS, explanation, many

SPAN = st.integers(0, len(NOTE) - 1).flatmap(
    lambda start: st.tuples(st.just(start), st.integers(start + 1, len(NOTE)), st.sampled_from(["Symptom", "Drug"]))
)


def view(spans, text=NOTE):
    return make_note_view("n1", ExplainedNote("a", text, many(text, spans)), (0.8, 0.5))


@given(st.lists(SPAN, max_size=5))
def test_tokens_nest_and_spell_the_text(spans):
    note = view(spans)
    around, covered, closed = [], {section.key: "" for section in note.sections}, []
    for token in note.tokens:
        if token.kind == "open":
            around.append(token.section.key)
        elif token.kind == "close":
            assert around.pop() == token.section.key
            closed += [token.section.key] if token.is_last else []
        else:
            for key in around:
                covered[key] += token.text
    assert around == [] and sorted(closed) == sorted(covered)  # each entity has one last piece
    assert "".join(token.text for token in note.tokens) == NOTE
    assert all(covered[section.key] == section.entity.text for section in note.sections)


def test_sections_stand_by_place_with_longer_entities_first():
    note = view(list(reversed(SPANS)))
    assert [(one.entity.start, one.entity.end) for one in note.sections] == [span[:2] for span in SPANS]
    assert [one.key for one in note.sections] == [f"n1-e{number}" for number in range(1, 6)]


def test_a_note_holds_explanations_of_its_own_text_only():
    with pytest.raises(ValueError, match="'other' has the explanation of another text"):
        ExplainedNote("other", "红斑", many())


def test_the_summary_counts_labels():
    sure = explanation()
    unsure = explanation(posterior=0.25, stability=None, entity=Entity(0, 2, "Symptom"))
    drug = explanation(entity=Entity(13, 19, "Drug"))
    rows = summarise([make_note_view("n1", ExplainedNote("a", NOTE, (sure, unsure, drug)), (0.8, 0.5))])
    assert [(row.label, row.entities, row.to_check) for row in rows] == [("Symptom", 2, 1), ("Drug", 1, 0)]
    assert rows[0].posterior == pytest.approx(0.61) and rows[0].stability == 0.75
    assert 0 < rows[0].inside < 1
