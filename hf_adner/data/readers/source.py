"""A text file as readers see it: decoded by what its bytes are, line by line or in chunks, never whole."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from hf_adner.data.errors import DataFormatError

CHUNK = 1 << 18
_BINARY = {
    b"PK\x03\x04": "a ZIP or Excel file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class TextSource:
    """The text of one file.

    Args:
        path: the file.
        encoding: its encoding; None finds out whether it is UTF-8 (with or without a byte order mark), UTF-16 with a
            byte order mark, or GB18030 (which covers GBK and GB2312).

    Raises:
        DataFormatError: the file is empty, binary, or in none of these encodings (with the offset of the first byte
            that does not fit).
        FileNotFoundError: there is no such file.
        ValueError: Python knows no encoding of that name.
    """

    def __init__(self, path: str | Path, encoding: str | None = None):
        self.path = Path(path)
        with self.path.open("rb") as file:
            head = file.read(4)
        if not head:
            raise DataFormatError("the file is empty", path=self.path)
        kind = next((kind for magic, kind in _BINARY.items() if head.startswith(magic)), None)
        if kind:
            raise DataFormatError(f"the file is {kind}, expected text", path=self.path)
        self.encoding = check_encoding(encoding) if encoding else detect_encoding(self.path)

    def chunks(self) -> Iterator[str]:
        """The text in pieces, line ends as they are in the file.

        Raises:
            DataFormatError: a byte that the encoding does not have (only with an encoding that was given).
        """
        decoder = codecs.getincrementaldecoder(self.encoding)()
        offset = 0
        with self.path.open("rb") as file:
            while block := file.read(CHUNK):
                yield self._decoded(decoder, block, offset)
                offset += len(block)
            yield self._decoded(decoder, b"", offset)

    def _decoded(self, decoder: codecs.IncrementalDecoder, block: bytes, offset: int) -> str:
        held_back = len(decoder.getstate()[0])
        try:
            return decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise wrong_encoding(self.path, self.encoding, offset - held_back + error.start) from None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbered lines, from 1, without their line feed (and a carriage return before it).

        Only the line feed ends a line: characters such as U+2028 are text.
        """
        number, rest = 1, ""
        for chunk in self.chunks():
            pieces = (rest + chunk).split("\n")
            if "\r" in chunk or rest.endswith("\r"):
                pieces[:-1] = [piece.removesuffix("\r") for piece in pieces[:-1]]
            rest = pieces.pop()
            yield from enumerate(pieces, number)
            number += len(pieces)
        if rest:
            yield number, rest.removesuffix("\r")

    def text(self) -> str:
        """The whole text, line ends as they are in the file."""
        return "".join(self.chunks())


def check_encoding(encoding: str) -> str:
    """The name Python has for an encoding; UTF-8 is read with or without a byte order mark.

    Raises:
        ValueError: Python knows no such encoding of text.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"encoding {encoding!r} is unknown; name one that Python knows, such as 'gb18030'") from None
    name = codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def detect_encoding(path: Path) -> str:
    """UTF-8, UTF-16 (by byte order mark) or GB18030, whichever reads the whole file.

    A UTF-8 file with a few broken bytes would often pass for GB18030, as nonsense; so where most of the characters
    are whole UTF-8 the broken byte is reported instead.

    Raises:
        DataFormatError: none of them; names the offset of the first byte that is not UTF-8.
    """
    with path.open("rb") as file:
        head = file.read(4)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    broken = first_broken_byte(path, "utf-8")
    if broken is None:
        return "utf-8"
    if not mostly_utf8(path) and first_broken_byte(path, "gb18030") is None:
        return "gb18030"
    raise wrong_encoding(path, "UTF-8 or GB18030", broken)


def first_broken_byte(path: Path, encoding: str) -> int | None:
    """Offset of the first byte that `encoding` cannot decode, None where it decodes the whole file."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with path.open("rb") as file:
        while True:
            block = file.read(CHUNK)
            held_back = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return offset - held_back + error.start
            if not block:
                return None
            offset += len(block)


def mostly_utf8(path: Path) -> bool:
    """Whether more of the characters beyond ASCII are whole UTF-8 characters than broken ones."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    whole = broken = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            text = decoder.decode(block)
            broken += text.count("\ufffd")
            whole += sum(character > "\x7f" for character in text) - text.count("\ufffd")
    return whole > broken


def wrong_encoding(path: Path, encoding: str, offset: int) -> DataFormatError:
    """The error of a byte that does not fit its encoding, the first of several that were tried."""
    with path.open("rb") as file:
        file.seek(offset)
        byte = file.read(1)
    found = f"byte 0x{byte.hex()}" if byte else "the end of the file within a character"
    return DataFormatError(
        f"the text is not {encoding.removesuffix('-sig')}: {found} at byte offset {offset}",
        path=path,
        line=_line_of(path, encoding.split(" or ")[0], offset),
    )


def _line_of(path: Path, encoding: str, offset: int) -> int:
    """Line of a byte, of which all before it are in the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    lines = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(CHUNK, offset))):
            lines += decoder.decode(block).count("\n")
            offset -= len(block)
    return lines
