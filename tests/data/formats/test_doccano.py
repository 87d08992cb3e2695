"""Tests of the doccano reader; `test_writing.py` has the round trips."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
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


@pytest.fixture
def read_one(tmp_path):
    def read_one(record, **options):
        path = tmp_path / "a.jsonl"
        path.write_text(json.dumps(record), encoding="utf-8")
        assert detect_format(path) == "doccano"
        return next(read_documents(path, **options))

    return read_one


@pytest.mark.parametrize(
    "record, options",
    [
        ({"data": "面部瘙痒", "label": [[2, 4, "S"]]}, {}),
        ({"note": "面部瘙痒", "text": 7, "label": [[2, 4, "S"]]}, {"text_column": "note"}),
        ({"text": "面部瘙痒", "annotations": [{"label": "S", "start_offset": 2, "end_offset": 4}]}, {}),
        ({"text": "面部瘙痒", "entities": [{"label": "S", "start_offset": 2, "end_offset": 4}], "relations": None}, {}),
    ],
)
def test_forms_of_other_versions(read_one, record, options):
    document = read_one(record, **options)
    assert (document.text, document.spans) == ("面部瘙痒", [(2, 4, "S")])


@pytest.mark.parametrize(
    "record, reason",
    [
        ({"text": "面部", "annotations": [{"label": 3, "start_offset": 0, "end_offset": 2}]}, "JSONL with text labels"),
        ({"text": "面部", "label": ["positive"]}, "as text classification exports it"),
        ({"text": "面部", "label": [], "relations": 5}, "key 'relations' of the record must be list, found int"),
        ({"texts": "面部", "label": []}, r"no key 'text'; its keys: 'texts', 'label' \(text_column=, --text-column"),
        ({"text": "面部", "label": [7]}, "an entity must be a JSON object, found int"),
    ],
)
def test_what_doccano_does_not_mean_as_spans_is_named(read_one, record, reason):
    with pytest.raises(DataFormatError, match=f"line 1, record '0': .*{reason}"):
        read_one(record)
