"""Tests of strict JSON: ambiguous or inexpressible values are refused at any place."""

import json

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.records import Document, Entity, load_meta
from hf_adner.data.strict_json import MAX_DEPTH, _unique_keys, dump_json, parse_json, parse_prefix

BAD = {
    '{"a": 1, "b": 2, "a": 1}': "duplicate key 'a'",
    "NaN": "NaN is not a JSON number",
    "-Infinity": "-Infinity is not a JSON number",
    "1e999": "the number '1e999' is too large",
    "-1e999": "too large",
    "9" * 5000: "an integer has thousands of digits",
    '"\\ud800"': "half of a surrogate pair",
    '{"\\udc00": 1}': "half of a surrogate pair",
    "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1): "nested too deeply",
    "[" * 100_000 + "]" * 100_000: "nested too deeply",
}
SHORT = [value if len(value) < 40 else f"{value[:8]}…{len(value)}" for value in BAD]


@pytest.mark.parametrize("value, reason", BAD.items(), ids=SHORT)
def test_what_is_not_strict_json(value, reason):
    with pytest.raises(DataFormatError, match=reason):
        parse_json(value)
    with pytest.raises(DataFormatError, match=f"meta is not JSON: .*{reason}"):
        load_meta(f'{{"x": {value}}}')


@pytest.mark.parametrize("value, reason", BAD.items(), ids=SHORT)
def test_the_value_after_one_that_is_not_strict(value, reason):
    if value.startswith("[[") and len(value) > 10_000:
        with pytest.raises(DataFormatError, match=reason):
            parse_prefix(value, 0)
        return
    fault, end = parse_prefix(f"{value} 1", 0)
    assert isinstance(fault, DataFormatError) and end == len(value)


PLACES = {
    "id": '{{"id": {}, "text": "红斑", "entities": []}}',
    "label": '{{"text": "红斑", "entities": [{{"start": 0, "end": 2, "label": {}}}]}}',
    "entity meta": '{{"text": "红斑", "entities": [{{"start": 0, "end": 2, "label": "A", "meta": {{"k": {}}}}}]}}',
    "meta": '{{"text": "红斑", "entities": [], "meta": {{"k": [{}]}}}}',
    "other key": '{{"text": "红斑", "entities": [], "k": {}}}',
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("value, reason", BAD.items(), ids=SHORT)
def test_a_record_that_is_not_strict_is_named(tmp_path, place, value, reason):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "entities": []}\n' + place.format(value), "utf-8")
    with pytest.raises(DataFormatError, match=reason) as caught:
        list(read_documents(path, "jsonl"))
    assert (caught.value.path, caught.value.line, caught.value.record) == (path, 2, "1")


def test_what_is_strict_json():
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    text = f'{{"a": [1, 2.5, null, "\\ud83d\\ude00 [[["], "b": {{"a": {nested[2:-2]}}}}}'
    assert parse_json(text) == json.loads(text)
    assert parse_prefix(f" {text}]", 1) == (json.loads(text), len(text) + 1)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, float("nan"), {1, 2}])
def test_what_cannot_be_written(value):
    with pytest.raises(DataFormatError, match="meta"):
        dump_json({"k": value})


def test_nesting_without_end_cannot_be_written():
    endless = []
    for _ in range(10_000):
        endless = [endless]
    with pytest.raises(DataFormatError, match="nested too deeply"):
        dump_json(endless)


@pytest.mark.parametrize("make", [lambda half: Document(half, "a"), lambda half: Entity(0, 1, half)])
def test_ids_and_labels_that_cannot_be_encoded(make):
    with pytest.raises(DataFormatError, match="half of a surrogate pair at character 1"):
        make("a\ud83d")


class CountedKey(str):
    """A key that counts comparisons."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        CountedKey.comparisons += 1
        return str.__eq__(self, other)


def test_finding_a_repeated_key_takes_linear_time():
    keys = [CountedKey(f"key {number}") for number in range(2000)]
    with pytest.raises(DataFormatError, match="duplicate key 'key 1999'"):
        _unique_keys([(key, 0) for key in [*keys, CountedKey("key 1999")]])
    assert CountedKey.comparisons < 2 * len(keys)
