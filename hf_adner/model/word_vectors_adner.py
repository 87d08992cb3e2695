"""Initial word vectors of a lexicon: from an encoder's character embeddings, or from a word2vec or fastText file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(\.\d*)?[eE][+-]?\d+)")


@torch.no_grad()
def character_mean_vectors(tokenizer: Any, characters: torch.Tensor, size: int) -> torch.Tensor:
    """Return one vector per lexicon word, (words + 1, size): the mean of its characters' reduced embeddings.

    Most words of a dictionary never occur in training, so their vectors must start from known ones. The character
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
    tokens = tokenizer(alphabet, add_special_tokens=False)["input_ids"]  # one per character
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


def read_word_vectors(
    path: Path, ids: dict[bytes, int], dimension: int | None, normalise: Callable[[bytes], bytes] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the vectors of given words, line by line; see `Lexicon.vectors_from_file` for the format and the errors.

    Args:
        path: the file.
        ids: word -> row of the result, 1 to the number of words.
        dimension: the expected dimension; None takes it from the header, or from the first line.
        normalise: applied to the file's words before they are looked up.

    Returns:
        vectors (words + 1, dimension) float32, zeros in row 0 and for words not in the file; covered (words + 1,) bool.
    """
    vectors: torch.Tensor | None = None
    covered = torch.zeros(len(ids) + 1, dtype=torch.bool)  # (words + 1,)
    for where, line in _lines(path):
        if vectors is None:
            dimension, is_header = _read_dimension(line, dimension, where)
            vectors = torch.zeros(len(ids) + 1, dimension)  # (words + 1, dimension)
            if is_header:
                continue
        word = _read_word(line, dimension, where, ids)
        word_id = ids.get(word if normalise is None else normalise(word))
        if word_id is not None and not covered[word_id]:
            vectors[word_id] = _read_vector(line, dimension, where)
            covered[word_id] = True
    if vectors is None:
        raise ValueError(f"{path}: no vector found, expected lines of a word and its numbers")
    return vectors, covered


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the lines that are not empty, each with its location ``file:number``."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip(b" \r\n")
            if line:
                yield f"{path}:{number}", line


def _read_dimension(line: bytes, expected: int | None, where: str) -> tuple[int, bool]:
    """Return the dimension by the first line, and whether that line is a ``count dimension`` header."""
    fields = line.split(b" ")
    is_header = len(fields) == 2 and all(field.isdigit() for field in fields) and expected != 1
    dimension = int(fields[1]) if is_header else len(fields) - 1
    if is_header and expected is not None and dimension != expected:
        raise ValueError(f"{where}: the header says dimension {dimension}, expected {expected}")
    if not is_header and expected is not None:
        dimension = expected
    if dimension < 1:
        raise ValueError(f"{where}: dimension {dimension}, expected a word and at least one number")
    return dimension, is_header


def _read_word(line: bytes, dimension: int, where: str, ids: dict[bytes, int]) -> bytes:
    """Return the word of a line; a word with spaces that may as well be a surplus number must be one of `ids`."""
    fields = line.count(b" ")
    if fields == dimension:
        return line[: line.index(b" ")]
    word = line.rsplit(b" ", dimension)[0] if fields > dimension else b""
    surplus = word.split(b" ")[1:]
    if fields < dimension or (word not in ids and _DECIMAL.fullmatch(surplus[0].decode("ascii", "replace"))):
        raise ValueError(f"{where}: {fields} numbers after the word, expected {dimension}")
    return word


def _read_vector(line: bytes, dimension: int, where: str) -> torch.Tensor:
    """Return the numbers of a line, (dimension,) float32."""
    fields = line.rsplit(b" ", dimension)[1:]
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise ValueError(f"{where}: expected {dimension} numbers after the word, found other text") from None
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{where}: a number of the vector is not finite")
    return torch.tensor(numbers)
