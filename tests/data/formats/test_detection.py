"""Tests of `detect_format`: the format, and the reason why there is none."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.formats.detection import detect_format


@pytest.fixture
def file(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    "name, text, format_name",
    [
        ("a.json", '[{"text": "a", "entities": [{"start_idx": 0, "end_idx": 0, "type": "b"}]}]', "cmeee"),
        ("a.jsonl", '{"text": "a", "entities": [{"start": 0, "end": 1, "label": "b"}]}', "jsonl"),
        ("a.jsonl", '{"text": "a", "entities": []}\n{"text": "a", "entities": [{"start_offset": 0}]}', "doccano"),
        ("a.jsonl", '{"text": "a", "entities": []}', "jsonl"),
        ("a.jsonl", '{"text": "a", "label": []}', "doccano"),
        ("a.json", '[{"text": "a", "label": [{"start": 0, "end": 1, "labels": ["b"]}]}]', "label-studio"),
        ("a.json", '[{"data": {"text": "a"}}]', "label-studio"),
        ("a.json", '[{"text1": "a", "text2": "b"}]', "chip-sts"),
        ("a.json", '{"1": {"dialogue": []}}', "imcs"),
        ("a.csv", "id,text,start\n", "csv"),
        ("a.tsv", "id\ttext\tstart\n", "tsv"),
        ("a.tsv", "红\tB-A\n斑\tI-A\n", "conll"),
        ("a.txt", "红 B-A\n斑 I-A\n", "conll"),
        ("a.txt", "面部红斑。\n", "text"),
    ],
)
def test_detect_format(tmp_path, name, text, format_name):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert detect_format(path) == format_name


@pytest.mark.parametrize("name, text", [("a.json", '[{"sentence": "a"}]'), ("a.md", "# notes")])
def test_unknown_formats_are_not_detected(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataFormatError, match="cannot be detected|is unknown"):
        detect_format(path)


def test_the_format_of_a_truncated_file_is_detected(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a", "entities": [{"start_idx": 0}]}, {"te', encoding="utf-8")
    assert detect_format(path) == "cmeee"


@pytest.mark.parametrize(
    "text",
    ["[主诉] 面部红斑。", "{面部}红斑", "[]发热 [√]咳嗽", "[1] 红斑", "{", "[", "[[参考]] 红斑", '["红斑"] 三天'],
)
@pytest.mark.parametrize("name", ["a.txt", "a.TEXT"])
def test_a_note_may_begin_with_a_bracket(file, name, text):
    path = file(name, text)
    assert detect_format(path) == "text" and next(read_documents(path)).text == text


def test_tagged_text_may_begin_with_a_bracket(file):
    path = file("a.conll", "[SEP] O\n面 B-Site\n\n{ O\n")
    assert [document.text for document in read_documents(path)] == ["[SEP]面", "{"]


@pytest.mark.parametrize("name", ["a.txt", "a.dat", "a.jsonl"])
def test_records_are_told_by_their_beginning(file, name):
    record = {"text": "红斑", "entities": [{"start": 0, "end": 2, "label": "A"}]}
    lines = json.dumps(record) + "\n"
    for text in (lines, json.dumps([record]), json.dumps(record, indent=1) * 2, lines + lines[:-9]):
        assert detect_format(file(name, text)) == "jsonl"
    with pytest.raises(DataFormatError, match=r"line 1, record '0': broken JSON at column"):
        detect_format(file(name, json.dumps(record)[:-9]))


@pytest.mark.parametrize("separator", ["\n", "\n\n", " "])
@pytest.mark.parametrize("indent", [1, 4, "\t"])
def test_records_over_several_lines(file, indent, separator):
    records = [{"id": name, "text": "红斑", "label": [[0, 2, "A"]]} for name in ("a", "b", "c")]
    text = separator.join(json.dumps(record, indent=indent) for record in records)
    path = file("a.jsonl", text)
    assert [document.id for document in read_documents(path)] == ["a", "b", "c"]
    broken = file("b.jsonl", text.replace('"id": "b"', '"id": NaN'))
    line = 1 + broken.read_text("utf-8")[: broken.read_text("utf-8").index("{", 1)].count("\n")
    with pytest.raises(DataFormatError, match=f"line {line}, record '1': NaN is not a JSON number"):
        list(read_documents(broken))


EVERY_RECORD_BROKEN = [
    ('{"text": "ab", "entities": [], "x": NaN}\n{"text": 1}x\n', "line 1, record '0': NaN is not"),
    ('{"text": "ab", "text": "c"}', "line 1, record '0': duplicate key 'text'"),
    ('{"text": "ab"', "line 1, record '0': broken JSON at column 14"),
    ('\n\n"text"\n3\n', "line 3, record '0': a record must be a JSON object, found str"),
    ('[\n {"text": 1e999}]', "line 2, record '0': the number '1e999' is too large"),
    ('[\n\n {"text" 1}]', "line 3: broken JSON: Expecting ':' delimiter"),
    ("红斑", "line 1, record '0': broken JSON at column 1"),
    ("[]", "the file has no documents"),
    ("\n \n", "the file has no documents"),
    ('{"sentence": "a", "tags": []}', ".* expected a key such as 'text'.*found 'sentence', 'tags'; format= .--format."),
]


@pytest.mark.parametrize("text, reason", EVERY_RECORD_BROKEN)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
def test_the_first_reason_is_told_where_every_record_is_broken(file, name, text, reason):
    with pytest.raises(DataFormatError, match=rf"a\.\w+(, |: ){reason}") as caught:
        list(read_documents(file(name, text)))
    assert "cannot be detected" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "红 B.Symptom\n斑 I.Symptom\n。 O\n",
        "红,B-Symptom\n斑,I-Symptom\n。,O\n",
        "红\tSymptom:B\n斑\tSymptom:I\n。\tO\n",
        "红 Symptom\n斑 Symptom\n。 无\n",
        "红\tB\n斑\tI\n。\tO\n",
        "红/B-Symptom 斑/I-Symptom 。/O\n",
        "红/B-Symptom斑/I-Symptom。/O",
        "红|B-Symptom 斑|I-Symptom 。|O\n",
        "红_B-Symptom 斑_I-Symptom 。_O\n",
        "面部/BodySite 红斑/Symptom 瘙痒/Symptom\n",
        "面部<Symptom>红斑</Symptom>伴瘙痒。\n",
        '面部<e type="Symptom">红斑</e>伴瘙痒。\n',
        "红斑\t2\t3\tSymptom\n瘙痒\t5\t6\tSymptom\n",
        "红斑\t2\t4\tSymptom\n",
        "面部{{Symptom:红斑}}三年，外用{{Drug:他克莫司}}\n",
        "12|t|Eczema of 红\n12|a|Text.\n12\t0\t6\tEczema\tDisease\tD004485\n",
        'c="红斑" 1:2 1:2||t="problem"\n',
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.text"])
def test_text_that_looks_annotated_is_not_taken_for_plain(file, name, text):
    path = file(name, text)
    with pytest.raises(DataFormatError, match=r"looks annotated .*--format text") as caught:
        list(read_documents(path))
    assert caught.value.path == path and "红" not in caught.value.reason
    (document,) = read_documents(path, "text")
    assert document.text == text and document.entities == ()


@pytest.mark.parametrize(
    "text",
    [
        "1 头痛\n2 发热\n3 咳嗽\n",
        "查体：T 36.5℃，P 80次/分，BP 120/80mmHg，WBC 5.6×10^9/L。\n",
        "白细胞\t5.6\t10^9/L\n红细胞\t4.5\t10^12/L\n",
        "WBC\t4\t10\t5.6\n血小板\t100\t300\t120\n",
        "查CT/B-超/MRI，HBV-DNA <5 IU/mL，>3 天\n",
        "左 上肢\n",
        "血清高 M-蛋白\n",
        "多发性骨髓瘤的临床表现以骨病和骨髓浸润为主，查体见高 M-蛋白\n一位七十岁的男性患者，检查发现血清高 M-蛋白\n",
        "CD8<sup>+</sup>T细胞，FEV<sub>1</sub>下降，<b>红斑</b>\n",
        "男＜3万个/h，女＜4万/h；白细胞：男＜7万个/h，女＜14万个/h\n",
        "a b\nI O\n",
        "舌 红\n苔 白\n脉 弦\n便 溏\n",
        "{主诉}红斑 {{见附页}} a|t|b\n",
        "主诉 瘙痒3年\n现病史 患者面部红斑\n",
    ],
)
def test_plain_notes_are_plain(file, text):
    path = file("a.txt", text)
    stream = read_documents(path)
    assert next(stream).text == text
    assert stream.report.warnings() == ["1 × plain texts, which have no entities"]
    assert read_documents(path, require_entities=False).report.warnings() == []


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.dat"])
@pytest.mark.parametrize("header", ["id,text,start,end,label", '"ID","Text","entities"', "id\ttext\tstart\tend\tlabel"])
def test_a_table_is_told_by_its_header(file, name, header):
    assert detect_format(file(name, header + "\n")) == ("tsv" if "\t" in header else "csv")


def test_a_column_or_key_of_another_name(file):
    assert detect_format(file("a.json", '[{"note": "a", "entities": []}]'), text_column="note") == "cmeee"
    assert detect_format(file("a.txt", "note,label\n"), text_column="note") == "csv"


def test_the_encoding_is_used_for_detection(tmp_path):
    path = tmp_path / "a.conll"
    path.write_bytes("紅\tB-症狀\n斑\tI-症狀\n".encode("big5"))
    assert next(read_documents(path, encoding="big5")).spans == [(0, 2, "症狀")]
