"""Fuzz tests of every reader: any content is refused with its place, or read to documents that round-trip."""

import json
import logging
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import READERS, read_documents, write_documents

SPAN = {"start": 2, "end": 4, "label": "Symptom", "text": "红斑", "meta": {"score": 0.5, "assertion": ["negated"]}}
CHOICES = {"id": "r", "from_name": "assertion", "type": "choices", "value": {"choices": ["negated"]}}
TASK_VALUE = {"start": 2, "end": 4, "text": "红斑", "labels": ["Symptom"]}
JSON_RECORDS = {
    "jsonl": {"id": "a", "text": "面部红斑😀", "entities": [SPAN], "meta": {"ward": [1]}},
    "doccano": {"id": 1, "text": "面部红斑", "label": [[2, 4, "Symptom"]], "relations": [{"id": 1}]},
    "label-studio": {
        "id": 1,
        "data": {"text": "面部红斑", "ward": 1},
        "annotations": [
            {
                "completed_by": {"id": 1},
                "was_cancelled": False,
                "result": [
                    {"id": "r", "from_name": "label", "type": "labels", "value": TASK_VALUE, "meta": {"k": 1}},
                    CHOICES,
                ],
            }
        ],
        "predictions": [],
    },
    "cmeee": {"text": "面部红斑", "entities": [{"start_idx": 2, "end_idx": 3, "type": "sym", "entity": "红斑"}]},
    "ccks": {"originalText": "面部红斑", "entities": [{"start_pos": 2, "end_pos": 4, "label_type": "症状"}]},
    "cluener": {"text": "面部红斑", "label": {"symptom": {"红斑": [[2, 3]]}}},
    "chip-sts": {"id": "1", "text1": "头痛", "text2": "头晕", "label": "0", "category": "c"},
    "imcs": {
        "1": {"self_report": "无", "dialogue": [{"sentence_id": "1", "sentence": "红斑", "BIO_label": "B-S I-S"}]}
    },
}
"""A record of each JSON format."""

TABLE = 'id,text,start,end,label,entity_meta,meta,ward\n1,面部红斑,2,4,Symptom,,"{""a"": 1}",3\n1,,0,2,Site,,,3\n'
OTHERS = {
    "brat": {
        "n.txt": "面部红斑",
        "n.ann": 'T1\tSymptom 2 4\t红斑\nA1\tNegated T1\n#1\tMeta T1\t{"a": 1}\n'
        "#2\tAnnotatorNotes T1\tx\nR1\tr T1 T1\n",
        "n.meta.json": '{"ward": 1}',
    },
    "conll": {
        "a": '# id = "a"\n# meta = {"a": 1}\n'
        '# entity = {"start": 0, "end": 2, "label": "S"}\n红\tB-S\n斑\tI-S\n\n痒\tO\n'
    },
    "csv": {"a": TABLE},
    "tsv": {"a": TABLE.replace(",", "\t")},
    "lines": {"a": "面部红斑\n瘙痒\n"},
    "text": {"a": "面部红斑\n瘙痒\n"},
}
"""Files of each other format; Excel has the cells of CSV in a ZIP file."""

SAMPLES = {
    **OTHERS,
    **{name: {"a": json.dumps(record, ensure_ascii=False)} for name, record in JSON_RECORDS.items()},
}
FRAGMENTS = [
    *(
        "null",
        "{",
        "[",
        '"',
        "\\",
        "\\ud800",
        "NaN",
        "-1",
        "1e999",
        "9" * 5000,
        "[" * 5000,
        "{}",
        "[[]]",
        "0.0",
        "true",
    ),
    *("\0", "\t", "\n", "\r\n", " ", "\ufeff", ",", ";", "T1", "#", "😀", "B_", "I-S", "\x85\u2028"),
]
values = st.recursive(
    st.sampled_from([None, True, "", "0", "红斑", "\ud800", 0, -1, 2.0, 10**30, 1e308, float("nan"), float("inf")])
    | st.integers(-3, 6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "start", "k"]), inner),
    max_leaves=4,
)
quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path):
    logging.disable()
    yield tmp_path
    logging.disable(logging.NOTSET)


def refused_or_round_trip(path, format_name, copy):
    """Read the documents of a file; return the error, or None if they are the same after JSONL."""
    try:
        documents = list(read_documents(path, format_name))
    except DataFormatError as error:
        assert error.path is not None and str(error.path).startswith(str(path)), error
        return error
    write_documents(documents, copy, "jsonl")
    assert list(read_documents(copy, "jsonl", overlaps="any")) == documents
    return None


def write_all(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return folder if len(files) > 1 else folder / next(iter(files))


def places(value, path=()):
    """Yield the path of keys and indices to each value within a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def replaced(value, path, other):
    """Return a copy of a JSON value with another value at a place."""
    if not path:
        return other
    value = deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = other
    return value


def test_every_reader_has_a_sample():
    assert set(SAMPLES) | {"excel", "dataset"} == set(READERS)


@pytest.mark.parametrize("format_name", SAMPLES)
def test_the_samples_are_valid(folder, format_name):
    path = write_all(folder, SAMPLES[format_name])
    assert refused_or_round_trip(path, format_name, folder / "copy.jsonl") is None


@pytest.mark.parametrize("format_name", READERS)
@quick
@given(content=st.binary(max_size=40), data=st.data())
def test_any_bytes(folder, format_name, content, data):
    files = {**SAMPLES.get(format_name, {"a": ""})}
    files[data.draw(st.sampled_from(list(files)))] = content
    refused_or_round_trip(write_all(folder, files), format_name, folder / "copy.jsonl")


@pytest.mark.parametrize("format_name", SAMPLES)
@quick
@given(data=st.data())
def test_a_valid_file_with_a_part_replaced(folder, format_name, data):
    files = {**SAMPLES[format_name]}
    name = data.draw(st.sampled_from(list(files)))
    start = data.draw(st.integers(0, len(files[name])))
    end = data.draw(st.integers(start, min(start + 12, len(files[name]))))
    part = data.draw(st.sampled_from(FRAGMENTS) | st.text(max_size=3))
    files[name] = files[name][:start] + part + files[name][end:]
    refused_or_round_trip(write_all(folder, files), format_name, folder / "copy.jsonl")


@pytest.mark.parametrize("format_name", JSON_RECORDS)
@settings(quick, max_examples=25)
@given(data=st.data(), is_array=st.booleans())
def test_any_json_value_at_any_place(folder, format_name, data, is_array):
    record = JSON_RECORDS[format_name]
    path = data.draw(st.sampled_from(list(places(record))))
    changed = replaced(record, path, data.draw(values))
    content = json.dumps([record, changed] if is_array and format_name != "imcs" else changed, indent=1)
    error = refused_or_round_trip(write_all(folder, {"a": content}), format_name, folder / "copy.jsonl")
    is_whole_file = error is not None and error.reason == "the file has no documents"
    assert error is None or is_whole_file or error.line is not None or error.record is not None


@pytest.mark.parametrize("format_name", ["csv", "tsv", "excel"])
@settings(quick, max_examples=15)
@given(data=st.data())
def test_any_value_in_any_cell(folder, format_name, data):
    rows = [
        ["id", "text", "start", "end", "label", "entity_meta", "meta", "ward"],
        [1, "面部红斑", 2, 4, "A", "", "{}", 3],
    ]
    row, column = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 7))
    value = data.draw(values)
    rows[row][column] = value if isinstance(value, (int, float)) else json.dumps(value)
    path = folder / "table"
    if format_name == "excel":
        workbook = pytest.importorskip("openpyxl").Workbook()
        for cells in rows:
            workbook.active.append(cells)
        workbook.save(path)
    else:
        import csv

        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="," if format_name == "csv" else "\t").writerows(rows)
    refused_or_round_trip(path, format_name, folder / "copy.jsonl")
