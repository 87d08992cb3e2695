import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity, document_from_row, dump_meta, load_meta, row_from_document

DOCUMENT = Document(
    "a", "面部皮炎", (Entity(0, 4, "Disease", meta={"score": 0.5}), Entity(0, 2, "BodySite")), {"patient": {"age": 3}}
)


def test_there_and_back():
    row = row_from_document(DOCUMENT)
    assert row["entities"][1] == {"start": 0, "end": 2, "label": "BodySite", "text": "面部", "meta": "{}"}
    assert row["meta"] == '{"patient": {"age": 3}}'
    assert document_from_row(row) == DOCUMENT


def test_rows_of_other_makers_need_no_text_and_meta():
    row = {"id": "a", "text": "面部皮炎", "entities": [{"start": 0, "end": 2, "label": "BodySite"}]}
    assert document_from_row(row).entities[0].text == "面部"


def test_faults():
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
