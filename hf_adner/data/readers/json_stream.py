"""JSON read piece by piece, so that a file of 100,000 records never lies in memory at once.

Every value comes with its line. A value that is JSON but that no reader can trust (a key given twice, NaN) comes as the
error that says so, and the values after it can still be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from json.decoder import WHITESPACE
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.readers.reader import RawRecord
from hf_adner.data.readers.source import CHUNK, TextSource

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
