"""Word vectors in the text format of word2vec and fastText, one word a line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import torch

_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d+)")


def vector_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The lines that are not empty, each with its place ``file:number``."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip(b" \r\n")
            if line:
                yield f"{path}:{number}", line


def vector_dimension(line: bytes, dimension: int | None, where: str) -> tuple[int, bool]:
    """The dimension that the first line tells, and whether that line is a ``count dimension`` header."""
    fields = line.split(b" ")
    is_header = len(fields) == 2 and all(field.isdigit() for field in fields) and dimension != 1
    told = int(fields[1]) if is_header else len(fields) - 1
    if is_header and dimension is not None and told != dimension:
        raise ValueError(f"{where}: the header says dimension {told}, expected {dimension}")
    if not is_header and dimension is not None:
        told = dimension
    if told < 1:
        raise ValueError(f"{where}: dimension {told}, expected a word and at least one number")
    return told, is_header


def vector_word(line: bytes, dimension: int, where: str, ids: dict[bytes, int]) -> bytes:
    """The word of a line; a word with spaces that could be a number too many must be one of `ids`."""
    found = line.count(b" ")
    if found == dimension:
        return line[: line.index(b" ")]
    word = line.rsplit(b" ", dimension)[0] if found > dimension else b""
    surplus = word.split(b" ")[1:]
    if found < dimension or (word not in ids and _DECIMAL.fullmatch(surplus[0].decode("ascii", "replace"))):
        raise ValueError(f"{where}: {found} numbers after the word, expected {dimension}")
    return word


def parse_vector(line: bytes, dimension: int, where: str) -> torch.Tensor:
    """The numbers of a line, (dimension,) float32."""
    fields = line.rsplit(b" ", dimension)[1:]
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise ValueError(f"{where}: expected {dimension} numbers after the word: {error}") from error
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{where}: a number of the vector is not finite")
    return torch.tensor(numbers)  # (dimension,)
