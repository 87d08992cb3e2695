"""Similar words out of word vectors, without a network."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.word_vectors_adner import character_mean_vectors
from hf_adner.perturb.units import Unit


class SimilarWords:
    """The nearest words of a lexicon by the cosine of their vectors; a source of replacements.

    Args:
        lexicon: the words.
        vectors: (size, dimension) one row per word id, row 0 is padding; rows of zeros have no neighbours.
        top: how many neighbours a replacement is drawn from.
        minimum: smallest cosine, -1..1.
        same_length: only neighbours with as many characters; False merely puts those first.
        excluded: words that are never proposed (the entities of the training data).

    Raises:
        ValueError: not one vector per word id, or fewer than one neighbour.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        vectors: torch.Tensor,
        *,
        top: int = 5,
        minimum: float = 0.5,
        same_length: bool = True,
        excluded: Iterable[str] = (),
    ) -> None:
        if vectors.dim() != 2 or len(vectors) != lexicon.size:
            raise ValueError(f"vectors are {tuple(vectors.shape)}, expected ({lexicon.size}, dimension)")
        if top < 1:
            raise ValueError(f"top is {top}, expected 1 or more")
        self.lexicon = lexicon
        self.top, self.minimum, self.same_length = top, minimum, same_length
        self._excluded = frozenset(excluded)
        self._vectors = torch.nn.functional.normalize(vectors.detach().float().cpu(), dim=-1)  # (size, dimension)
        self._nearest: dict[str, list[tuple[str, float]]] = {}

    @classmethod
    def from_embeddings(cls, tokenizer: Any, embeddings: torch.Tensor, size: int = 64, **options: Any) -> SimilarWords:
        """Words by the mean of their characters' embeddings.

        Args:
            tokenizer: an `AdnerTokenizer` with a lexicon.
            embeddings: (vocabulary, hidden) word embeddings of an encoder.
            size: main axes of the embeddings that are compared.
            options: of `SimilarWords`.
        """
        return cls(tokenizer.lexicon, character_mean_vectors(tokenizer, embeddings, size), **options)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.lexicon.words, 1)}

    @cached_property
    def _lengths(self) -> torch.Tensor:
        return torch.tensor([0, *map(len, self.lexicon.words)])  # (size,)

    @cached_property
    def _closed(self) -> torch.Tensor:
        return torch.tensor([True, *(word in self._excluded for word in self.lexicon.words)])  # (size,)

    def nearest(self, word: str) -> list[tuple[str, float]]:
        """Up to `top` (word, cosine), the most similar first; nothing for a word that the lexicon lacks."""
        if word not in self._ids:
            return []
        if word not in self._nearest:
            self._nearest[word] = self._search(self._ids[word])
        return self._nearest[word]

    def _search(self, index: int) -> list[tuple[str, float]]:
        cosines = self._vectors @ self._vectors[index]  # (size,)
        same = self._lengths == self._lengths[index]
        allowed = ~self._closed & (cosines >= self.minimum)
        allowed[index] = False
        if self.same_length:
            allowed &= same
        found = allowed.nonzero().squeeze(1).tolist()
        ranked = sorted(found, key=lambda one: (not same[one], -float(cosines[one]), one))[: self.top]
        return [(self.lexicon.words[one - 1], float(cosines[one])) for one in ranked]

    def covers(self, document: Document, unit: Unit) -> bool:
        """Words that have a neighbour."""
        return any(cosine > 0 for _, cosine in self.nearest(document.text[unit.start : unit.end]))

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """A neighbour of each unit, the more likely the more similar; see `Replacements`."""
        return [self._draw(document.text[unit.start : unit.end], rng) for unit in units]

    def _draw(self, word: str, rng: random.Random) -> str | None:
        neighbours = [(other, cosine) for other, cosine in self.nearest(word) if cosine > 0]
        if not neighbours:
            return None
        words, weights = zip(*neighbours)
        return rng.choices(words, weights)[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_nearest": {}}
