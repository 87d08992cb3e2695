"""Label sequences: which are allowed, repaired and converted, against plain definitions."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.model.labels_adner import (
    allowed_transitions,
    bio_labels,
    bio_to_bioes,
    bioes_to_bio,
    closes_entity,
    entity_types,
    opens_entity,
    repair_bio,
    span_states,
    spans_to_bio,
    split_tag,
    state_names,
    tags_to_spans,
)

ENTITY = {"bio": "b{0}(?:i{0})*", "bioes": "s{0}|b{0}(?:i{0})*e{0}"}
TAGS = st.lists(st.sampled_from(bio_labels(["x", "y", "a-b"])), max_size=12)


def is_well_formed(states, types, scheme) -> bool:
    """Whether the states spell a sequence of O and whole entities."""
    text = "".join("o" if state == "O" else state[0].lower() + str(types.index(state[2:])) for state in states)
    entities = "|".join(ENTITY[scheme].format(number) for number in range(len(types)))
    return re.fullmatch(f"(?:o|{entities})*", text) is not None


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@pytest.mark.parametrize(("types", "length"), [(["x"], 4), (["x", "y"], 3)])
def test_constraints_allow_exactly_the_well_formed_sequences(scheme, types, length):
    states = state_names(types, scheme)
    constraints = allowed_transitions(states)
    for path in itertools.product(range(len(states)), repeat=length):
        allowed = constraints.starts[path[0]] and constraints.ends[path[-1]]
        allowed = allowed and all(constraints.transitions[a][b] for a, b in itertools.pairwise(path))
        assert allowed == is_well_formed([states[state] for state in path], types, scheme)


def test_state_names():
    assert state_names(["x", "y"], "bio") == ["O", "B-x", "I-x", "B-y", "I-y"]
    assert state_names(["x", "y"], "bioes") == ["O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "E-y", "S-y"]
    assert state_names([], "bioes") == ["O"]
    with pytest.raises(ValueError, match="'iob1' is unknown.*bio.*bioes"):
        state_names(["x"], "iob1")


def test_bio_labels_and_entity_types_are_inverse():
    assert bio_labels(["x", "a-b"]) == ["O", "B-x", "I-x", "B-a-b", "I-a-b"]
    assert entity_types(bio_labels(["x", "a-b"])) == ["x", "a-b"]
    assert bio_labels([]) == ["O"] and entity_types(["O"]) == []


@pytest.mark.parametrize("types", [["x", "y", "x"], [""], ["O"]])
def test_bio_labels_refuses(types):
    with pytest.raises(ValueError, match="entity types"):
        bio_labels(types)


@pytest.mark.parametrize("label", ["E-x", "S-x", "M-x"])
def test_entity_types_refuses_other_schemes(label):
    with pytest.raises(ValueError, match=f"'{label}' is not BIO"):
        entity_types(["O", label])


@pytest.mark.parametrize("tag", ["", "B", "B-", "x", "X-x", "-x", "o", "b-x", "LABEL_0"])
def test_split_tag_refuses_what_is_no_tag(tag):
    with pytest.raises(ValueError, match="is neither 'O' nor of the form 'B-Type'"):
        split_tag(tag)


def test_split_tag_keeps_hyphens_of_types():
    assert split_tag("B-a-b") == ("B", "a-b")
    assert split_tag("O") == ("O", "")


@given(TAGS)
def test_repair_turns_exactly_the_stray_i_into_b(tags):
    repaired, count = repair_bio(tags)
    before = ["O", *tags]
    strays = [tag[0] == "I" and before[position][2:] != tag[2:] for position, tag in enumerate(tags)]
    expected = [f"B-{tag[2:]}" if stray else tag for tag, stray in zip(tags, strays)]
    assert repaired == expected
    assert count == sum(old != new for old, new in zip(tags, repaired))
    assert repair_bio(repaired) == (repaired, 0)


def test_repair_refuses_other_schemes():
    with pytest.raises(ValueError, match="'E-x' is not BIO"):
        repair_bio(["B-x", "E-x"])


@given(TAGS)
def test_bioes_says_the_same_as_bio(tags):
    repaired, _ = repair_bio(tags)
    states = bio_to_bioes(tags)
    assert is_well_formed(states, ["x", "y", "a-b"], "bioes")
    assert bioes_to_bio(states) == repaired


def test_bio_to_bioes_examples():
    assert bio_to_bioes(["B-x", "I-x", "I-x", "B-x", "O", "B-y", "I-y"]) == "B-x I-x E-x S-x O B-y E-y".split()
    assert bio_to_bioes(["I-x", "I-y"]) == ["S-x", "S-y"]
    assert bioes_to_bio(["B-x", "M-x", "E-x", "S-y", "O"]) == ["B-x", "I-x", "I-x", "B-y", "O"]


@given(TAGS)
def test_spans_say_the_same_as_tags(tags):
    spans = tags_to_spans(tags)
    assert spans_to_bio(spans, len(tags)) == repair_bio(tags)[0]
    assert len(spans) == sum(tag[0] == "B" for tag in repair_bio(tags)[0])


def test_tags_to_spans_examples():
    assert tags_to_spans(["O", "B-x", "I-x", "I-y", "B-y"]) == [(1, 3, "x"), (3, 4, "y"), (4, 5, "y")]
    assert tags_to_spans([]) == []


@pytest.mark.parametrize("span", [(2, 2, "x"), (-1, 1, "x"), (3, 6, "x"), (4, 3, "x")])
def test_spans_outside_the_text_are_refused(span):
    with pytest.raises(ValueError, match=r"is empty or not within 0\.\.5"):
        spans_to_bio([span], 5)


def test_overlapping_spans_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, y\) overlaps"):
        spans_to_bio([(0, 2, "x"), (1, 3, "y")], 5)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_span_states_spell_the_entity(scheme, length):
    states = state_names(["x", "y"], scheme)
    ids, forbidden = span_states(states, "y", length)
    tags = spans_to_bio([(0, length, "y")], length)
    assert [states[state] for state in ids] == (bio_to_bioes(tags) if scheme == "bioes" else tags)
    # whatever may follow and is not forbidden must leave the entity as it is
    followers = [state for state, may in enumerate(allowed_transitions(states).transitions[ids[-1]]) if may]
    longer = [state for state in followers if states[state] in {"I-y", "E-y"}]
    assert longer == list(forbidden)


def test_span_states_refuses_unknown_types():
    with pytest.raises(ValueError, match=r"'z' is unknown; the model has \['x', 'y'\]"):
        span_states(state_names(["x", "y"], "bioes"), "z", 2)


def test_opens_and_closes():
    states = state_names(["x"], "bioes")
    assert [opens_entity(state) for state in states] == [False, True, False, False, True]
    assert [closes_entity(state) for state in states] == [False, False, False, True, True]
