"""Streaming access to text files: encoding detection, lines and chunks, JSON values; no file is held in memory.

JSON values come with the line where they begin. A value that is ambiguous or not strict JSON (a duplicate key, NaN) is
replaced by the `DataFormatError` that describes it, and the values after it are still read.
"""

from __future__ import annotations

import codecs
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from json.decoder import WHITESPACE
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.charset import CHUNK, encoding_of, invalid_byte
from hf_adner.data.formats.reader import RawRecord
from hf_adner.data.strict_json import parse_json, parse_prefix

_MAX_CUT_TOKEN = 16  # a literal or escape cut by the end of the buffer fails at most this far before the end
_NOT_TEXT = {
    b"PK\x03\x04": "a ZIP or Excel file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"{\\rtf": "an RTF document",
    b"PAR1": "a Parquet file",
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer without the data (git lfs pull fetches them)",
    b"/annex/objects/": "a git-annex pointer without the data (git annex get fetches them)",
}
_HEAD = max(map(len, _NOT_TEXT))


@contextmanager
def regular_file(path: Path) -> Iterator[Path]:
    """Give a file that can be read more than once: `path`, or a private temporary copy of a pipe or device.

    A path that does not exist, such as the name of a dataset on the Hub, is given as it is.
    """
    if path.is_file() or path.is_dir() or not path.exists():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="adner-") as folder:
        copy = Path(folder, path.name)
        with path.open("rb") as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        yield copy


class TextSource:
    """The text of one file.

    Args:
        path: the file.
        encoding: its encoding; None detects UTF-8, UTF-16 and UTF-32 by their byte order mark, UTF-8 without one, or
            GB18030 (a superset of GBK and GB2312).

    Raises:
        DataFormatError: the path is a folder, or the file is empty, binary, in none of these encodings (with the offset
            of the first invalid byte), or nonsense in the encoding.
        FileNotFoundError: the file does not exist.
        ValueError: Python does not have the encoding.
    """

    def __init__(self, path: str | Path, encoding: str | None = None):
        self.path = Path(path)
        if self.path.is_dir():
            raise DataFormatError("this is a folder, expected a file", path=self.path)
        with self.path.open("rb") as file:
            head = file.read(_HEAD)
        if not head:
            raise DataFormatError("the file is empty", path=self.path)
        kind = next((kind for magic, kind in _NOT_TEXT.items() if head.startswith(magic)), None)
        if kind:
            raise DataFormatError(f"the file is {kind}, expected text", path=self.path)
        self.encoding = encoding_of(self.path, encoding)

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
            raise invalid_byte(self.path, self.encoding, offset - held_back + error.start) from None
        except UnicodeError as error:  # such as UTF-16 without the byte order mark that tells the order
            raise DataFormatError(f"the text is not {self.encoding}: {error}", path=self.path) from None

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


def parse_line(line: str) -> Any:
    """Return the JSON value of a line, or the `DataFormatError` that describes what is wrong with it."""
    try:
        return parse_json(line)
    except DataFormatError as error:
        return error


class JsonStream:
    """Iterate over the elements of a JSON array, the members of an object, or values without commas, in order.

    Attributes:
        line: the line, from 1, on which what was read so far ends.
    """

    def __init__(self, source: TextSource):
        self._source = source
        self._chunks = source.chunks()
        self._buffer, self._position, self.line = "", 0, 1
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
        seen: set[str] = set()
        for _ in self._items("{", "}"):
            if self._peek() != '"':
                raise self._broken("expected a key in double quotes")
            key = self._value()[1]
            self._take(":")
            line, value = self._value()
            if isinstance(key, DataFormatError):
                key, value = None, key
            elif key in seen:
                value = DataFormatError("the key is given twice")
            seen.add(key)
            yield RawRecord(line, key, value)

    def values(self) -> Iterator[RawRecord]:
        """Yield values that follow each other without a comma, with their index as key.

        Raises:
            DataFormatError: the rest of the file is not JSON.
        """
        index = 0
        while self._peek():
            line, value = self._value()
            yield RawRecord(line, str(index), value)
            index += 1

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
        line = self.line
        while True:
            try:
                value, end = parse_prefix(self._buffer, self._position)
            except DataFormatError as error:
                raise self._broken(error.reason) from None
            except json.JSONDecodeError as error:
                if self._at_end or not self._may_be_cut(error):
                    self._advance(min(error.pos, len(self._buffer)))
                    raise self._broken(error.msg) from None
                self._fill()
                continue
            if end == len(self._buffer) and not self._at_end:
                self._fill()  # a number may continue
                continue
            self._advance(end)
            return line, value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._buffer) - _MAX_CUT_TOKEN

    def _advance(self, position: int) -> None:
        self.line += self._buffer.count("\n", self._position, position)
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
        return DataFormatError(f"broken JSON: {reason}{ending}", path=self._source.path, line=self.line)


def _json_lines(lines: Iterable[tuple[int, str]]) -> Iterator[RawRecord]:
    """Yield the value of each line that is not blank, with its index as key."""
    index = 0
    for number, line in lines:
        if line and not line.isspace():
            yield RawRecord(number, str(index), parse_line(line))
            index += 1


_ARRAY = re.compile(r"[\ufeff\s]*\[")


def json_records(source: TextSource) -> Iterator[RawRecord]:
    """Return the records of a file that is a JSON array, has one JSON value per line, or values over several lines."""
    if begins_with(source, _ARRAY):
        return JsonStream(source).elements()
    if _begins_with_a_value_over_lines(source):
        return JsonStream(source).values()
    return _json_lines(source.lines())


def _begins_with_a_value_over_lines(source: TextSource) -> bool:
    stream = JsonStream(source)
    try:
        first = next(stream.values(), None)
    except DataFormatError:
        return False
    return first is not None and stream.line > first.line


def begins_with(source: TextSource, pattern: re.Pattern[str]) -> bool:
    """Return whether the first chunk of the file matches `pattern` at its beginning."""
    return bool(pattern.match(next(source.chunks(), "")))
