"""Lines of a word list or table in UTF-8 or GB18030, the encodings of Chinese text files."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path


def table_rows(path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a table with tabs between its columns, each with its place ``file:line``.

    White space around a field, blank lines and lines that begin with ``#`` are left out.

    Args:
        path: the file, UTF-8 or GB18030.
        columns: names of the columns that a row must have, none of them empty.
        optional: of those that it may have behind them; missing ones are empty.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row with other columns, or bytes in neither encoding; the message names file and line.
    """
    expected = "<TAB>".join([*columns, *(f"[{name}]" for name in optional)])
    for number, line in enumerate(decode_lines(path, None), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")]
        missing = [name for name, field in zip(columns, [*fields, *("" for _ in columns)]) if not field]
        if missing or len(fields) > len(columns) + len(optional):
            found = f"no {missing[0]}" if missing else f"{len(fields)} columns"
            raise ValueError(f"{path}:{number}: found {found}, expected {expected}")
        yield f"{path}:{number}", fields + [""] * (len(columns) + len(optional) - len(fields))


def decode_lines(path: Path, encoding: str | None) -> list[str]:
    """Return the lines of a text file without their line feeds.

    Args:
        path: the file.
        encoding: a codec name; None tries UTF-8 (with or without byte order mark), then GB18030.

    Raises:
        ValueError: bytes in neither encoding, or text that only another makes sense of; the message names file and
            line.
    """
    data = path.read_bytes()
    if encoding is None:
        encoding = _guess_encoding(path, data)
    elif encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"  # a byte order mark is not part of the first word
    try:
        lines = data.decode(encoding).split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: byte 0x{data[error.start]:02x} is not {encoding}") from error
    return lines[:-1] if lines[-1] == "" else lines  # the last line break does not begin another line


def _guess_encoding(path: Path, data: bytes) -> str:
    """Return UTF-8, else GB18030; a file of mostly valid UTF-8 lines is broken UTF-8, not GB18030."""
    try:
        data.decode("utf-8-sig")
        return "utf-8-sig"
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError(f"{path}: begins with a UTF-16 byte order mark, expected UTF-8 or GB18030") from error
        lines = [line for line in data.split(b"\n") if not line.isascii()]
        utf8 = sum(_decodes(line, "utf-8") for line in lines)
        if 2 * utf8 > len(lines):
            return "utf-8"
        _check_characters(path, data)
        return "gb18030"


def _check_characters(path: Path, data: bytes) -> None:
    """Check that bytes read as GB18030, which decodes nearly any, are no text in another encoding, such as Big5."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if any(unicodedata.category(character) in ("Co", "Cn") for character in line.decode("gb18030", "ignore")):
            raise ValueError(f"{path}:{number}: neither UTF-8 nor GB18030 text (Big5?); save the file as UTF-8")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
