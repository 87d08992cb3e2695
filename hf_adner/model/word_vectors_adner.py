"""First word vectors of a lexicon, made from an encoder's character embeddings.

Word vectors in the text format of word2vec and fastText, one word a line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


@torch.no_grad()
def character_mean_vectors(tokenizer: Any, characters: torch.Tensor, size: int) -> torch.Tensor:
    """One vector per lexicon word, (words + 1, size): the mean of its characters' embeddings on their main axes.

    Most words of a dictionary never occur in training, so they must start from something that is known.  The character
    table is centred and projected on its first principal components (zero-padded where it has fewer), then scaled to
    standard deviation 0.1.  Row 0, padding, is zero.

    Args:
        tokenizer: an `AdnerTokenizer` with a lexicon.
        characters: (characters, hidden) embedding table of the encoder.
        size: width of the word vectors.
    """
    words = tokenizer.lexicon.words
    components = _principal_components(characters.float(), size)  # (characters, size)
    if not words:
        return components.new_zeros(1, size)
    alphabet = sorted(set("".join(words)))
    tokens = tokenizer(alphabet, add_special_tokens=False)["input_ids"]  # one each
    index = {character: token for character, [token] in zip(alphabet, tokens, strict=True)}
    lengths = torch.tensor([len(word) for word in words])
    flat = torch.tensor([index[character] for word in words for character in word])
    means = torch.nn.functional.embedding_bag(flat, components.cpu(), lengths.cumsum(0) - lengths, mode="mean")
    vectors = torch.cat([means.new_zeros(1, size), means])
    return vectors * (0.1 / vectors.std().clamp(min=1e-6))


def _principal_components(table: torch.Tensor, size: int) -> torch.Tensor:
    centred = table - table.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)  # ascending eigenvalues
    projected = centred @ axes.flip(1)[:, :size]
    return torch.nn.functional.pad(projected, (0, size - projected.shape[1]))


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
