"""Similar words by the cosine of word vectors: a lazy source of replacements, and a table for many words at once."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.word_vectors_adner import character_mean_vectors
from hf_adner.perturb.edits import draw_weighted
from hf_adner.perturb.reading import as_compared
from hf_adner.perturb.units import Unit

Neighbours = list[tuple[str, float]]
"""(similar word, cosine), the most similar first."""

SimilarWordTable = dict[str, Neighbours]
"""Word -> its neighbours."""

_CHUNK = 1024  # words compared at once


class SimilarWords:
    """The nearest words of a lexicon with as many characters; a source of replacements.

    Words are looked up in either script and case, and a word is no neighbour of itself in another.
    Neighbours are searched when first needed, so a large lexicon costs nothing in advance.

    Args:
        lexicon: the words.
        vectors: (size, dimension) one row per word id, row 0 is padding; rows of zeros have no neighbours.
        top: number of neighbours that a replacement is drawn from.
        minimum: smallest cosine, -1..1.
        excluded: words that are never proposed (the entities of the training data).

    Raises:
        ValueError: if there is not one vector per word id, or `top` is less than 1.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        vectors: torch.Tensor,
        *,
        top: int = 5,
        minimum: float = 0.5,
        excluded: Iterable[str] = (),
    ) -> None:
        if vectors.dim() != 2 or len(vectors) != lexicon.size:
            raise ValueError(f"vectors are {tuple(vectors.shape)}, expected ({lexicon.size}, dimension)")
        if top < 1:
            raise ValueError(f"top is {top}, expected 1 or more")
        self.lexicon = lexicon
        self.top, self.minimum = top, minimum
        self._excluded = frozenset(map(as_compared, excluded))
        self._vectors = torch.nn.functional.normalize(vectors.detach().float().cpu(), dim=-1)  # (size, dimension)
        self._neighbours: SimilarWordTable = {}

    @classmethod
    def from_embeddings(cls, tokenizer: Any, embeddings: torch.Tensor, size: int = 64, **options: Any) -> SimilarWords:
        """Represent words by the mean of their characters' embeddings.

        Args:
            tokenizer: an `AdnerTokenizer` with a lexicon.
            embeddings: (vocabulary, hidden) word embeddings of an encoder.
            size: number of principal axes of the embeddings that are compared.
            options: arguments of `SimilarWords`.
        """
        return cls(tokenizer.lexicon, character_mean_vectors(tokenizer, embeddings, size), **options)

    @cached_property
    def _ids(self) -> dict[str, int]:
        """Word as it is compared -> id; of several that are compared alike the first."""
        ids: dict[str, int] = {}
        for index, word in enumerate(self.lexicon.words, 1):
            ids.setdefault(as_compared(word), index)
        return ids

    @cached_property
    def _groups(self) -> dict[int, tuple[list[int], torch.Tensor]]:
        """Number of characters -> ids of the words that may be proposed, in ascending order, and their vectors."""
        groups: dict[int, list[int]] = defaultdict(list)
        for word, index in self._ids.items():
            if word not in self._excluded:
                groups[len(word)].append(index)
        return {length: (ids, self._vectors[ids]) for length, ids in groups.items()}

    def nearest(self, word: str) -> Neighbours:
        """Return up to `top` (word, cosine), the most similar first; empty for a word outside the lexicon."""
        word = as_compared(word)
        if word not in self._ids:
            return []
        if word not in self._neighbours:
            self._neighbours[word] = self._search(word, self._ids[word])
        return self._neighbours[word]

    def _search(self, word: str, index: int) -> Neighbours:
        ids, candidates = self._groups.get(len(word), ([], self._vectors[:0]))
        own = None if word in self._excluded else bisect_left(ids, index)
        [rows] = nearest_rows(self._vectors[index : index + 1], candidates, self.top, self.minimum, own, stable=True)
        return [(self.lexicon.words[ids[row] - 1], cosine) for row, cosine in rows]

    def covers(self, document: Document, unit: Unit) -> bool:
        """Return whether the word has a neighbour with a positive cosine."""
        return any(cosine > 0 for _, cosine in self.nearest(document.text[unit.start : unit.end]))

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """Draw a neighbour of each unit with probability proportional to the cosine."""
        return [self._draw(document.text[unit.start : unit.end], rng) for unit in units]

    def _draw(self, word: str, rng: random.Random) -> str | None:
        return draw_weighted([(other, cosine) for other, cosine in self.nearest(word) if cosine > 0], rng)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in ("_ids", "_groups")}
        return {**state, "_neighbours": {}}


def similar_word_table(
    words: Sequence[str], vectors: torch.Tensor, top: int = 5, minimum: float = 0.3
) -> SimilarWordTable:
    """Find the nearest words with as many characters of all words.

    Args:
        words: the words.
        vectors: (words, dimension); rows of zeros have no neighbours.
        top: largest number of neighbours of a word.
        minimum: smallest cosine of a neighbour, 0..1.
    """
    vectors = torch.nn.functional.normalize(vectors.float(), dim=-1)  # (words, dimension)
    lengths = torch.tensor([len(word) for word in words])
    table: SimilarWordTable = {}
    for length in lengths.unique().tolist():
        group = (lengths == length).nonzero().squeeze(1)
        table |= _group_table([words[index] for index in group.tolist()], vectors[group], top, max(minimum, 1e-6))
    return table


def _group_table(words: Sequence[str], vectors: torch.Tensor, top: int, minimum: float) -> SimilarWordTable:
    table: SimilarWordTable = {}
    for first in range(0, len(words), _CHUNK):
        chunk = vectors[first : first + _CHUNK]
        for row, neighbours in enumerate(nearest_rows(chunk, vectors, top, minimum, first)):
            if neighbours:
                table[words[first + row]] = [(words[other], cosine) for other, cosine in neighbours]
    return table


def nearest_rows(
    queries: torch.Tensor,
    candidates: torch.Tensor,
    top: int,
    minimum: float,
    first: int | None = None,
    *,
    stable: bool = False,
) -> list[list[tuple[int, float]]]:
    """Find the candidates with the highest cosine to each query.

    Args:
        queries: (queries, dimension) normalised vectors.
        candidates: (candidates, dimension) normalised vectors.
        top: largest number of neighbours of a query.
        minimum: smallest cosine of a neighbour.
        first: row of the first query if the queries are consecutive candidates, which are not their own neighbours.
        stable: among equal cosines take the lowest rows (slower); anagrams have the same mean of character vectors.

    Returns:
        Per query the (row, cosine) of its neighbours, the highest cosine first.
    """
    cosines = queries @ candidates.T  # (queries, candidates)
    count = min(top, len(candidates))
    if first is not None:
        rows = torch.arange(len(queries))
        cosines[rows, rows + first] = -1.0
        count = min(top, len(candidates) - 1)
    if count < 1:
        return [[] for _ in queries]
    if stable:
        best, places = cosines.sort(dim=-1, descending=True, stable=True)  # (queries, candidates)
    else:
        best, places = cosines.topk(count)  # (queries, count)
    return [
        [(place, value) for value, place in zip(values, others) if value >= minimum]
        for values, others in zip(best[:, :count].tolist(), places[:, :count].tolist())
    ]
