"""Tests of encodings: what is detected, and what is refused because it decodes to nonsense."""

import pytest

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats import read_documents
from hf_adner.data.formats.charset import improbable_share
from hf_adner.data.formats.source import TextSource

NOTE = "患者面部红斑伴瘙痒三年余，曾外用他克莫司软膏，IgE 升高，β受体阻滞剂无效。"
TRADITIONAL = "患者面部紅斑伴搔癢三年餘，曾外用類固醇藥膏，症狀緩解後復發。"
JAPANESE = "患者は男性。全身に紅斑と丘疹があり、かゆみが続いている。"
MARKS = {"utf-32": "utf-32", "utf-16": "utf-16", "utf-8-sig": "utf-8-sig"}


@pytest.fixture
def file(tmp_path):
    def write(content):
        (tmp_path / "note.txt").write_bytes(content)
        return tmp_path / "note.txt"

    return write


@pytest.mark.parametrize("mark", [*MARKS, "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_byte_order_marks(file, mark):
    content = NOTE.encode(mark) if mark in MARKS else ("\ufeff" + NOTE).encode(mark)
    assert TextSource(file(content)).text() == NOTE
    assert TextSource(file(content), mark).text() == NOTE  # the mark is none of the text, whoever names the encoding
    with pytest.raises(DataFormatError, match="begins with the byte order mark of utf-.*, which is not gb18030"):
        TextSource(file(content), "gb18030")


UNUSUAL = ["IgE+TgAb (+), anti-B~{x", "Patient 张喆, no rash", "红斑 渗出 苔藓样 红斑 渗出 苔藓样 红斑 渗出 苔藓"]


@pytest.mark.parametrize(
    "text", [NOTE, TRADITIONAL, "瘙痒", "a痒", "①红斑伴瘙痒反复发作\ue000", "1.红斑", "IgE", *UNUSUAL], ids=len
)
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_right_encodings_are_accepted(file, text, encoding):
    content = text.encode(encoding)
    assert TextSource(file(content)).text() == text == TextSource(file(content), encoding).text()


WRONG = [
    (TRADITIONAL, "big5", "big5"),
    (NOTE.replace("IgE ", ""), "utf-16-le", "utf-16-le"),
    (NOTE, "utf-16-le", "utf-16-le"),
    (NOTE, "utf-16-be", "utf-16-be"),
    (NOTE, "utf-32-le", "utf-32-le"),
    (NOTE, "utf-32-be", "utf-32-be"),
    ("IgE positive, 12 mg.", "utf-16-le", "utf-16-le"),
    ("IgE positive, 12 mg.", "utf-16-be", "utf-16-be"),
    ("IgE", "utf-32-le", "utf-32-le"),
    (NOTE, "utf-7", "utf-7"),
    (NOTE.replace("β", ""), "hz", "hz"),
    (JAPANESE, "iso2022_jp", "iso2022_jp"),
    (JAPANESE, "euc_jp", "euc_jp"),
    (JAPANESE, "shift_jis", "nonsense"),
    ("환자는 전신에 홍반과 구진이 있고 가려움증이 있었다.", "euc_kr", "euc_kr"),
    ("Patient mit Ekzem: Größe 180 cm, übergewichtig, Hände gerötet", "latin-1", "nonsense"),
]


@pytest.mark.parametrize("text, encoding, hint", WRONG)
def test_other_encodings_are_refused_by_name(file, text, encoding, hint):
    path = file(text.encode(encoding))
    with pytest.raises(DataFormatError, match="--encoding") as caught:
        list(read_documents(path))
    assert caught.value.path == path and hint in caught.value.reason
    assert next(read_documents(path, "text", encoding=encoding)).text == text


@pytest.mark.parametrize("text", [NOTE, NOTE * 20, "面部红斑伴瘙痒。"], ids=len)
@pytest.mark.parametrize("given", ["gb18030", "big5", "cp1252", "iso8859-1", "utf-16-le", "utf-16", "cp437"])
def test_a_wrong_encoding_that_is_given_is_refused(file, text, given):
    with pytest.raises(DataFormatError, match=rf"note\.txt.*({given}|utf-16)"):
        TextSource(file(text.encode()), given).text()


ELF = b"\x7fELF\x02\x01\x01" + bytes(200)


@pytest.mark.parametrize(
    "content, given",
    [(bytes(range(256)) * 8, None), (bytes(100), None), (ELF, None), (ELF, "latin-1"), (ELF, "gb18030")],
)
def test_binary_files_are_refused(file, content, given):
    with pytest.raises(DataFormatError, match="not text|is not UTF-8 or GB18030"):
        TextSource(file(content), given).text()


@pytest.mark.parametrize("text", ["\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x08", "\0", "红\0斑", "a\0b\x7f"], ids=ascii)
def test_a_short_text_may_have_control_characters(file, text):
    assert TextSource(file(text.encode())).text() == text


def test_the_share_of_improbable_characters():
    assert improbable_share(NOTE) == improbable_share(TRADITIONAL) == 0
    assert improbable_share("红\ue000\x01곇") == 0.75
    assert improbable_share(TRADITIONAL.encode("big5").decode("gb18030")) > 0.4


@pytest.mark.parametrize(
    "content, kind",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer .*git lfs pull"),
        (b"/annex/objects/SHA256E-s1--1.json", "git-annex pointer"),
        (b"{\\rtf1\\ansi}", "RTF"),
        (b"PAR1", "Parquet"),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.txt"])
def test_what_stands_in_place_of_data_is_named(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFormatError, match=kind):
        list(read_documents(tmp_path / name))


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(DataFormatError, match="this is a folder, expected a file"):
        TextSource(tmp_path)


@pytest.mark.parametrize("text", ["1e+308", "T+3-5", "a+b+c", "dose ~{2~}"])
def test_ascii_with_the_signs_of_a_seven_bit_encoding_is_ascii(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    assert [document.text for document in read_documents(tmp_path / "a.txt", "lines")] == [text]
