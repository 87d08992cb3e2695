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
def path(tmp_path):
    path = tmp_path / "IMCS-V2_train.json"
    path.write_text(json.dumps(DIALOGUES, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def test_sentences_with_their_dialogue(path):
    assert detect_format(path) == "imcs"
    stream = read_documents(path)
    first, second, third = stream
    assert (first.id, first.spans) == ("10000001-1", [(0, 3, "Symptom")])
    assert first.meta == {"dialogue": "10000001", "sentence_id": "1", "speaker": "患者"}
    assert (second.text, second.spans, second.meta["symptom_norm"]) == ("吃 药", [(2, 3, "Drug")], [])
    assert third.id == "10000002-1"
    assert groups_of([first, second, third], "dialogue") == ["10000001", "10000001", "10000002"]
    assert sum(stream.report.repaired.values()) == 1
    assert any("1 × dialogue self-reports" in line for line in stream.report.warnings())


def test_a_broken_sentence_is_skipped_alone(tmp_path):
    dialogues = json.loads(json.dumps(DIALOGUES))
    dialogues["10000001"]["dialogue"][0]["BIO_label"] = "O"
    dialogues["10000003"] = {}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(dialogues, ensure_ascii=False), encoding="utf-8")
    stream = read_documents(path, skip_invalid=True)
    assert [document.id for document in stream] == ["10000001-2", "10000002-1"]
    assert [skipped.record for skipped in stream.report.skipped] == ["10000001-1", "10000003"]


def test_the_same_corpus_as_character_file(tmp_path):
    path = tmp_path / "train.bio.tsv"
    path.write_text("拉\tB-Symptom\n肚\tI-Symptom\n子\tI-Symptom\n\n好\tO\n的\tO\n\n", encoding="utf-8")
    assert detect_format(path) == "conll"
    assert [document.spans for document in read_documents(path, "imcs-bio")] == [[(0, 3, "Symptom")], []]
