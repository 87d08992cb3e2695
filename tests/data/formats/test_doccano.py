"""Tests of the doccano reader; `test_writing.py` has the round trips."""

import json

import pytest

from hf_adner.data.formats import detect_format, read_documents


@pytest.fixture
def read(tmp_path):
    def read(*records):
        path = tmp_path / "all.jsonl"
        path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
        assert detect_format(path) == "doccano"
        return list(read_documents(path))

    return read


@pytest.mark.parametrize("key", ["label", "labels"])
def test_label_triples(read, key):
    record = {"id": 3, "text": "面部瘙痒", key: [[2, 4, "Symptom"], [0, 2, "BodySite"]], "Comments": [], "ward": "A"}
    (document,) = read(record)
    assert (document.id, document.spans) == ("3", [(0, 2, "BodySite"), (2, 4, "Symptom")])
    assert document.meta == {"Comments": [], "ward": "A"}


def test_entities_with_relations(read):
    relations = [{"id": 1, "from_id": 8, "to_id": 9, "type": "at"}]
    entities = [
        {"id": 8, "label": "Symptom", "start_offset": 2, "end_offset": 4},
        {"id": 9, "label": "BodySite", "start_offset": 0, "end_offset": 2},
    ]
    (document,) = read({"id": 3, "text": "面部瘙痒", "entities": entities, "relations": relations, "Comments": []})
    assert [entity.meta for entity in document.entities] == [{"id": 9}, {"id": 8}]
    assert document.meta["relations"] == relations
