"""Tests of `read_documents`: invalid input is reported with file, line and reason, or skipped and listed; detection."""

import json
import os
import re
import threading
from pathlib import Path

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.formats.reading import READERS, _stems, resolve_format
from hf_adner.data.records import Document

TEXT = "患者面部红斑伴瘙痒三年余，曾外用他克莫司软膏。"  # 红斑 4-6, 瘙痒 7-9, 他克莫司软膏 16-22


def jsonl(**changes):
    record = {"text": TEXT, "entities": [{"start": 4, "end": 6, "label": "Symptom"}], **changes}
    return json.dumps({key: value for key, value in record.items() if value is not ...}, ensure_ascii=False)


def span(start, end, label="Symptom", **more):
    return {"start": start, "end": end, "label": label, **more}


def cmeee(**changes):
    entity = {"start_idx": 4, "end_idx": 5, "type": "sym", "entity": "红斑", **changes}
    entity = {key: value for key, value in entity.items() if value is not ...}
    return json.dumps([{"text": TEXT, "entities": [entity]}], ensure_ascii=False)


def imcs(**changes):
    sentence = {"sentence": "头痛吗", "BIO_label": "B-Symptom I-Symptom O", "speaker": "医生", **changes}
    sentence = {key: value for key, value in sentence.items() if value is not ...}
    return json.dumps({"10001": {"self_report": "无", "dialogue": [sentence]}}, ensure_ascii=False)


def doccano(label, **more):
    return json.dumps({"id": 1, "text": TEXT, "label": label, **more}, ensure_ascii=False)


def task(results=None, **changes):
    value = {"start": 4, "end": 6, "text": "红斑", "labels": ["Symptom"]}
    results = [{"id": "a", "type": "labels", "value": value}] if results is None else results
    record = {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": results}], **changes}
    return json.dumps([{key: given for key, given in record.items() if given is not ...}], ensure_ascii=False)


def region(**changes):
    value = {"start": 4, "end": 6, "labels": ["Symptom"], **changes}
    return [{"id": "a", "type": "labels", "value": {key: given for key, given in value.items() if given is not ...}}]


def ann(*lines):
    return {"a.txt": TEXT, "a.ann": "".join(f"{line}\n" for line in lines)}


GOOD_T = "T1\tSymptom 4 6\t红斑"
HEADER = "id,text,start,end,label\n"

# name: (format, content or files, line of the error, pattern of the reason, options)
BROKEN = {
    # JSONL
    "broken JSON": ("jsonl", jsonl() + "\n{'text': 1}\n", 2, "broken JSON at column 2"),
    "JSON cut off": ("jsonl", jsonl()[:-3], 1, "broken JSON at column"),
    "key given twice": ("jsonl", '{"text": "a", "text": "b", "entities": []}', 1, "duplicate key 'text'"),
    "NaN offset": ("jsonl", jsonl(entities=[span(float("nan"), 6)]), 1, "NaN is not a JSON number"),
    "infinite offset": ("jsonl", jsonl(entities=[span(4, float("inf"))]), 1, "Infinity is not a JSON number"),
    "float offset": ("jsonl", jsonl(entities=[span(4.0, 6)]), 1, "entity start must be an integer, found float"),
    "bool offset": ("jsonl", jsonl(entities=[span(True, 6)]), 1, "entity start must be an integer, found bool"),
    "string offset": ("jsonl", jsonl(entities=[span(4, "6")]), 1, "entity end must be an integer, found str '6'"),
    "null offset": ("jsonl", jsonl(entities=[span(None, 6)]), 1, "entity start must be an integer, found NoneType"),
    "negative offset": ("jsonl", jsonl(entities=[span(-2, 6)]), 1, "0 <= start < end, found start -2"),
    "empty span": ("jsonl", jsonl(entities=[span(4, 4)]), 1, "found start 4, end 4"),
    "reversed span": ("jsonl", jsonl(entities=[span(6, 4)]), 1, "found start 6, end 4"),
    "span beyond the text": (
        "jsonl",
        jsonl(entities=[span(4, 99)]),
        1,
        "4-99 'Symptom' reaches outside the text of 23",
    ),
    "other text": (
        "jsonl",
        jsonl(entities=[span(4, 6, text="红肿")]),
        1,
        "recorded as '红肿', but the text there is '红斑'",
    ),
    "text is no string": ("jsonl", jsonl(entities=[span(4, 6, text=3)]), 1, "an entity's text must be a string"),
    "entity twice": ("jsonl", jsonl(entities=[span(4, 6), span(4, 6)]), 1, "duplicate entity 4-6 'Symptom'"),
    "crossing spans": ("jsonl", jsonl(entities=[span(2, 6), span(4, 9)]), 1, "2-6 and 4-9 cross; overlaps='any'"),
    "blank label": ("jsonl", jsonl(entities=[span(4, 6, " ")]), 1, "label must be a non-empty string"),
    "label is no string": ("jsonl", jsonl(entities=[span(4, 6, 3)]), 1, "label must be a non-empty string, found '3'"),
    "unknown label": (
        "jsonl",
        jsonl(entities=[span(4, 6, "Finding")]),
        1,
        "has label 'Finding'; expected one of Drug, Symptom",
        {"labels": ["Symptom", "Drug"]},
    ),
    "no text": ("jsonl", jsonl(text=...), 1, "the record has no key 'text'; its keys: 'entities'"),
    "no entities": ("jsonl", jsonl(entities=...), 1, "the record has no key 'entities'"),
    "no label": ("jsonl", jsonl(entities=[{"start": 4, "end": 6}]), 1, "an entity has no key 'label'"),
    "text of another type": ("jsonl", jsonl(text=["a"]), 1, "key 'text' of the record must be str, found list"),
    "entities of another type": (
        "jsonl",
        jsonl(entities={}),
        1,
        "key 'entities' of the record must be list, found dict",
    ),
    "entity of another type": (
        "jsonl",
        jsonl(entities=[[4, 6, "Symptom"]]),
        1,
        "an entity must be a JSON object, found list",
    ),
    "record of another type": ("jsonl", jsonl() + "\n3", 2, "a record must be a JSON object, found int"),
    "id of another type": ("jsonl", jsonl(id=[1]), 1, "key 'id' must be a non-empty string or an integer"),
    "blank id": ("jsonl", jsonl(id=""), 1, "key 'id' must be a non-empty string"),
    "id twice": ("jsonl", jsonl(id="a") + "\n" + jsonl(id="a"), 2, "duplicate id 'a'"),
    "meta of another type": ("jsonl", jsonl(meta=3), 1, "meta must be a JSON object, found int"),
    "meta and record disagree": ("jsonl", jsonl(meta={"ward": 1}, ward=2), 1, "key 'ward' is both"),
    "half a surrogate pair": (
        "jsonl",
        '{"text": "\\ud83d", "entities": []}',
        1,
        "half of a surrogate pair",
    ),
    "nested too deeply": ("jsonl", '{"text": ' + "[" * 200_000, 1, "nested too deeply"),
    "huge integer": ("jsonl", '{"text": "a", "entities": [{"start": ' + "9" * 5000 + "}]}", 1, "broken JSON"),
    "array broken off": ("jsonl", f"[{jsonl()},\n{jsonl()}", 2, "expected ',', but the file ends here"),
    "array without comma": ("jsonl", f"[{jsonl()}\n{jsonl()}]", 2, "broken JSON: expected ','"),
    "array with something after": ("jsonl", f"[{jsonl()}]\n\n[]", 3, "expected the end of the file after ']'"),
    # CMeEE
    "CMeEE: end of no edition": ("cmeee", cmeee(end_idx=7), 1, "is recorded as"),
    "CMeEE: other text": ("cmeee", cmeee(entity="红肿"), 1, "recorded as '红肿'"),
    "CMeEE: no type": ("cmeee", cmeee(type=...), 1, "an entity has no key 'type'"),
    "CMeEE: string offset": ("cmeee", cmeee(start_idx="4"), 1, "key 'start_idx' of an entity must be int, found str"),
    "CMeEE: bool offset": ("cmeee", cmeee(start_idx=True), 1, "key 'start_idx' of an entity must be int, found bool"),
    # IMCS
    "IMCS: too few tags": ("imcs", imcs(BIO_label="O O"), 1, "BIO_label has 2 tags for a sentence of 3 characters"),
    "IMCS: no tags": ("imcs", imcs(BIO_label=...), 1, "the sentence has no key 'BIO_label'"),
    "IMCS: no such tag": ("imcs", imcs(BIO_label="O X-Drug O"), 1, "tag 'X-Drug' is neither 'O' nor"),
    "IMCS: other scheme": ("imcs", imcs(BIO_label="S-Drug O O"), 1, "prefix S- in BIO_label is not a BIO prefix"),
    "IMCS: no dialogue": ("imcs", '{"10001": {"report": []}}', 1, "the dialogue has no key 'dialogue'"),
    "IMCS: no object": ("imcs", "[]", 1, r"expected '\{'"),
    # CHIP-STS
    "CHIP-STS: one text": ("chip-sts", '[{"id": "1", "text1": "头痛"}]', 1, "the pair has no key 'text2'"),
    # CoNLL
    "CoNLL: mixed schemes": (
        "conll",
        "红\tB-S\n斑\tI-S\n\n瘙\tB-S\n痒\tE-S\n痛\tM-S\n",
        6,
        "the tags mix schemes: M- beside B-, I-, E-",
    ),
    "CoNLL: prefix of another scheme": (
        "conll",
        "红\tB-S\n斑\tE-S\n",
        2,
        "prefix E- does not belong to scheme bio",
        {"scheme": "bio"},
    ),
    "CoNLL: no tag": ("conll", "红\tB-S\n斑\n", 2, "expected 2 columns .* found 1"),
    "CoNLL: four columns": ("conll", "红\tO\nEU NNP B-NP B-ORG\n", 2, "expected 2 columns"),
    "CoNLL: three columns": ("conll", "红\tB-S\n斑\tn\tI-S\n", 2, "expected 2 columns .* found 3"),
    "CoNLL: no such tag": ("conll", "红\tB-S\n斑\tsymptom\n", 2, "tag 'symptom' is neither 'O' nor of the form"),
    "CoNLL: tag without type": ("conll", "红\tB-S\n斑\tI-\n", 2, "tag 'I-' is neither"),
    "CoNLL: no tags at all": ("conll", "红斑\n瘙痒\n", None, "no line has the form 'character tag'"),
    "CoNLL: comment without entity": (
        "conll",
        '# entity = {"start": 0, "end": 2, "label": "S", "meta": {}}\n红\tB-S\n',
        1,
        "entity 0-2 'S', which is not in the tags",
    ),
    # brat
    "brat: discontinuous": ("brat", ann("T1\tSymptom 4 6;7 9\t红斑 瘙痒"), 1, "T1 is discontinuous"),
    "brat: other text": ("brat", ann(GOOD_T, "T2\tDrug 16 22\t他克莫司"), 2, "T2 16-22 is recorded as '他克莫司'"),
    "brat: beyond the text": ("brat", ann("T1\tSymptom 4 60\t红斑"), 1, "T1 4-60 reaches outside the text"),
    "brat: no form": ("brat", ann("T1 Symptom 4 6 红斑"), 1, "a line must begin with an id"),
    "brat: no offsets": ("brat", ann("T1\tSymptom four 6\t红斑"), 1, "T1 must have the form"),
    "brat: id twice": ("brat", ann(GOOD_T, "T1\tDrug 16 22\t他克莫司软膏"), 2, "T1 is defined twice"),
    "brat: unknown target": ("brat", ann(GOOD_T, "A1\tNegated T7"), 2, "T7 is referred to but not defined"),
    "brat: no .txt": ("brat", {"a.ann": GOOD_T}, None, "no .txt file beside"),
    "brat: no .ann": ("brat", {"a.txt": TEXT}, None, "no .ann file beside"),
    "brat: empty text": ("brat", {"a.txt": "", "a.ann": ""}, None, "the file is empty"),
    # doccano
    "doccano: two values": ("doccano", doccano([[4, 6]]), 1, r"a label must be \[start, end, label\], found 2"),
    "doccano: two lists": ("doccano", doccano([], entities=[]), 1, "both 'label' and 'entities'"),
    "doccano: no list": ("doccano", '{"id": 1, "text": "头痛"}', 1, "the record has no key 'label'"),
    "doccano: beyond the text": ("doccano", doccano([[4, 60, "Symptom"]]), 1, "reaches outside the text"),
    "doccano: no offset": (
        "doccano",
        '{"text": "头痛", "entities": [{"label": "S", "start_offset": 1}]}',
        1,
        "an entity has no key 'end_offset'",
    ),
    # Label Studio
    "Label Studio: two annotators": (
        "label-studio",
        task(annotations=[{"completed_by": 1, "result": []}, {"completed_by": 2, "result": []}]),
        1,
        "expected one annotation that is not cancelled, found 2; set annotator= \\(--annotator\\) to one of '1', '2'",
    ),
    "Label Studio: none": ("label-studio", task(annotations=[]), 1, "expected one annotation .* found 0"),
    "Label Studio: cancelled": (
        "label-studio",
        task(annotations=[{"was_cancelled": True, "result": []}]),
        1,
        "found 0",
    ),
    "Label Studio: no text": ("label-studio", task(data={"image": "a.png"}), 1, "the task's data has no key 'text'"),
    "Label Studio: other text": ("label-studio", task(region(text="红肿")), 1, "recorded as '红肿'"),
    "Label Studio: no label": ("label-studio", task(region(labels=[])), 1, "a region has no label"),
    "Label Studio: no labels": ("label-studio", task(region(labels=...)), 1, "the region's value has no key 'labels'"),
    "Label Studio: no end": ("label-studio", task(region(end=...)), 1, "the region's value has no key 'end'"),
    # tables
    "CSV: column missing": (
        "csv",
        "id,text,start,end\n1,头痛,0,2\n",
        1,
        "column label is missing; the header has 'id', 'text'",
    ),
    "CSV: column twice": ("csv", "text,text,start,end,label\n", 1, "column 'text' occurs twice"),
    "CSV: too many cells": ("csv", HEADER + "1,头痛,0,2,S,x\n", 2, "the row has 6 cells, the header 5"),
    "CSV: half an entity": ("csv", HEADER + "1,头痛,0,,S\n", 2, "end must be an integer, found ''"),
    "CSV: NaN offset": ("csv", HEADER + "1,头痛,nan,2,S\n", 2, "start must be an integer, found 'nan'"),
    "CSV: float offset": ("csv", HEADER + "1,头痛,0.5,2,S\n", 2, "start must be an integer, found '0.5'"),
    "CSV: huge offset": ("csv", HEADER + f"1,头痛,0,{'9' * 5000},S\n", 2, "end must be an integer, found '9999999…'"),
    "CSV: two texts": ("csv", HEADER + "1,头痛,0,2,S\n1,头晕,0,2,S\n", 3, "the text differs from the first row"),
    "CSV: open quote": ("csv", HEADER + '1,"头痛,0,2,S\n', 2, "broken quotes"),
    "CSV: document torn apart": (
        "csv",
        HEADER + "1,头痛,,,\n2,头晕,,,\n1,头痛,0,2,S\n",
        4,
        "duplicate id '1'",
    ),
    "CSV: JSON column": ("csv", 'text,entities\n头痛,"[[0, 2]]"\n', 2, "an entity must be a JSON object, found list"),
    "CSV: header only": ("csv", HEADER, None, "the file has no documents"),
    # files
    "empty file": ("jsonl", "", None, "the file is empty"),
    "blank file": ("jsonl", "\n \n", None, "the file has no documents"),
    "wrong encoding": (
        "jsonl",
        jsonl().encode()[:10] + b"\xff\xfe\xfd" + jsonl().encode(),
        None,
        "0xff at byte offset 10",
    ),
    "another encoding": (
        "jsonl",
        TEXT.encode("gb18030"),
        None,
        "not utf-8: byte 0xbb at byte offset 0",
        {"encoding": "utf8"},
    ),
    "Excel named CSV": ("csv", b"PK\x03\x04" + b"\0" * 20, None, "the file is a ZIP or Excel file, expected text"),
    "no workbook": ("excel", b"text,start,end,label", None, "not an Excel workbook|need openpyxl"),
}


def broken_file(tmp_path, content):
    if isinstance(content, dict):
        for name, text in content.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path
    path = tmp_path / "broken.dat"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


KINDS = [
    pytest.param(format_name, content, line, pattern, options[0] if options else {}, id=name)
    for name, (format_name, content, line, pattern, *options) in BROKEN.items()
]


def test_there_are_at_least_forty_kinds_of_invalid_input():
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("format_name, content, line, pattern, options", KINDS)
def test_broken_input_names_file_line_and_reason(tmp_path, format_name, content, line, pattern, options):
    path = broken_file(tmp_path, content)
    with pytest.raises((DataFormatError, ImportError)) as caught:
        list(read_documents(path, format_name, **options))
    if isinstance(caught.value, ImportError):
        assert format_name == "excel" and "openpyxl" in str(caught.value)
        return
    error = caught.value
    assert re.search(pattern, error.reason), error.reason
    assert str(error.path).startswith(str(path)) and str(error.path) in str(error)
    if line is not None:
        assert error.line == line and f"line {line}" in str(error)


@pytest.mark.parametrize("format_name, content, line, pattern, options", KINDS)
def test_messages_show_little_of_a_text(tmp_path, format_name, content, line, pattern, options):
    path = broken_file(tmp_path, content)
    with pytest.raises((DataFormatError, ImportError)) as caught:
        list(read_documents(path, format_name, **options))
    shown = str(caught.value)
    assert not any(TEXT[start : start + 11] in shown for start in range(len(TEXT) - 10))


@pytest.mark.parametrize("format_name, content, line, pattern, options", KINDS)
def test_skipping_lists_what_is_skipped(tmp_path, format_name, content, line, pattern, options):
    if format_name == "excel":
        pytest.importorskip("openpyxl")
    path = broken_file(tmp_path, content)
    stream = read_documents(path, format_name, skip_invalid=True, **options)
    documents = list(stream)
    assert stream.report.documents == len(documents)
    assert any(re.search(pattern, skipped.reason) for skipped in stream.report.skipped)
    assert all(str(path) in str(skipped) for skipped in stream.report.skipped)


def test_good_records_around_a_broken_one_are_kept(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join([jsonl(id="a"), "{", jsonl(id="b", entities=[span(4, 99)]), jsonl(id="c")]), "utf-8")
    stream = read_documents(path, skip_invalid=True)
    assert [document.id for document in stream] == ["a", "c"]
    assert [(record.line, record.file) for record in stream.report.skipped] == [(2, str(path)), (3, str(path))]
    assert any("2 invalid records were skipped" in line for line in stream.report.warnings())


def test_elements_after_an_ambiguous_element_are_read(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text(f'[{jsonl(id="a")},\n{{"text": "x", "text": "y", "entities": []}},\n{jsonl(id="c")}]', "utf-8")
    stream = read_documents(path, "jsonl", skip_invalid=True)
    assert [document.id for document in stream] == ["a", "c"]
    assert [record.line for record in stream.report.skipped] == [2]


def test_the_first_error_stops_without_skip(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text(jsonl(id="a") + "\n{\n" + jsonl(id="c"), "utf-8")
    stream = read_documents(path)
    assert next(stream).id == "a"
    with pytest.raises(DataFormatError, match="line 2"):
        next(stream)


def test_overlap_rules(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text(jsonl(entities=[span(2, 6), span(4, 6)]), "utf-8")
    assert len(next(read_documents(path)).entities) == 2
    with pytest.raises(DataFormatError, match="2-6 and 4-6 overlap"):
        next(read_documents(path, overlaps="none"))
    path.write_text(jsonl(entities=[span(2, 6), span(4, 9)]), "utf-8")
    stream = read_documents(path, overlaps="any")
    assert len(next(stream).entities) == 2 and stream.report.not_flat == 1
    with pytest.raises(ValueError, match="--overlaps. must be one of"):
        read_documents(path, overlaps="some")


def test_texts_without_annotation_are_read_when_asked(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text(jsonl(entities=...), "utf-8")
    assert next(read_documents(path, require_entities=False)).entities == ()


def test_several_files_are_one_stream(tmp_path):
    paths = []
    for ward in ("a", "b"):
        (tmp_path / ward).mkdir()
        paths.append(tmp_path / ward / "notes.jsonl")
        paths[-1].write_text(jsonl(), "utf-8")
    stream = read_documents(paths)
    assert len({document.id for document in stream}) == 2 and stream.report.documents == 2
    paths[0].write_text(jsonl(id="x"), "utf-8")
    paths[1].write_text(jsonl(id="x"), "utf-8")
    with pytest.raises(DataFormatError, match="duplicate id 'x'"):
        list(read_documents(paths))


def test_a_file_without_documents_is_listed_among_others(tmp_path):
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    for path, content in zip(paths, ("{", "\n", jsonl())):
        path.write_text(content, "utf-8")
    stream = read_documents(paths, "jsonl", skip_invalid=True)
    assert len(list(stream)) == 1
    assert [record.file for record in stream.report.skipped] == [str(path) for path in paths[:2]]


def test_invalid_arguments_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_documents(tmp_path / "nowhere.jsonl")
    path = tmp_path / "notes.jsonl"
    path.write_text(jsonl(), "utf-8")
    with pytest.raises(ValueError, match="format 'word' is unknown; known: brat"):
        next(read_documents(path, "word"))
    with pytest.raises(ValueError, match="encoding 'klingon' is unknown"):
        next(read_documents(path, encoding="klingon"))
    with pytest.raises(ValueError, match="format 'jsonl' has no option scheme= .--scheme."):
        next(read_documents(path, "jsonl", scheme="bio"))


def test_a_record_of_300_000_characters(tmp_path):
    text = TEXT * 13_100
    path = tmp_path / "notes.jsonl"
    path.write_text(jsonl(text=text, entities=[span(len(text) - 2, len(text))]), "utf-8")
    document = next(read_documents(path))
    assert len(document.text) == 301_300 and document.entities[0].text == text[-2:]


def test_format_names():
    assert resolve_format("Label_Studio") == ("label-studio", {})
    assert resolve_format("BIOES") == ("conll", {"scheme": "bioes"})
    assert all(resolve_format(name) == (name, {}) for name in READERS)
    with pytest.raises(ValueError, match="format 'word' is unknown; known: brat, ccks"):
        resolve_format("word")


PIPES = {
    "jsonl": jsonl() + "\n" + jsonl() + "\n",
    "conll": "红\tB-Symptom\n斑\tI-Symptom\n\n瘙\tO\n",
    "csv": HEADER + "1,头痛,0,2,S\n2,头痛,0,2,S\n",
    "cmeee": cmeee(),
    "imcs": imcs(),
}


@pytest.fixture
def pipe(tmp_path):
    """A function that makes a named pipe which is written to once, as by another process."""
    writers = []

    def make(content):
        path = tmp_path / f"pipe{len(writers)}"
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=(content,), daemon=True))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join(timeout=60)
        assert not writer.is_alive()


@pytest.mark.parametrize("format_name, content", PIPES.items(), ids=list(PIPES))
@pytest.mark.parametrize("is_detected", [True, False])
def test_a_pipe_is_read_once_and_completely(tmp_path, pipe, format_name, content, is_detected):
    copy = tmp_path / "copy.jsonl" if format_name == "jsonl" else tmp_path / "copy"
    copy.write_text(content, "utf-8")
    is_detected = is_detected and format_name != "cmeee"  # which only the suffix tells from JSONL
    given = None if is_detected else format_name
    expected = [(document.text, document.spans) for document in read_documents(copy, given)]
    assert [(document.text, document.spans) for document in read_documents(pipe(content.encode()), given)] == expected


def test_errors_in_a_pipe_name_the_pipe(pipe):
    path = pipe((jsonl() + "\n{").encode())
    with pytest.raises(DataFormatError, match="line 2") as caught:
        list(read_documents(path, "jsonl"))
    assert caught.value.path == path
    path = pipe("红斑".encode())
    with pytest.raises(DataFormatError, match="format cannot be detected") as caught:
        list(read_documents(path))
    assert caught.value.path == path
    path = pipe(b"{")
    stream = read_documents(path, "jsonl", skip_invalid=True)
    assert list(stream) == [] and [record.file for record in stream.report.skipped] == [str(path)]


class CountedName(str):
    """A name that counts comparisons."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        CountedName.comparisons += 1
        return str.__eq__(self, other)

    def split(self, *_):
        return [self]


def test_naming_many_files_takes_linear_time():
    class NamedPath:
        def __init__(self, number):
            self.name = CountedName(number)

    assert _stems([NamedPath(number) for number in range(2000)]) == [None] * 2000
    assert CountedName.comparisons < 4000


@pytest.mark.parametrize(
    "meta", [{"a": float("inf")}, {"a": "\ud800"}, {"a": {1}}], ids=["infinite", "half a pair", "no JSON"]
)
def test_meta_that_a_reader_makes_must_be_json(tmp_path, monkeypatch, meta):
    path = tmp_path / "a.txt"
    path.write_text("红斑", "utf-8")
    monkeypatch.setattr(READERS["text"], "document", lambda self, raw: Document("a", raw.value, meta=meta))
    with pytest.raises(DataFormatError, match=r"a\.txt, line 1, record 'a': meta"):
        list(read_documents(path))


def test_a_file_that_cannot_be_opened_is_skipped(tmp_path):
    for name, text in (("a.txt", ""), ("b.txt", "红斑"), ("c.xyz", "x")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = sorted(tmp_path.iterdir())
    with pytest.raises(DataFormatError, match=r"a\.txt: the file is empty"):
        list(read_documents(files))
    stream = read_documents(files, skip_invalid=True)
    assert [document.text for document in stream] == ["红斑"]
    assert [Path(record.file).name for record in stream.report.skipped] == ["a.txt", "c.xyz"]
