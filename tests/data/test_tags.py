import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.conll import (
    SCHEMES,
    WITHOUT_BEGINNING,
    WITHOUT_END,
    check_scheme,
    fitting_scheme,
    parse_tag,
    spans_of_tags,
    tags_of_entities,
)
from hf_adner.data.records import Entity


def read(tags, scheme):
    return spans_of_tags([parse_tag(tag) for tag in tags.split()], scheme)


@pytest.mark.parametrize(
    "scheme, expected",
    [
        ("bio", "B-A I-A I-A B-A O B-B"),
        ("bioes", "B-A I-A E-A S-A O S-B"),
        ("bmes", "B-A M-A E-A S-A O S-B"),
        ("bilou", "B-A I-A L-A U-A O U-B"),
    ],
)
def test_schemes(scheme, expected):
    entities = [Entity(0, 3, "A"), Entity(3, 4, "A"), Entity(5, 6, "B")]
    assert tags_of_entities(entities, 6, scheme) == expected.split()
    assert read(expected, scheme) == ([(0, 3, "A"), (3, 4, "A"), (5, 6, "B")], {})


@pytest.mark.parametrize(
    "tags, scheme, spans, repaired",
    [
        ("I-A I-A O I-B", "bio", [(0, 2, "A"), (3, 4, "B")], {WITHOUT_BEGINNING: 2}),
        ("B-A I-B", "bio", [(0, 1, "A"), (1, 2, "B")], {WITHOUT_BEGINNING: 1}),
        ("B-A I-A O", "bioes", [(0, 2, "A")], {WITHOUT_END: 1}),
        ("B-A", "bioes", [(0, 1, "A")], {WITHOUT_END: 1}),
        ("E-A O", "bioes", [(0, 1, "A")], {WITHOUT_BEGINNING: 1}),
        ("B-A E-A I-A E-A", "bioes", [(0, 2, "A"), (2, 4, "A")], {WITHOUT_BEGINNING: 1}),
        ("B-A M-B E-B", "bmes", [(0, 1, "A"), (1, 3, "B")], {WITHOUT_END: 1, WITHOUT_BEGINNING: 1}),
        ("S-A M-A", "bmes", [(0, 1, "A"), (1, 2, "A")], {WITHOUT_BEGINNING: 1, WITHOUT_END: 1}),
    ],
)
def test_faults_are_mended_and_counted(tags, scheme, spans, repaired):
    assert read(tags, scheme) == (spans, repaired)


def test_fitting_scheme():
    assert fitting_scheme("BIO") == fitting_scheme("O") == fitting_scheme("") == "bio"
    assert fitting_scheme("BMEO") == fitting_scheme("BEO") == "bmes"
    assert fitting_scheme("BIES") == "bioes"
    assert fitting_scheme("BILU") == "bilou"
    assert fitting_scheme("IM") is None and fitting_scheme("EL") is None


@pytest.mark.parametrize("tag", ["", "o", "B", "B-", "-A", "X-A", "BA-A", "A"])
def test_what_is_no_tag(tag):
    with pytest.raises(DataFormatError, match="neither 'O' nor of the form"):
        parse_tag(tag)


def test_a_type_may_have_hyphens():
    assert parse_tag("B-Drug-Category") == ("B", "Drug-Category")


def test_overlapping_entities_and_unknown_schemes_are_refused():
    with pytest.raises(DataFormatError, match="entities 0-3 and 1-2 overlap, which tags cannot express"):
        tags_of_entities([Entity(0, 3, "A"), Entity(1, 2, "B")], 3)
    with pytest.raises(ValueError, match="scheme 'iobes' is unknown"):
        check_scheme("iobes")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("AB")), max_size=6),
    st.sampled_from(list(SCHEMES)),
)
def test_tags_and_back(pieces, scheme):
    entities, position = [], 0
    for gap, length, label in pieces:
        position += gap
        entities.append(Entity(position, position + length, label))
        position += length
    tags = tags_of_entities(entities, position + 1, scheme)
    assert read(" ".join(tags), scheme) == ([(one.start, one.end, one.label) for one in entities], {})
