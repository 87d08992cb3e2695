"""Tests of the submissions to CBLUE and their check."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import check_submission, read_documents, write_documents
from hf_adner.data.records import Document, Entity

TEST = [{"text": "面部皮炎，瘙痒"}, {"text": "复查"}, {"text": "面部皮炎，瘙痒"}]
DIALOGUES = {
    "10": {
        "self_report": "拉肚子",
        "dialogue": [
            {"sentence_id": "1", "sentence": "拉肚子 两天", "speaker": "患者"},
            {"sentence_id": "2", "sentence": "好", "speaker": "医生"},
        ],
    },
    "2": {"dialogue": [{"sentence": "吃药", "speaker": "医生"}]},
}
ENTITIES = (Entity(0, 4, "dis"), Entity(0, 2, "bod"), Entity(6, 7, "sym"))


@pytest.fixture
def files(tmp_path):
    test, dialogues = tmp_path / "CMeEE_test.json", tmp_path / "IMCS-V2_test.json"
    test.write_text(json.dumps(TEST), encoding="utf-8")
    dialogues.write_text(json.dumps(DIALOGUES), encoding="utf-8")
    return tmp_path


def tagged(path, entities):
    """Yield the documents of a test file, the first with entities."""
    for number, document in enumerate(read_documents(path, require_entities=False)):
        yield Document(document.id, document.text, entities if not number else (), document.meta)


@pytest.mark.parametrize("format, ends", [("cmeee", (3, 1, 6)), ("cmeee-v1", (3, 1, 6)), ("cmeee-v2", (4, 2, 7))])
def test_a_cmeee_submission(files, format, ends):
    write_documents(tagged(files / "CMeEE_test.json", ENTITIES), files / "out.json", format)
    records = json.loads((files / "out.json").read_text(encoding="utf-8"))
    assert [record["text"] for record in records] == [record["text"] for record in TEST]
    assert records[0]["entities"] == [
        {"start_idx": 0, "end_idx": ends[0], "type": "dis", "entity": "面部皮炎"},
        {"start_idx": 0, "end_idx": ends[1], "type": "bod", "entity": "面部"},
        {"start_idx": 6, "end_idx": ends[2], "type": "sym", "entity": "痒"},
    ]
    assert [record["entities"] for record in records[1:]] == [[], []]
    assert check_submission(files / "out.json", files / "CMeEE_test.json", format) == 3
    again = [document.spans for document in read_documents(files / "out.json", format)]
    assert again == [[(entity.start, entity.end, entity.label) for entity in ENTITIES], [], []]


def test_an_imcs_submission(files):
    spans = (Entity(0, 3, "Symptom"),)
    write_documents(tagged(files / "IMCS-V2_test.json", spans), files / "out.json", "imcs")
    submission = json.loads((files / "out.json").read_text(encoding="utf-8"))
    expected = {"10": {"1": "B-Symptom I-Symptom I-Symptom O O O", "2": "O"}, "2": {"1": "O O"}}
    assert json.dumps(submission) == json.dumps(expected)
    assert check_submission(files / "out.json", files / "IMCS-V2_test.json", "imcs") == 3


def test_a_submission_of_gold_has_the_tags_of_the_gold(files):
    gold = json.loads(json.dumps(DIALOGUES))
    for dialogue in gold.values():
        for sentence in dialogue["dialogue"]:
            sentence["BIO_label"] = " ".join(["B-Drug", *["I-Drug"] * (len(sentence["sentence"]) - 1)])
    (files / "gold.json").write_text(json.dumps(gold), encoding="utf-8")
    write_documents(read_documents(files / "gold.json"), files / "out.json", "imcs")
    submission = json.loads((files / "out.json").read_text(encoding="utf-8"))
    tags = {key: [sentence["BIO_label"] for sentence in value["dialogue"]] for key, value in gold.items()}
    assert {key: list(value.values()) for key, value in submission.items()} == tags


@pytest.mark.parametrize(
    "format, name, change, reason",
    [
        ("cmeee", "CMeEE_test.json", lambda records: records[:2], "record '2': the submission has fewer records"),
        (
            "cmeee",
            "CMeEE_test.json",
            lambda records: [*records[:2], TEST[2] | {"entities": []}, records[0]],
            "more records",
        ),
        ("cmeee", "CMeEE_test.json", lambda records: records[::-1] + records[3:], "record '0'.*label 'X' is none"),
        ("cmeee", "CMeEE_test.json", lambda records: [records[1], *records[1:]], "record '0'.*text differs"),
        ("cmeee-v2", "CMeEE_test.json", lambda records: records, "record '0': .* start 0, end 0"),
        ("imcs", "IMCS-V2_test.json", lambda value: {"10": value["10"]}, "has fewer dialogues"),
        ("imcs", "IMCS-V2_test.json", lambda value: dict(reversed(value.items())), "'10' of the test file is missing"),
        ("imcs", "IMCS-V2_test.json", lambda value: {**value, "3": {}}, "has more dialogues"),
        (
            "imcs",
            "IMCS-V2_test.json",
            lambda value: {**value, "2": {"2": "O O"}},
            "record '2': expected the 1 sentences",
        ),
        ("imcs", "IMCS-V2_test.json", lambda value: {**value, "2": {"1": "O"}}, "'1' has 1 tags for 2 characters"),
        ("imcs", "IMCS-V2_test.json", lambda value: {**value, "2": {"1": "O S-Drug"}}, "neither 'O' nor BIO"),
        ("imcs", "IMCS-V2_test.json", lambda value: {**value, "2": {"1": "O B-X"}}, "label 'X' is none of the task's"),
        ("imcs", "IMCS-V2_test.json", lambda value: {**value, "2": None}, "a dialogue must be a JSON object"),
    ],
)
def test_faults_of_a_submission_are_named(files, format, name, change, reason):
    entities = (Entity(0, 1, "sym"),) if format.startswith("cmeee") else ()
    write_documents(tagged(files / name, entities), files / "out.json", format.partition("-")[0])
    value = json.loads((files / "out.json").read_text(encoding="utf-8"))
    if isinstance(value, list):
        value[2]["entities"] = [{"start_idx": 0, "end_idx": 1, "type": "X", "entity": "面部"}]
    (files / "out.json").write_text(json.dumps(change(value)), encoding="utf-8")
    with pytest.raises(DataFormatError, match=reason):
        check_submission(files / "out.json", files / name, format)


@pytest.mark.parametrize(
    "documents, reason",
    [
        ([Document("a", "头痛")], "does not name its dialogue"),
        ([Document("a", "头", (), {"dialogue": "1"}), Document("a", "痛", (), {"dialogue": "1"})], "comes twice"),
        ([Document(each, "头", (), {"dialogue": each}) for each in "121"], "do not follow each other"),
        ([Document("a", "头痛", (Entity(0, 1, "A B"),), {"dialogue": "1"})], "white space, which parts the tags"),
        ([Document("a", "头痛", (Entity(0, 2, "A"), Entity(0, 1, "B")), {"dialogue": "1"})], "overlap"),
        ([Document("a", "头痛", (), {"dialogue": "1", "sentence_id": [1]})], "must be a string or integer"),
    ],
)
def test_what_is_no_dialogue_is_refused_and_nothing_written(tmp_path, documents, reason):
    with pytest.raises(DataFormatError, match=reason):
        write_documents(documents, tmp_path / "out.json", "imcs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format, empty", [("cmeee", []), ("imcs", {})])
def test_no_documents(tmp_path, format, empty):
    write_documents([], tmp_path / "out.json", format)
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == empty


def test_unknown_submissions(tmp_path):
    with pytest.raises(ValueError, match="expected cmeee-v1, cmeee-v2 or imcs"):
        check_submission(tmp_path / "a", tmp_path / "b", "conll")
    with pytest.raises(ValueError, match="edition must be one of v1, v2, found 'v3'"):
        check_submission(tmp_path / "a", tmp_path / "b", "cmeee-v3")
