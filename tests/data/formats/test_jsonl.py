"""Tests of JSONL and of plain text."""

import json

import pytest

from hf_adner.data.formats import detect_format, read_documents


@pytest.fixture
def read(tmp_path):
    def read(record):
        path = tmp_path / "notes.v1.jsonl"
        path.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
        return next(read_documents(path, "jsonl"))

    return read


def test_minimal_record(read):
    document = read({"text": "瘙痒", "entities": [{"start": 0, "end": 2, "label": "Symptom"}]})
    assert document.id == "notes-1" and document.entities[0].text == "瘙痒" and document.meta == {}


def test_unknown_keys_are_kept_in_meta(read):
    entity = {"start": 0, "end": 2, "label": "Symptom", "text": "瘙痒", "negated": True, "meta": {"score": 0.5}}
    document = read({"id": 7, "text": "瘙痒", "entities": [entity], "ward": 3, "meta": {"patient": "p"}})
    assert document.id == "7" and document.meta == {"ward": 3, "patient": "p"}
    assert document.entities[0].meta == {"negated": True, "score": 0.5}


def test_an_empty_text_is_a_document(read):
    assert read({"text": "", "entities": []}).text == ""


def test_text_file_is_a_document(tmp_path):
    path = tmp_path / "note.txt"
    path.write_bytes("第一行\r\n第二行\n".encode())
    assert detect_format(path) == "text"
    (document,) = read_documents(path)
    assert (document.id, document.text, document.entities) == ("note", "第一行\r\n第二行\n", ())


def test_line_is_a_document(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("第一行\n\n第三行", encoding="utf-8")
    assert [(document.id, document.text) for document in read_documents(path, "lines")] == [
        ("notes-1", "第一行"),
        ("notes-3", "第三行"),
    ]
