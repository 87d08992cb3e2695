import csv

from hf_adner.data.formats import write_documents
from hf_adner.data.records import Document, Entity


def test_rows(tmp_path):
    documents = [
        Document(
            "1", '面部"瘙痒"，\n反复', (Entity(0, 2, "BodySite"), Entity(3, 5, "Symptom", meta={"k": 1})), {"ward": 3}
        ),
        Document("2", "无"),
    ]
    write_documents(documents, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "text", "start", "end", "label", "entity", "entity_meta", "meta"],
            ["1", '面部"瘙痒"，\n反复', "0", "2", "BodySite", "面部", "", '{"ward": 3}'],
            ["1", "", "3", "5", "Symptom", "瘙痒", '{"k": 1}', ""],
            ["2", "无", "", "", "", "", "", ""],
        ]
