"""Edits of the context: characters and words outside all entities are masked or replaced.

Whether an edit would write a term of a lexicon into a text.

Similar words out of word vectors, without a network.

Entities swapped for others of their type: the context stays, the name changes (RockNER, Lin et al. 2021).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.word_vectors_adner import character_mean_vectors
from hf_adner.perturb.edits import Edit, Masks, Replacements, apply_guarded, edits_of
from hf_adner.perturb.perturbation import Focus, Perturbation, entity_order
from hf_adner.perturb.perturbed import Perturbed
from hf_adner.perturb.protected import Territory, protected_spans
from hf_adner.perturb.units import Unit, budget, context_units, draw_runs, draw_units, least_important


class Terms:
    """The terms that an edit must not make: those of entities, or of a dictionary.

    Args:
        lexicon: the terms.
        lower_case: compare without regard to case.
    """

    def __init__(self, lexicon: Lexicon, lower_case: bool = False) -> None:
        self.lexicon = lexicon
        self.lower_case = lower_case

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.lexicon.words), default=0)

    def made_by(self, text: str, edit: Edit) -> bool:
        """Whether a term would stand in the edited text that has a new character in it."""
        return any(self._made(text, edit, merging=False))

    def merged_by(self, text: str, edit: Edit) -> bool:
        """Whether a term would stand in the edited text that joins new characters with their neighbours."""
        return any(self._made(text, edit, merging=True))

    def _made(self, text: str, edit: Edit, merging: bool) -> Iterator[bool]:
        left = text[max(0, edit.start - self._longest + 1) : edit.start]
        first, last = len(left), len(left) + len(edit.text)
        window = left + edit.text + text[edit.end : edit.end + max(0, self._longest - 1)]
        for _, start, end in self._match(window):
            yield start < last and first < end and (not merging or start < first or last < end)

    def _match(self, text: str) -> list[tuple[int, int, int]]:
        return self.lexicon.match(text, lower_case=self.lower_case)


class ContextEdit(Perturbation):
    """Replaces a share of the context's units, each by one of the sources that cover it.

    Args:
        sources: (weight, source) of each; what none covers, or the drawn one has nothing for, stays.
        share: of the units that may be edited, 0..1.
        bottom: where scores are given, only this share of the units, the least important, may be edited.
        lexicon: words that are edited as a whole; None takes those of the sources.
        terms: what edits must not write into the text (the entities of the training data).
        runs: edit neighbouring units together (n-grams, as MacBERT's masking).

    Raises:
        ValueError: a share outside 0..1, no source, or weights that are negative or all zero.
    """

    name = "context"

    def __init__(
        self,
        sources: Sequence[tuple[float, Replacements]],
        *,
        share: float = 0.15,
        bottom: float = 0.5,
        lexicon: Lexicon | None = None,
        terms: Terms | None = None,
        runs: bool = False,
    ) -> None:
        if not (0 < share <= 1 and 0 < bottom <= 1):
            raise ValueError(f"share {share} and bottom {bottom} must lie in 0..1, above 0")
        if not sources or min(weight for weight, _ in sources) < 0 or not sum(weight for weight, _ in sources) > 0:
            raise ValueError("expected at least one source, weights of 0 or more, and one above 0")
        self.weights = [weight for weight, _ in sources]
        self.sources = [source for _, source in sources]
        self.share, self.bottom, self.runs, self.terms = share, bottom, runs, terms
        own = (source.lexicon for source in self.sources if source.lexicon is not None)
        self.lexicon = lexicon if lexicon is not None else next(own, None)

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        units = context_units(document, self.lexicon)
        if focus.scores is not None:
            units = least_important(units, focus.scores, self.bottom)
        weights = {unit: self._weights(document, unit) for unit in units}
        open_units = [unit for unit in units if any(weights[unit])]
        drawn = (draw_runs if self.runs else draw_units)(open_units, budget(units, self.share), rng)
        sources = [rng.choices(range(len(self.sources)), weights[unit])[0] for unit in drawn]
        edits = self._edits(document, drawn, sources, rng)
        wanted = [edit for edit in edits if not self._makes_term(document.text, edit)]
        return apply_guarded(document, wanted, family=self.name, kind=self.kind)

    def _weights(self, document: Document, unit: Unit) -> list[float]:
        return [
            weight if weight and source.covers(document, unit) else 0.0
            for weight, source in zip(self.weights, self.sources)
        ]

    def _edits(
        self, document: Document, units: Sequence[Unit], choices: Sequence[int], rng: random.Random
    ) -> list[Edit]:
        edits: list[Edit] = []
        for place, source in enumerate(self.sources):
            own = [unit for unit, choice in zip(units, choices) if choice == place]
            edits += edits_of(own, source.propose(document, own, rng)) if own else []
        return edits

    def _makes_term(self, text: str, edit: Edit) -> bool:
        return self.terms is not None and not edit.masked and self.terms.made_by(text, edit)


class ContextMasking(ContextEdit):
    """Mask characters or words of the context.

    Args:
        share: of the units of the context.
        lexicon: words that are masked as a whole; None masks single characters of Chinese text.
        bottom: see `ContextEdit`.
    """

    name = "context-masking"

    def __init__(self, share: float = 0.125, lexicon: Lexicon | None = None, bottom: float = 0.5) -> None:
        super().__init__([(1.0, Masks())], share=share, bottom=bottom, lexicon=lexicon)


class MaskedLanguageModelEdit(ContextEdit):
    """Replace units of the context by what a masked language model finds likely there.

    Args:
        source: a `MaskedLanguageModel` or the `StoredProposals` of one.
        share, lexicon, bottom, terms: see `ContextEdit`.
    """

    name = "masked-lm"

    def __init__(
        self,
        source: Replacements,
        share: float = 0.15,
        lexicon: Lexicon | None = None,
        bottom: float = 0.5,
        terms: Terms | None = None,
    ) -> None:
        super().__init__([(1.0, source)], share=share, bottom=bottom, lexicon=lexicon, terms=terms)


class SimilarWordEdit(ContextEdit):
    """Replace words of the context by similar ones, in n-grams (MacBERT's recipe, Cui et al. 2020).

    Args:
        source: a `SimilarWords`; its words are the units.
        share, bottom, terms: see `ContextEdit`.
    """

    name = "similar-words"

    def __init__(
        self, source: Replacements, share: float = 0.15, bottom: float = 0.5, terms: Terms | None = None
    ) -> None:
        super().__init__([(1.0, source)], share=share, bottom=bottom, terms=terms, runs=True)


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


class EntitySurfaces:
    """The texts that entities of each type have, to be taken from training documents only.

    Surfaces with a protected word or figure in them, with a line break, or with white space at an end are left out.

    Args:
        surfaces: per label its texts.
    """

    def __init__(self, surfaces: Mapping[str, Iterable[str]]) -> None:
        self._surfaces = {label: tuple(sorted(filter(_is_usable, set(texts)))) for label, texts in surfaces.items()}

    @classmethod
    def from_documents(cls, documents: Iterable[Document]) -> EntitySurfaces:
        """All surfaces of the documents' entities."""
        surfaces: dict[str, set[str]] = defaultdict(set)
        for document in documents:
            for entity in document.entities:
                surfaces[entity.label].add(entity.text)
        return cls(surfaces)

    def of(self, label: str) -> tuple[str, ...]:
        """The surfaces of a type, sorted; none for a type that was not seen."""
        return self._surfaces.get(label, ())


def _is_usable(surface: str) -> bool:
    return bool(surface) and surface == surface.strip() and "\n" not in surface and not protected_spans(surface)


class EntitySwap(Perturbation):
    """Put another surface of the same type in the place of entities.

    Entities that overlap others, or hold a protected word or figure, stay as they are.

    Args:
        surfaces: what may come in.
        share: of the entities that are swapped, at least one; with an entity in focus only that one.

    Raises:
        ValueError: a share outside 0..1.
    """

    name = "entity-swap"

    def __init__(self, surfaces: EntitySurfaces, share: float = 0.34) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}, expected 0..1")
        self.surfaces = surfaces
        self.share = share

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        protected = Territory.of_protected(document)
        alone = _disjoint(document)
        edits: list[Edit] = []
        for index in entity_order(document, rng, focus):
            entity = document.entities[index]
            if entity in alone and protected.is_open(entity.start, entity.end):
                edits += self._swap(entity, rng)
            if len(edits) >= max(1, self.share * len(document.entities)):
                break
        return apply_guarded(document, edits, family=self.name, kind=self.kind, inside_entities=True)

    def _swap(self, entity: Entity, rng: random.Random) -> list[Edit]:
        others = [surface for surface in self.surfaces.of(entity.label) if surface != entity.text]
        return [Edit(entity.start, entity.end, rng.choice(others), aligned=False)] if others else []


def _disjoint(document: Document) -> list[Entity]:
    """The entities that share no character with another one."""
    alone: list[Entity] = []
    reach = 0  # end of everything seen so far
    entities = document.entities
    for index, entity in enumerate(entities):
        following = entities[index + 1].start if index + 1 < len(entities) else entity.end
        if entity.start >= reach and following >= entity.end:
            alone.append(entity)
        reach = max(reach, entity.end)
    return alone
