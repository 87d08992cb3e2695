"""Streaming access to text files: encoding detection, lines and chunks, JSON values; no file is held in memory.

JSON values come with the line where they begin. A value that is ambiguous or not strict JSON (a duplicate key, NaN) is
replaced by the `DataFormatError` that describes it, and the values after it are still read.
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
_MAX_CUT_TOKEN = 16  # a literal or escape cut by the end of the buffer fails at most this far before the end
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
        encoding: its encoding; None detects UTF-8 (with or without byte order mark), UTF-16 with byte order mark, or
            GB18030 (a superset of GBK and GB2312).

    Raises:
        DataFormatError: the file is empty, binary, or in none of these encodings (with the offset of the first invalid
            byte).
        FileNotFoundError: the file does not exist.
        ValueError: Python does not have the encoding.
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
        """Yield the text in chunks, with the line ends of the file.

        Raises:
            DataFormatError: a byte is invalid in the encoding (only if the encoding was not detected).
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
            raise _invalid_byte(self.path, self.encoding, offset - held_back + error.start) from None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield numbered lines, from 1, without `\\n` or `\\r\\n`.

        Only a line feed ends a line; characters such as U+2028 are text.
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
        """Return the whole text, with the line ends of the file."""
        return "".join(self.chunks())


def check_encoding(encoding: str) -> str:
    """Return Python's name of an encoding; for UTF-8, the codec that also accepts a byte order mark.

    Raises:
        ValueError: Python does not have this text encoding.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise ValueError(f"encoding {encoding!r} is unknown; expected a Python codec such as 'gb18030'") from None
    name = codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def detect_encoding(path: Path) -> str:
    """Return the first of UTF-8, UTF-16 (by byte order mark) and GB18030 that decodes the whole file.

    A UTF-8 file with a few invalid bytes can often be decoded as GB18030, to nonsense. If most characters are valid
    UTF-8, the invalid byte is therefore reported instead.

    Raises:
        DataFormatError: no encoding fits; names the offset of the first byte that is not UTF-8.
    """
    with path.open("rb") as file:
        head = file.read(4)
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    invalid = _first_invalid_byte(path, "utf-8")
    if invalid is None:
        return "utf-8"
    if not _is_mostly_utf8(path) and _first_invalid_byte(path, "gb18030") is None:
        return "gb18030"
    raise _invalid_byte(path, "UTF-8 or GB18030", invalid)


def _first_invalid_byte(path: Path, encoding: str) -> int | None:
    """Return the offset of the first byte that `encoding` cannot decode, or None."""
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


def _is_mostly_utf8(path: Path) -> bool:
    """Return whether more of the characters beyond ASCII are valid UTF-8 than invalid."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    valid = invalid = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            text = decoder.decode(block)
            invalid += text.count("\ufffd")
            valid += sum(character > "\x7f" for character in text) - text.count("\ufffd")
    return valid > invalid


def _invalid_byte(path: Path, encoding: str, offset: int) -> DataFormatError:
    """Return the error for the byte at `offset`; of several encodings ("A or B"), the first counts the lines."""
    with path.open("rb") as file:
        file.seek(offset)
        byte = file.read(1)
    found = f"byte 0x{byte.hex()}" if byte else "the end of the file within a character"
    return DataFormatError(
        f"the text is not {encoding.removesuffix('-sig')}: {found} at byte offset {offset}",
        path=path,
        line=_line_at(path, encoding.split(" or ")[0], offset),
    )


def _line_at(path: Path, encoding: str, offset: int) -> int:
    """Return the line, from 1, of the byte at `offset`."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    lines = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(CHUNK, offset))):
            lines += decoder.decode(block).count("\n")
            offset -= len(block)
    return lines


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise DataFormatError(f"duplicate key {excerpt(duplicate, 20)} in a JSON object")
    return value


def _reject_constant(name: str) -> None:
    raise DataFormatError(f"{name} is not a JSON number")


_strict = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
_lenient = json.JSONDecoder()


def parse_line(line: str) -> Any:
    """Return the JSON value of a line, or the `DataFormatError` that describes what is wrong with it."""
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
    """Iterate over the elements of a JSON array, or the members of a JSON object, in order."""

    def __init__(self, source: TextSource):
        self._source = source
        self._chunks = source.chunks()
        self._buffer, self._position, self._line = "", 0, 1
        self._at_end = False

    def elements(self) -> Iterator[RawRecord]:
        """Yield the elements of an array, with their index as key.

        Raises:
            DataFormatError: the file is not a complete JSON array.
        """
        for index, _ in enumerate(self._items("[", "]")):
            line, value = self._value()
            yield RawRecord(line, str(index), value)

    def members(self) -> Iterator[RawRecord]:
        """Yield the members of an object, with their key.

        Raises:
            DataFormatError: the file is not a complete JSON object.
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
        """Return the next character that is not white space, or the empty string at the end of the file."""
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
                if self._at_end or not self._may_be_cut(error):
                    self._advance(min(error.pos, len(self._buffer)))
                    raise self._broken(error.msg) from None
                self._fill()
                continue
            except ValueError as error:
                raise self._broken(str(error)) from None
            if end == len(self._buffer) and not self._at_end:
                self._fill()  # a number may continue
                continue
            self._advance(end)
            return line, fault or value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - _MAX_CUT_TOKEN

    def _advance(self, position: int) -> None:
        self._line += self._buffer.count("\n", self._position, position)
        self._position = position

    def _fill(self) -> None:
        """Read at least as much as is unread, so that a long value is parsed a logarithmic number of times."""
        unread = self._buffer[self._position :]
        parts, missing = [unread], max(CHUNK, len(unread))
        while missing > 0 and not self._at_end:
            chunk = next(self._chunks, None)
            self._at_end = chunk is None
            parts.append(chunk or "")
            missing -= len(parts[-1])
        self._buffer, self._position = "".join(parts), 0

    def _broken(self, reason: str) -> DataFormatError:
        ending = "" if self._position < len(self._buffer) else ", but the file ends here"
        return DataFormatError(f"broken JSON: {reason}{ending}", path=self._source.path, line=self._line)


def _json_lines(lines: Iterable[tuple[int, str]]) -> Iterator[RawRecord]:
    """Yield the value of each line that is not blank, with its index as key."""
    index = 0
    for number, line in lines:
        if line and not line.isspace():
            yield RawRecord(number, str(index), parse_line(line))
            index += 1


_ARRAY = re.compile(r"[\ufeff\s]*\[")


def json_records(source: TextSource) -> Iterator[RawRecord]:
    """Return the records of a file that is a JSON array or has one JSON value per line."""
    if begins_with(source, _ARRAY):
        return JsonStream(source).elements()
    return _json_lines(source.lines())


def begins_with(source: TextSource, pattern: re.Pattern[str]) -> bool:
    """Return whether the first chunk of the file matches `pattern` at its beginning."""
    return bool(pattern.match(next(source.chunks(), "")))
