"""Tests of text sources and JSON streams."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import source as source_module
from hf_adner.data.formats.charset import CHUNK, detect_encoding
from hf_adner.data.formats.source import JsonStream, TextSource, json_records

TEXT = "第一行：特应性皮炎\r\n第二行：瘙痒\u2028仍是第二行\n第三行"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"

    def write(content):
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "encoding, detected",
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("gbk", "gb18030"), ("utf-16", "utf-16")],
)
def test_encodings_are_detected(file, encoding, detected):
    text = TEXT.replace("\u2028", "")
    source = TextSource(file(text.encode(encoding)))
    assert source.encoding == detected and source.text() == text


def test_only_line_feeds_end_lines(file):
    lines = list(TextSource(file(TEXT.encode())).lines())
    assert lines == [(1, "第一行：特应性皮炎"), (2, "第二行：瘙痒\u2028仍是第二行"), (3, "第三行")]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_characters_across_chunks(file, encoding):
    text = "a" + "皮炎\n" * (CHUNK // 2)
    source = TextSource(file(text.encode(encoding)))
    assert source.text() == text
    assert sum(1 for _ in source.lines()) == CHUNK // 2


def test_a_given_encoding_is_used(file):
    assert TextSource(file("皮炎".encode("big5", "replace")), "big5").text()
    assert TextSource(file("皮炎".encode("utf-8-sig")), "utf8").text() == "皮炎"
    with pytest.raises(DataFormatError, match="not gb18030: byte 0xff at byte offset 4"):
        TextSource(file("皮炎".encode("gb18030") + b"\xff\xff"), "gb18030").text()


def test_a_broken_byte_in_utf8_is_not_taken_for_gb18030(file):
    content = ("特应性皮炎" * 50).encode()
    with pytest.raises(DataFormatError, match="not UTF-8 or GB18030: byte 0xe7 at byte offset 0"):
        detect_encoding(file(content[:1] + content[3:]))
    place = 9 * 60_000  # in the third chunk, between two characters
    content = ("皮炎。" * CHUNK).encode()
    with pytest.raises(DataFormatError, match=f"byte 0xff at byte offset {place}"):
        detect_encoding(file(content[:place] + b"\xff" + content[place:]))


def test_a_file_that_ends_within_a_character(file):
    with pytest.raises(DataFormatError, match="byte 0xe7 at byte offset 15|end of the file within a character"):
        detect_encoding(file("特应性皮炎瘙".encode()[:-1]))


@pytest.mark.parametrize(
    "content, reason",
    [(b"", "the file is empty"), (b"PK\x03\x04..", "ZIP or Excel"), (b"\x1f\x8b..", "gzip"), (b"%PDF-1.7", "PDF")],
)
def test_binary_and_empty_files_are_refused(file, content, reason):
    with pytest.raises(DataFormatError, match=reason):
        TextSource(file(content))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        TextSource(tmp_path / "nowhere")


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_unknown_encoding(file, encoding):
    with pytest.raises(ValueError, match="is unknown"):
        TextSource(file(b"a"), encoding)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Chunks:
    """A source with chunks of a fixed size."""

    path = "memory"

    def __init__(self, text, size):
        self._text, self._size = text, size

    def chunks(self):
        return (self._text[start : start + self._size] for start in range(0, len(self._text), self._size))


@given(st.lists(values, max_size=5), st.integers(1, 40), st.sampled_from([None, 1]))
def test_elements_are_those_of_the_whole_file(array, size, indent):
    text = json.dumps(array, indent=indent, ensure_ascii=False)
    assert [record.value for record in JsonStream(Chunks(text, size)).elements()] == array


@given(st.dictionaries(st.text(), values, max_size=5), st.integers(1, 40))
def test_members_are_those_of_the_whole_file(members, size):
    text = f"\n {json.dumps(members)} \n"
    records = list(JsonStream(Chunks(text, size)).members())
    assert {record.key: record.value for record in records} == members


def test_lines_are_counted_where_values_begin():
    text = '[\n  {"a":\n 1},\n\n  {"b": 2}, 3]'
    assert [record.line for record in JsonStream(Chunks(text, 4)).elements()] == [2, 5, 5]


@pytest.mark.parametrize(
    "text", ['["a"', '["a",', "[tru", '[{"a": 1}, {"b"', "[1 2]", "[1,]", '["a\nb"]', "[1]x", "{}", ""]
)
@pytest.mark.parametrize("size", [1, 100])
def test_invalid_arrays_are_refused(text, size):
    with pytest.raises(DataFormatError, match="broken JSON"):
        list(JsonStream(Chunks(text, size)).elements())


@pytest.mark.parametrize("text", ["{a: 1}", '{"a" 1}', '{"a": }', "[]", '{"a": 1,}'])
def test_invalid_objects_are_refused(text):
    with pytest.raises(DataFormatError, match="broken JSON"):
        list(JsonStream(Chunks(text, 3)).members())


def test_an_early_error_is_found_without_reading_the_rest():
    class Counting(Chunks):
        read = 0

        def chunks(self):
            for piece in super().chunks():
                Counting.read += 1
                yield piece

    text = '[{"a": nope}' + ', {"a": 1}' * 200_000 + "]"
    with pytest.raises(DataFormatError, match="line 1"):
        list(JsonStream(Counting(text, 1000)).elements())
    assert Counting.read < 300


def test_an_ambiguous_value_is_an_error_and_the_next_is_read():
    values = [record.value for record in JsonStream(Chunks('[{"a": 1, "a": 2}, NaN, 3]', 5)).elements()]
    assert "duplicate key" in values[0].reason and "NaN" in values[1].reason and values[2] == 3


def test_records_of_arrays_and_of_lines(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    for text in ('\n [{"a": 1}, {"a": 2}]', '{"a": 1}\n\n{"a": 2}\n'):
        path.write_text(text, encoding="utf-8-sig")
        records = list(json_records(TextSource(path)))
        assert [(record.key, record.value) for record in records] == [("0", {"a": 1}), ("1", {"a": 2})]
    monkeypatch.setattr(source_module, "CHUNK", 3)
    assert len(list(json_records(TextSource(path)))) == 2
