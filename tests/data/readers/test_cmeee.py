import json

from hf_adner.data.formats import detect_format, read_documents


def test_ends_are_made_exclusive(tmp_path):
    path = tmp_path / "CMeEE-V2_train.json"
    entities = [
        {"start_idx": 0, "end_idx": 3, "type": "dis", "entity": "面部皮炎"},
        {"start_idx": 0, "end_idx": 1, "type": "bod", "entity": "面部"},
        {"start_idx": 3, "end_idx": 3, "type": "sym", "entity": "炎"},
    ]
    path.write_text(json.dumps([{"text": "面部皮炎", "entities": entities}], ensure_ascii=False), encoding="utf-8")
    assert detect_format(path) == "cmeee"
    (document,) = read_documents(path)
    assert document.id == "CMeEE-V2_train-1"
    assert document.spans == [(0, 4, "dis"), (0, 2, "bod"), (3, 4, "sym")]


def test_crossing_and_empty_entities_of_the_official_files(tmp_path):
    path = tmp_path / "a.json"
    entities = [
        {"start_idx": 0, "end_idx": 2, "type": "dis", "entity": "面部皮"},
        {"start_idx": 1, "end_idx": 3, "type": "sym", "entity": "部皮炎"},
        {"start_idx": 2, "end_idx": 1, "type": "bod", "entity": ""},
    ]
    path.write_text(json.dumps([{"text": "面部皮炎", "entities": entities}], ensure_ascii=False), encoding="utf-8")
    stream = read_documents(path, "cmeee")
    (document,) = stream
    assert document.spans == [(0, 3, "dis"), (1, 4, "sym")]
    assert stream.report.not_flat == 1 and sum(stream.report.repaired.values()) == 1


def test_the_test_file_has_no_entities(tmp_path):
    path = tmp_path / "CMeEE_test.json"
    path.write_text('[{"text": "面部皮炎"}]', encoding="utf-8")
    assert detect_format(path) == "cmeee"
    assert [document.text for document in read_documents(path, require_entities=False)] == ["面部皮炎"]
