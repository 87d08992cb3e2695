"""Tests of Label Studio tasks."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents, write_documents
from hf_adner.data.records import Document, Entity

TEXT = "😷面部瘙痒"


def region(start, end, text, label, **more):
    value = {"start": start, "end": end, "text": text, "labels": [label]}
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **more}


@pytest.fixture
def read(tmp_path):
    def read(task, **options):
        path = tmp_path / "export.json"
        path.write_text(json.dumps([task], ensure_ascii=False, indent=1), encoding="utf-8")
        assert detect_format(path) == "label-studio"
        stream = read_documents(path, **options)
        return next(stream), stream.report

    return read


def test_fields_of_an_export_are_kept(read):
    choice = {"id": "c", "type": "choices", "from_name": "kind", "to_name": "text", "value": {"choices": ["note"]}}
    task = {
        "id": 5,
        "data": {"text": TEXT, "patient": "p1"},
        "annotations": [
            {"id": 9, "completed_by": 1, "result": [region(3, 5, "瘙痒", "Symptom", origin="manual"), choice]}
        ],
        "predictions": [{"result": []}],
        "project": 2,
    }
    document, report = read(task)
    assert (document.id, document.spans) == ("5", [(3, 5, "Symptom")])
    assert document.entities[0].meta == {"id": "r3", "label_studio": {"origin": "manual"}}
    assert document.meta == {
        "patient": "p1",
        "label_studio": {
            "task": {"predictions": [{"result": []}], "project": 2},
            "annotation": {"id": 9, "completed_by": 1},
            "results": [choice],
        },
    }
    assert len(report.warnings()) == 2


def test_utf16_offsets_are_converted_and_counted(read):
    task = {"id": 5, "data": {"text": TEXT}, "annotations": [{"result": [region(4, 6, "瘙痒", "Symptom")]}]}
    document, report = read(task)
    assert document.spans == [(3, 5, "Symptom")] and sum(report.repaired.values()) == 1


def test_one_of_several_annotators(read):
    annotations = [
        {"completed_by": 1, "result": []},
        {"completed_by": {"id": 2}, "result": [region(1, 3, "面部", "BodySite")]},
        {"completed_by": 3, "was_cancelled": True, "result": []},
    ]
    task = {"id": 5, "data": {"text": TEXT}, "annotations": annotations}
    assert read(task, annotator=2)[0].spans == [(1, 3, "BodySite")]
    with pytest.raises(DataFormatError, match="found 2; set annotator= to one of '1', '2'"):
        read(task)
    with pytest.raises(DataFormatError, match="found 0 by annotator '7'"):
        read(task, annotator=7)


def test_tasks_without_annotation(read):
    task = {"id": 5, "data": {"text": TEXT}, "annotations": []}
    assert read(task, require_entities=False)[0].entities == ()


def test_a_region_with_two_labels_is_two_entities(read):
    two_labels = region(1, 3, "面部", "A")
    two_labels["value"]["labels"] = ["A", "B"]
    assert read({"id": 5, "data": {"text": TEXT}, "annotations": [{"result": [two_labels]}]})[0].spans == [
        (1, 3, "A"),
        (1, 3, "B"),
    ]


def test_the_minimal_export(read):
    task = {
        "id": 5,
        "text": TEXT,
        "label": [{"start": 3, "end": 5, "text": "瘙痒", "labels": ["Symptom"]}],
        "lead_time": 3,
    }
    document, _ = read(task)
    assert (document.spans, document.meta) == ([(3, 5, "Symptom")], {"lead_time": 3})


TASKS = [
    {
        "id": 5,
        "data": {"text": "面部瘙痒", "document_id": "5", "patient": "p1"},
        "predictions": [],
        "project": 2,
        "annotations": [
            {
                "id": 9,
                "completed_by": 1,
                "result": [
                    {
                        "id": "r1",
                        "from_name": "label",
                        "to_name": "text",
                        "type": "labels",
                        "value": {"start": 2, "end": 4, "text": "瘙痒", "labels": ["Symptom"], "globalOffsets": [2, 4]},
                        "origin": "manual",
                        "meta": {"text": ["?"]},
                    },
                    {"from_id": "r1", "to_id": "r1", "type": "relation"},
                ],
            }
        ],
    }
]


def test_an_export_is_rewritten_unchanged(tmp_path):
    (tmp_path / "in.json").write_text(json.dumps(TASKS), encoding="utf-8")
    write_documents(read_documents(tmp_path / "in.json"), tmp_path / "out.json", "label-studio")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == TASKS


def test_minimal_task(tmp_path):
    write_documents([Document("n", "痒", (Entity(0, 1, "Symptom"),))], tmp_path / "out.json", "label-studio")
    value = {"start": 0, "end": 1, "text": "痒", "labels": ["Symptom"]}
    region = {"id": "adner-0-1-Symptom", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    expected = [{"data": {"text": "痒", "document_id": "n"}, "annotations": [{"result": [region]}]}]
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == expected


def test_no_documents_are_an_empty_list(tmp_path):
    assert write_documents([], tmp_path / "out.json", "label-studio") == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == []
