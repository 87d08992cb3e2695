"""Edits of the context, which mask or replace units outside entities, and of names only.

`EntitySwap` is their complement: the context stays, the names change (RockNER, Lin et al. 2021).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.edits import Edit, Masks, Replacements, apply_guarded, edits_of
from hf_adner.perturb.perturbation import Focus, Perturbation, Perturbed, entity_order
from hf_adner.perturb.protected import ClosedSpans, protected_spans
from hf_adner.perturb.reading import as_compared, find_words
from hf_adner.perturb.units import Unit, budget, context_units, draw_runs, draw_units, least_important


class Terms:
    """Terms that edits must not create, in either script, such as entities or dictionary words.

    Args:
        lexicon: the terms.
        lower_case: match case-insensitively.
    """

    def __init__(self, lexicon: Lexicon, lower_case: bool = False) -> None:
        self.lexicon = lexicon
        self.lower_case = lower_case

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.lexicon.words), default=0)

    def made_by(self, text: str, edit: Edit) -> bool:
        """Return whether the edited text would have a term that includes a new character."""
        return any(self._made(text, edit, merging=False))

    def merged_by(self, text: str, edit: Edit) -> bool:
        """Return whether the edited text would have a term of new characters and their neighbours."""
        return any(self._made(text, edit, merging=True))

    def _made(self, text: str, edit: Edit, merging: bool) -> Iterator[bool]:
        left = text[max(0, edit.start - self._longest + 1) : edit.start]
        first, last = len(left), len(left) + len(edit.text)
        window = left + edit.text + text[edit.end : edit.end + max(0, self._longest - 1)]
        for _, start, end in self._match(window):
            yield start < last and first < end and (not merging or start < first or last < end)

    def _match(self, text: str) -> list[tuple[int, int, int]]:
        return find_words(self.lexicon, text, self.lower_case)


class ContextEdit(Perturbation):
    """Replace a share of the units of the context, each by one of the sources that cover it.

    Args:
        sources: (weight, source) of each; units without a proposal stay.
        share: share of the units to edit, in (0, 1].
        bottom: if scores are given, only this share of the units, the least important, is edited.
        lexicon: words that are edited as a whole; None takes the lexicon of the sources.
        terms: terms that edits must not create (the entities of the training data).
        runs: edit adjacent units together (n-grams, as in MacBERT's masking).

    Raises:
        ValueError: if a share is out of range, there is no source, or weights are negative or all zero.
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
            raise ValueError(f"share {share} and bottom {bottom}, expected values above 0 and at most 1")
        if not sources or min(weight for weight, _ in sources) < 0 or not sum(weight for weight, _ in sources) > 0:
            raise ValueError("expected at least one source, weights of 0 or more, and at least one weight above 0")
        self.weights = [weight for weight, _ in sources]
        self.sources = [source for _, source in sources]
        self.share, self.bottom, self.runs, self.terms = share, bottom, runs, terms
        lexicons = (source.lexicon for source in self.sources if source.lexicon is not None)
        self.lexicon = lexicon if lexicon is not None else next(lexicons, None)

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        units = context_units(document, self.lexicon)
        if focus.scores is not None:
            units = least_important(units, focus.scores, self.bottom)
        weights = {unit: self._weights(document, unit) for unit in units}
        covered = [unit for unit in units if any(weights[unit])]
        drawn = (draw_runs if self.runs else draw_units)(covered, budget(units, self.share), rng)
        sources = [rng.choices(range(len(self.sources)), weights[unit])[0] for unit in drawn]
        edits = self._edits(document, drawn, sources, rng)
        edits = [edit for edit in edits if not self._makes_term(document.text, edit)]
        return apply_guarded(document, edits, family=self.name, kind=self.kind)

    def _weights(self, document: Document, unit: Unit) -> list[float]:
        return [
            weight if weight and source.covers(document, unit) else 0.0
            for weight, source in zip(self.weights, self.sources)
        ]

    def _edits(
        self, document: Document, units: Sequence[Unit], choices: Sequence[int], rng: random.Random
    ) -> list[Edit]:
        edits: list[Edit] = []
        for number, source in enumerate(self.sources):
            chosen = [unit for unit, choice in zip(units, choices) if choice == number]
            edits += edits_of(chosen, source.propose(document, chosen, rng)) if chosen else []
        return edits

    def _makes_term(self, text: str, edit: Edit) -> bool:
        return self.terms is not None and not edit.masked and self.terms.made_by(text, edit)


class ContextMasking(ContextEdit):
    """Mask characters or words of the context.

    Args:
        share: share of the units of the context.
        lexicon: words that are masked as a whole; None masks single characters of Chinese text.
        bottom: see `ContextEdit`.
    """

    name = "context-masking"

    def __init__(self, share: float = 0.125, lexicon: Lexicon | None = None, bottom: float = 0.5) -> None:
        super().__init__([(1.0, Masks())], share=share, bottom=bottom, lexicon=lexicon)


class MaskedLanguageModelEdit(ContextEdit):
    """Replace units of the context by likely strings according to a masked language model.

    Args:
        source: a `MaskedLanguageModel`.
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
    """Replace words of the context by similar words, in n-grams (MacBERT's recipe, Cui et al. 2020).

    Args:
        source: a `SimilarWords`; its words are the units.
        share, bottom, terms: see `ContextEdit`.
    """

    name = "similar-words"

    def __init__(
        self, source: Replacements, share: float = 0.15, bottom: float = 0.5, terms: Terms | None = None
    ) -> None:
        super().__init__([(1.0, source)], share=share, bottom=bottom, terms=terms, runs=True)


class EntitySurfaces:
    """The texts of the entities of each type, to be taken from training documents only.

    Texts that contain a protected word or figure or a line break, or begin or end with white space, are left out.

    Args:
        surfaces: label -> texts.
    """

    def __init__(self, surfaces: Mapping[str, Iterable[str]]) -> None:
        self._surfaces = {label: tuple(sorted(filter(_is_usable, set(texts)))) for label, texts in surfaces.items()}

    @classmethod
    def from_documents(cls, documents: Iterable[Document]) -> EntitySurfaces:
        """Collect the texts of the documents' entities."""
        surfaces: dict[str, set[str]] = defaultdict(set)
        for document in documents:
            for entity in document.entities:
                surfaces[entity.label].add(entity.text)
        return cls(surfaces)

    def texts(self, label: str) -> tuple[str, ...]:
        """Return the texts of a type, sorted; empty for an unseen type."""
        return self._surfaces.get(label, ())


def _is_usable(surface: str) -> bool:
    return bool(surface) and surface == surface.strip() and "\n" not in surface and not protected_spans(surface)


class EntitySwap(Perturbation):
    """Replace entities by other texts of the same type, which are not the same in another script or case.

    Entities that overlap others or contain a protected word or figure stay.

    Args:
        surfaces: the texts to draw from.
        share: share of the entities to swap, at least one entity; if an entity is in focus, only that one.

    Raises:
        ValueError: if the share is outside 0..1.
    """

    name = "entity-swap"

    def __init__(self, surfaces: EntitySurfaces, share: float = 0.34) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share is {share}, expected 0..1")
        self.surfaces = surfaces
        self.share = share

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        protected = ClosedSpans.of_protected(document)
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
        own = as_compared(entity.text)
        others = [text for text in self.surfaces.texts(entity.label) if as_compared(text) != own]
        return [Edit(entity.start, entity.end, rng.choice(others), aligned=False)] if others else []


def _disjoint(document: Document) -> list[Entity]:
    """Return the entities that share no character with another entity."""
    alone: list[Entity] = []
    reach = 0  # furthest end so far
    entities = document.entities
    for index, entity in enumerate(entities):
        following = entities[index + 1].start if index + 1 < len(entities) else entity.end
        if entity.start >= reach and following >= entity.end:
            alone.append(entity)
        reach = max(reach, entity.end)
    return alone
