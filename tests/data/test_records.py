"""Tests of entities, documents, their rows, read reports and errors."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.reader import ReadReport
from hf_adner.data.records import (
    Document,
    Entity,
    document_from_row,
    dump_meta,
    first_overlap,
    flatten,
    load_meta,
    nested_pieces,
    row_from_document,
)

TEXT = "患者面部皮炎伴瘙痒"


def test_entities_are_filled_in_and_sorted():
    document = Document("a", TEXT, (Entity(7, 9, "Symptom"), Entity(2, 4, "BodySite"), Entity(2, 6, "Disease")))
    assert document.spans == [(2, 6, "Disease"), (2, 4, "BodySite"), (7, 9, "Symptom")]
    assert [entity.text for entity in document.entities] == ["面部皮炎", "面部", "瘙痒"]


def test_integers_of_other_libraries_are_converted():
    entity = Entity(np.int64(1), np.int32(3), "A")
    assert (type(entity.start), type(entity.end)) == (int, int)


@pytest.mark.parametrize("start", [True, 1.0, float("nan"), "1", None, np.float32(1), np.bool_(True)])
def test_other_offsets_are_refused(start):
    with pytest.raises(DataFormatError, match="start must be an integer"):
        Entity(start, 3, "A")


@pytest.mark.parametrize("start, end", [(-1, 2), (2, 2), (3, 2)])
def test_empty_spans_are_refused(start, end):
    with pytest.raises(DataFormatError, match="0 <= start < end"):
        Entity(start, end, "A")


def test_invalid_documents_are_refused():
    with pytest.raises(DataFormatError, match="reaches outside the text of 9 characters"):
        Document("a", TEXT, (Entity(7, 10, "A"),))
    with pytest.raises(DataFormatError, match="recorded as '痒瘙', but the text there is '瘙痒'"):
        Document("a", TEXT, (Entity(7, 9, "A", "痒瘙"),))
    with pytest.raises(DataFormatError, match="duplicate entity 7-9 'A'"):
        Document("a", TEXT, (Entity(7, 9, "A"), Entity(2, 4, "A"), Entity(7, 9, "A")))
    with pytest.raises(DataFormatError, match="half of a surrogate pair at character 1"):
        Document("a", "a\ud83d")
    with pytest.raises(DataFormatError, match="id must be a non-empty string"):
        Document("", TEXT)
    with pytest.raises(DataFormatError, match="meta must be an object"):
        Document("a", TEXT, meta=[1])


def test_records_can_be_hashed_and_compared():
    first, second = (Document("a", TEXT, (Entity(7, 9, "A", meta={"x": [1]}),), {"y": {}}) for _ in range(2))
    assert first == second and len({first, second}) == 1
    assert dataclasses.replace(first, entities=()) != second


def test_flatten_keeps_the_outermost():
    inner, outer, after = Entity(2, 4, "BodySite"), Entity(2, 6, "Disease"), Entity(7, 9, "Symptom")
    assert flatten([inner, outer, after]) == ((outer, after), (inner,))
    assert flatten([inner, outer, after], "innermost") == ((inner, after), (outer,))
    with pytest.raises(ValueError, match="nested must be one of"):
        flatten([inner], "middle")


def test_flatten_settles_ties_without_regard_to_order():
    first, second, third = Entity(2, 4, "B"), Entity(2, 4, "A"), Entity(3, 5, "A")
    assert flatten([first, second, third]) == flatten([third, second, first]) == ((second,), (first, third))


def test_flattened_document_says_what_it_had():
    document = Document("a", TEXT, (Entity(2, 4, "BodySite"), Entity(2, 6, "Disease")), {"k": 1})
    assert document.has_overlaps
    flat = document.flattened()
    assert flat.spans == [(2, 6, "Disease")] and flat.meta == {"k": 1} and not flat.has_overlaps
    assert flat.flattened() is flat


spans = st.lists(
    st.tuples(st.integers(0, 19), st.integers(1, 8), st.sampled_from("AB")).map(
        lambda item: Entity(item[0], min(20, item[0] + item[1]), item[2])
    ),
    unique_by=lambda entity: (entity.start, entity.end, entity.label),
    max_size=8,
)


@given(spans, st.sampled_from(["outermost", "innermost"]))
def test_flatten_is_disjoint_complete_and_maximal(entities, nested):
    kept, left_out = flatten(entities, nested)
    assert sorted(map(id, (*kept, *left_out))) == sorted(map(id, entities))
    assert all(first.end <= second.start for first, second in zip(kept, kept[1:]))
    assert all(any(entity.start < other.end and other.start < entity.end for other in kept) for entity in left_out)


@given(spans)
def test_first_overlap_agrees_with_all_pairs(entities):
    document = Document("a", "x" * 20, tuple(entities))
    pairs = [(a, b) for i, a in enumerate(document.entities) for b in document.entities[i + 1 :]]
    overlapping = [(a, b) for a, b in pairs if a.start < b.end and b.start < a.end]
    crossing = [(a, b) for a, b in overlapping if a.start < b.start < a.end < b.end]
    assert (first_overlap(document.entities, crossing=False) is not None) == bool(overlapping) == document.has_overlaps
    assert (first_overlap(document.entities, crossing=True) is not None) == bool(crossing)


SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), max_size=8)


def sorted_entities(spans):
    entities = [Entity(start, start + length, "x") for start, length in spans]
    return sorted(entities, key=lambda entity: (entity.start, -entity.end))


def test_a_crossing_span_is_cut_at_the_edge():
    first, second = sorted_entities([(0, 4), (2, 5)])
    pieces = nested_pieces([first, second])
    assert [(piece.start, piece.end, piece.goes_on) for piece in pieces] == [(0, 4, False), (2, 4, True), (4, 7, False)]
    assert [piece.entity for piece in pieces] == [first, second, second]


@given(SPANS)
def test_pieces_are_nested_or_disjoint_and_cover_their_spans(spans):
    entities = sorted_entities(spans)
    pieces = nested_pieces(entities)
    for number, first in enumerate(pieces):
        for second in pieces[number + 1 :]:
            assert second.start >= first.end or (first.start <= second.start and second.end <= first.end)
    for entity in entities:
        own = [piece for piece in pieces if piece.entity is entity]
        covered = [position for piece in own for position in range(piece.start, piece.end)]
        assert covered == list(range(entity.start, entity.end))
        assert [piece.goes_on for piece in own] == [True] * (len(own) - 1) + [False]


DOCUMENT = Document(
    "a", "面部皮炎", (Entity(0, 4, "Disease", meta={"score": 0.5}), Entity(0, 2, "BodySite")), {"patient": {"age": 3}}
)


def test_rows_round_trip():
    row = row_from_document(DOCUMENT)
    assert row["entities"][1] == {"start": 0, "end": 2, "label": "BodySite", "text": "面部", "meta": "{}"}
    assert row["meta"] == '{"patient": {"age": 3}}'
    assert document_from_row(row) == DOCUMENT


def test_text_and_meta_of_rows_are_optional():
    row = {"id": "a", "text": "面部皮炎", "entities": [{"start": 0, "end": 2, "label": "BodySite"}]}
    assert document_from_row(row).entities[0].text == "面部"


def test_invalid_rows_and_meta_are_refused():
    with pytest.raises(DataFormatError, match="missing: id, entities"):
        document_from_row({"text": "a"})
    with pytest.raises(DataFormatError, match="meta cannot be written as JSON"):
        dump_meta({"x": float("nan")})
    with pytest.raises(DataFormatError, match="meta cannot be written as JSON"):
        dump_meta({"x": object()})
    with pytest.raises(DataFormatError, match="meta is not JSON"):
        load_meta("{")
    with pytest.raises(DataFormatError, match="meta must be a JSON object, found list"):
        load_meta("[1]")
    assert load_meta(None) == load_meta("") == {}


def test_report_counts_entities_that_flattening_drops():
    report = ReadReport()
    report.count(Document("a", "面部皮炎", (Entity(0, 4, "Disease"), Entity(0, 2, "BodySite"))))
    report.count(Document("b", "瘙痒", (Entity(0, 2, "Symptom"),)))
    assert (report.documents, report.entities, report.not_flat) == (2, 3, 1)
    assert report.warnings() == [
        "1 of 3 entities overlap a longer entity: kept in the documents, dropped when a flat tagger is trained "
        "(per-label tagging keeps those whose labels differ)"
    ]


def test_report_without_warnings():
    report = ReadReport()
    report.repaired["x"] += 0
    report.notes["y"] += 0
    assert report.warnings() == []


def test_report_lists_skipped_records_up_to_a_limit():
    report = ReadReport()
    for line in range(1, 6):
        report.skip(DataFormatError("why", path="a.jsonl", line=line))
    assert report.warnings(max_records=2) == [
        "5 invalid records were skipped:",
        "  a.jsonl, line 1: why",
        "  a.jsonl, line 2: why",
        "  … and 3 more",
    ]


def test_error_message_has_the_known_location():
    assert str(DataFormatError("why")) == "why"
    error = DataFormatError("why", path="a.json", line=3, record="r1")
    assert str(error) == "a.json, line 3, record 'r1': why"


def test_located_fills_in_unknown_parts_only():
    error = DataFormatError("why", line=3).located("a.json", 9, "r1")
    assert (error.path, error.line, error.record, error.reason) == ("a.json", 3, "r1", "why")


def test_error_location_is_added_to_errors_of_the_block():
    with pytest.raises(DataFormatError, match="^a.json, line 3, record 'r1': why$"), error_location("a.json", 9, "r1"):
        raise DataFormatError("why", line=3)


def test_errors_can_be_pickled():
    error = pickle.loads(pickle.dumps(DataFormatError("why", path="a.json", line=3)))
    assert (str(error), error.line) == ("a.json, line 3: why", 3)


def test_excerpt_is_cut():
    assert excerpt("患者张三身份证号码") == "'患者张三身份证…'"
    assert excerpt("红斑") == "'红斑'"
    assert excerpt(12) == "'12'"
