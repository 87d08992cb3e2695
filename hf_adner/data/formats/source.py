"""A text file as readers see it: decoded by what its bytes are, line by line or in chunks, never whole.

JSON read piece by piece, so that a file of 100,000 records never lies in memory at once.

Every value comes with its line. A value that is JSON but that no reader can trust (a key given twice, NaN) comes as the
error that says so, and the values after it can still be read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from json.decoder import WHITESPACE
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.reader import RawRecord

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


_NEARLY_AT_THE_END = 16  # a literal or an escape cut by the end of the buffer fails at most this far before it


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise DataFormatError(f"key {excerpt(repeated, 20)} is given twice in one JSON object")
    return built


def _refuse_constant(name: str) -> None:
    raise DataFormatError(f"{name} is not a JSON number")


_strict = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
_lenient = json.JSONDecoder()


def parse_line(line: str) -> Any:
    """The one JSON value of a line, or the `DataFormatError` of what is wrong with it."""
    try:
        return _strict.decode(line)
    except DataFormatError as error:
        return error
    except json.JSONDecodeError as error:
        return DataFormatError(f"broken JSON at column {error.pos + 1}: {error.msg}")
    except RecursionError:
        return DataFormatError("JSON is nested too deeply")
    except ValueError as error:  # an integer of thousands of digits
        return DataFormatError(f"broken JSON: {error}")


class JsonStream:
    """The elements of one JSON array, or the members of one JSON object, in order."""

    def __init__(self, source: TextSource):
        self._source = source
        self._chunks = source.chunks()
        self._buffer, self._position, self._line = "", 0, 1
        self._at_end = False

    def elements(self) -> Iterator[RawRecord]:
        """The values of an array, keyed by index.

        Raises:
            DataFormatError: the file is no JSON array, or breaks off.
        """
        for index, _ in enumerate(self._items("[", "]")):
            line, value = self._value()
            yield RawRecord(line, str(index), value)

    def members(self) -> Iterator[RawRecord]:
        """The values of an object, keyed by key.

        Raises:
            DataFormatError: the file is no JSON object, or breaks off.
        """
        for _ in self._items("{", "}"):
            if self._peek() != '"':
                raise self._broken("expected a key in double quotes")
            key = self._value()[1]
            self._take(":")
            line, value = self._value()
            yield RawRecord(line, key, value)

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self._peek() == closing:
            return self._finish(closing)
        while True:
            yield
            if self._peek() == closing:
                return self._finish(closing)
            self._take(",")

    def _finish(self, closing: str) -> None:
        self._take(closing)
        if self._peek():
            raise self._broken(f"expected the end of the file after {closing!r}")

    def _take(self, character: str) -> None:
        if self._peek() != character:
            raise self._broken(f"expected {character!r}")
        self._advance(self._position + 1)

    def _peek(self) -> str:
        """The next character that is no white space, the empty string at the end of the file."""
        while True:
            self._advance(WHITESPACE.match(self._buffer, self._position).end())
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if self._at_end:
                return ""
            self._fill()

    def _value(self) -> tuple[int, Any]:
        self._peek()
        line, decoder, fault = self._line, _strict, None
        while True:
            try:
                value, end = decoder.raw_decode(self._buffer, self._position)
            except DataFormatError as error:
                decoder, fault = _lenient, error
                continue
            except RecursionError:
                raise self._broken("JSON is nested too deeply") from None
            except json.JSONDecodeError as error:
                if self._at_end or not self._breaks_off(error):
                    self._advance(min(error.pos, len(self._buffer)))
                    raise self._broken(error.msg) from None
                self._fill()
                continue
            except ValueError as error:
                raise self._broken(str(error)) from None
            if end == len(self._buffer) and not self._at_end:
                self._fill()  # a number may go on
                continue
            self._advance(end)
            return line, fault or value

    def _breaks_off(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - _NEARLY_AT_THE_END

    def _advance(self, position: int) -> None:
        self._line += self._buffer.count("\n", self._position, position)
        self._position = position

    def _fill(self) -> None:
        """Read at least as much as is waiting, so that a long value is tried a logarithmic number of times."""
        waiting = self._buffer[self._position :]
        pieces, wanted = [waiting], max(CHUNK, len(waiting))
        while wanted > 0 and not self._at_end:
            piece = next(self._chunks, None)
            self._at_end = piece is None
            pieces.append(piece or "")
            wanted -= len(pieces[-1])
        self._buffer, self._position = "".join(pieces), 0

    def _broken(self, reason: str) -> DataFormatError:
        found = "" if self._position < len(self._buffer) else ", but the file ends here"
        return DataFormatError(f"broken JSON: {reason}{found}", path=self._source.path, line=self._line)


def json_lines(lines: Iterable[tuple[int, str]]) -> Iterator[RawRecord]:
    """The value of each line that is not blank, keyed by its index."""
    index = 0
    for number, line in lines:
        if line and not line.isspace():
            yield RawRecord(number, str(index), parse_line(line))
            index += 1


_ARRAY = re.compile(r"[\ufeff\s]*\[")


def json_records(source: TextSource) -> Iterator[RawRecord]:
    """The records of a JSON array, or of a file with one JSON value a line, whichever the file is."""
    if begins_with(source, _ARRAY):
        return JsonStream(source).elements()
    return json_lines(source.lines())


def begins_with(source: TextSource, pattern: re.Pattern[str]) -> bool:
    """Whether the file's first chunk matches."""
    return bool(pattern.match(next(source.chunks(), "")))
