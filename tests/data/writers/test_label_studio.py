import json

from hf_adner.data.formats import read_documents, write_documents
from hf_adner.data.records import Document, Entity

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


def test_an_export_comes_out_as_it_went_in(tmp_path):
    (tmp_path / "in.json").write_text(json.dumps(TASKS), encoding="utf-8")
    write_documents(read_documents(tmp_path / "in.json"), tmp_path / "out.json", "label-studio")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == TASKS


def test_the_least_there_can_be(tmp_path):
    write_documents([Document("n", "痒", (Entity(0, 1, "Symptom"),))], tmp_path / "out.json", "label-studio")
    value = {"start": 0, "end": 1, "text": "痒", "labels": ["Symptom"]}
    region = {"id": "adner-0-1-Symptom", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    expected = [{"data": {"text": "痒", "document_id": "n"}, "annotations": [{"result": [region]}]}]
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == expected


def test_no_documents_are_an_empty_list(tmp_path):
    assert write_documents([], tmp_path / "out.json", "label-studio") == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == []
