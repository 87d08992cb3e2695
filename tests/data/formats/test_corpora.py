"""Tests of the readers of CMeEE, CCKS 2019, CLUENER, IMCS-V2-NER and CHIP-STS."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import detect_format, read_documents
from hf_adner.data.formats.corpora import EXCLUSIVE, UNKNOWN_EDITION
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


TEXT = "面部皮炎"
NESTED = [(0, 4, "dis"), (0, 2, "bod"), (3, 4, "sym")]
SHIFT = {"v1": 1, "v2": 0}


def cmeee_record(edition, spans=NESTED, text=TEXT):
    entities = [
        {"start_idx": start, "end_idx": end - SHIFT[edition], "type": label, "entity": text[start:end]}
        for start, end, label in spans
    ]
    return {"text": text, "entities": entities}


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("edition", ["v1", "v2"])
def test_cmeee_editions_are_told_by_the_texts(tmp_path, edition):
    path = write_json(tmp_path / "CMeEE_train.json", [cmeee_record(edition), cmeee_record(edition, [(3, 4, "sym")])])
    assert detect_format(path) == "cmeee"
    stream = read_documents(path)
    assert [(document.id, document.spans) for document in stream] == [
        ("CMeEE_train-1", NESTED),
        ("CMeEE_train-2", [(3, 4, "sym")]),
    ]
    assert stream.report.notes[EXCLUSIVE] == (2 if edition == "v2" else 0)
    other = "v1" if edition == "v2" else "v2"
    with pytest.raises(DataFormatError, match="reaches outside the text|0 <= start < end"):
        list(read_documents(path, f"cmeee-{other}"))


@pytest.mark.parametrize("edition", ["v1", "v2"])
def test_cmeee_editions_without_texts_are_named(tmp_path, edition):
    record = cmeee_record(edition)
    for entity in record["entities"]:
        del entity["entity"]
    path = write_json(tmp_path / "a.json", [record])
    assert [document.spans for document in read_documents(path, f"cmeee-{edition}")] == [NESTED]
    if edition == "v1":
        stream = read_documents(path)
        assert [document.spans for document in stream] == [NESTED] and stream.report.notes[UNKNOWN_EDITION] == 1


def test_a_cmeee_edition_above_a_record_without_texts_holds_for_it(tmp_path):
    record = cmeee_record("v2")
    without = {"text": TEXT, "entities": [{"start_idx": 0, "end_idx": 2, "type": "bod"}]}
    stream = read_documents(write_json(tmp_path / "a.json", [record, without]))
    assert [document.spans for document in stream] == [NESTED, [(0, 2, "bod")]]


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


NOTE = {
    "originalText": "，患者3月前因面部皮炎",
    "entities": [
        {"end_pos": 11, "label_type": "疾病和诊断", "overlap": 0, "start_pos": 7},
        {"end_pos": 9, "label_type": "解剖部位", "overlap": 1, "start_pos": 7},
    ],
}


@pytest.mark.parametrize("name", ["subtask1_training.txt", "a.json", "a.jsonl"])
def test_ccks_notes(tmp_path, name):
    path = tmp_path / name
    path.write_text("\ufeff" + "\n".join([json.dumps(NOTE, ensure_ascii=False)] * 2) + "\n", encoding="utf-8")
    assert detect_format(path) == "ccks"
    first, second = read_documents(path)
    assert first.text == NOTE["originalText"] and first.entities[0].meta == {"overlap": 0}
    assert first.spans == second.spans == [(7, 11, "疾病和诊断"), (7, 9, "解剖部位")]
    assert next(read_documents(path, "yidu-s4k")).spans == first.spans


def test_cluener_spans_are_inclusive_and_checked(tmp_path):
    label = {"name": {"王五": [[0, 1], [5, 6]]}, "company": {"浙商银行": [[0, 3]]}}
    records = [{"text": "王五，现任王五", "label": {"name": label["name"]}}, {"text": "浙商银行", "label": {}}]
    path = write_json(tmp_path / "train.json", records)
    assert detect_format(path) == "cluener"
    assert [document.spans for document in read_documents(path)] == [[(0, 2, "name"), (5, 7, "name")], []]
    records[0]["label"]["name"]["王五"][1] = [4, 5]
    with pytest.raises(DataFormatError, match="line 1, record '0': entity 4-6 'name' is recorded as '王五'"):
        list(read_documents(write_json(path, records)))


@pytest.mark.parametrize("broken", [None, 7, "x", [7], [[0]], [[0, "1"]], [[0, None]], [{}]])
@pytest.mark.parametrize("form", ["ccks", "cluener"])
def test_broken_values_have_a_place(tmp_path, form, broken):
    record = {"originalText": TEXT, "entities": broken}
    if form == "cluener":
        record = {"text": TEXT, "label": {"a": {"面部": broken}}}
    with pytest.raises(DataFormatError, match="a.json, line 1, record '0': "):
        list(read_documents(write_json(tmp_path / "a.json", [record]), form))


@pytest.mark.parametrize(
    "content, reason",
    [
        (
            {"d": {"dialogue": [{"sentence": "头痛", "BIO_label": "O O", "dialogue": "e"}]}},
            "key 'dialogue' is reserved",
        ),
        ([{"id": "1", "text1": "a", "text2": "b", "pair": "mine"}], "key 'pair' is reserved for the id of the pair"),
    ],
)
def test_a_key_does_not_replace_the_group(tmp_path, content, reason):
    with pytest.raises(DataFormatError, match=reason):
        list(read_documents(write_json(tmp_path / "a.json", content)))
