"""Tests of the readers of CMeEE, IMCS-V2-NER and CHIP-STS."""

import json

import pytest

from hf_adner.data.formats import detect_format, read_documents
from hf_adner.data.splits import groups_of

DIALOGUES = {
    "10000001": {
        "diagnosis": "小儿腹泻",
        "self_report": "宝宝拉肚子",
        "dialogue": [
            {
                "sentence_id": "1",
                "speaker": "患者",
                "sentence": "拉肚子两天",
                "BIO_label": "B-Symptom I-Symptom I-Symptom O O",
            },
            {"sentence_id": "2", "speaker": "医生", "sentence": "吃 药", "BIO_label": "O O I-Drug", "symptom_norm": []},
        ],
    },
    "10000002": {"dialogue": [{"speaker": "医生", "sentence": "好的", "BIO_label": ["O", "O"]}]},
}


@pytest.fixture
def imcs_file(tmp_path):
    path = tmp_path / "IMCS-V2_train.json"
    path.write_text(json.dumps(DIALOGUES, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def test_imcs_sentences_have_their_dialogue(imcs_file):
    assert detect_format(imcs_file) == "imcs"
    stream = read_documents(imcs_file)
    first, second, third = stream
    assert (first.id, first.spans) == ("10000001-1", [(0, 3, "Symptom")])
    assert first.meta == {"dialogue": "10000001", "sentence_id": "1", "speaker": "患者"}
    assert (second.text, second.spans, second.meta["symptom_norm"]) == ("吃 药", [(2, 3, "Drug")], [])
    assert third.id == "10000002-1"
    assert groups_of([first, second, third], "dialogue") == ["10000001", "10000001", "10000002"]
    assert sum(stream.report.repaired.values()) == 1
    assert any("1 × dialogue self-reports" in line for line in stream.report.warnings())


def test_imcs_broken_sentences_are_skipped_alone(tmp_path):
    dialogues = json.loads(json.dumps(DIALOGUES))
    dialogues["10000001"]["dialogue"][0]["BIO_label"] = "O"
    dialogues["10000003"] = {}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(dialogues, ensure_ascii=False), encoding="utf-8")
    stream = read_documents(path, skip_invalid=True)
    assert [document.id for document in stream] == ["10000001-2", "10000002-1"]
    assert [skipped.record for skipped in stream.report.skipped] == ["10000001-1", "10000003"]


def test_imcs_character_files_are_conll(tmp_path):
    path = tmp_path / "train.bio.tsv"
    path.write_text("拉\tB-Symptom\n肚\tI-Symptom\n子\tI-Symptom\n\n好\tO\n的\tO\n\n", encoding="utf-8")
    assert detect_format(path) == "conll"
    assert [document.spans for document in read_documents(path, "imcs-bio")] == [[(0, 3, "Symptom")], []]


def test_cmeee_ends_become_exclusive(tmp_path):
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


def test_cmeee_crossing_and_empty_entities(tmp_path):
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


def test_cmeee_test_files_have_no_entities(tmp_path):
    path = tmp_path / "CMeEE_test.json"
    path.write_text('[{"text": "面部皮炎"}]', encoding="utf-8")
    assert detect_format(path) == "cmeee"
    assert [document.text for document in read_documents(path, require_entities=False)] == ["面部皮炎"]


def test_chip_sts_pairs_become_texts(tmp_path):
    path = tmp_path / "CHIP-STS_dev.json"
    pair = {"id": "16001", "text1": "糖尿病能吃减肥药吗", "text2": "糖尿病吃什么", "label": "1", "category": "diabetes"}
    path.write_text(json.dumps([pair], ensure_ascii=False), encoding="utf-8")
    assert detect_format(path) == "chip-sts"
    stream = read_documents(path)
    first, second = stream
    assert (first.id, second.id, second.text, second.entities) == ("16001-1", "16001-2", "糖尿病吃什么", ())
    assert first.meta == {"pair": "16001", "label": "1", "category": "diabetes"}
    assert any("no gold entities" in line for line in stream.report.warnings())


def test_chip_sts_broken_pairs_are_listed(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"id": "1", "text2": "头痛"}, {"id": "2", "id": "3"}]', encoding="utf-8")
    stream = read_documents(path, "chip-sts", skip_invalid=True)
    assert [document.id for document in stream] == ["1-2"] and len(stream.report.skipped) == 2
