import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.source import CHUNK, TextSource, detect_encoding

TEXT = "第一行：特应性皮炎\r\n第二行：瘙痒\u2028仍是第二行\n第三行"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.txt"

    def write(content):
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "encoding, found",
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("gbk", "gb18030"), ("utf-16", "utf-16")],
)
def test_encodings_are_told_apart(file, encoding, found):
    text = TEXT.replace("\u2028", "")
    source = TextSource(file(text.encode(encoding)))
    assert source.encoding == found and source.text() == text


def test_only_line_feeds_end_lines(file):
    lines = list(TextSource(file(TEXT.encode())).lines())
    assert lines == [(1, "第一行：特应性皮炎"), (2, "第二行：瘙痒\u2028仍是第二行"), (3, "第三行")]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_characters_across_chunks(file, encoding):
    text = "a" + "皮炎\n" * (CHUNK // 2)
    source = TextSource(file(text.encode(encoding)))
    assert source.text() == text
    assert sum(1 for _ in source.lines()) == CHUNK // 2


def test_a_given_encoding_is_taken(file):
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
def test_what_is_no_text(file, content, reason):
    with pytest.raises(DataFormatError, match=reason):
        TextSource(file(content))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        TextSource(tmp_path / "nowhere")


@pytest.mark.parametrize("encoding", ["klingon", "base64"])
def test_an_unknown_encoding(file, encoding):
    with pytest.raises(ValueError, match="is unknown"):
        TextSource(file(b"a"), encoding)
