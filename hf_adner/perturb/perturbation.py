"""`Perturbation`, the base class, and `Perturbed`, its result with an alignment of every character."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from hf_adner.data.records import Document, Entity

LABEL_PRESERVING = "label-preserving"
BOUNDARY = "boundary"
KINDS = (LABEL_PRESERVING, BOUNDARY)
"""Kinds of perturbations: the labels still hold (usable for training), or a boundary is edited (analysis only)."""

MASK = "\u25a1"
"""Stands for a masked character; `Perturbed.masked` distinguishes it from the same character in the original text."""

Place = int | None
"""Index of a character in the other text; None where it has no counterpart."""


class Focus(NamedTuple):
    """What an edit is guided by.

    Attributes:
        scores: importance of every character, or None.
        entity: index of the entity to edit, or None for any.
    """

    scores: Sequence[float] | None = None
    entity: int | None = None


class Perturbation(ABC):
    """Base class of perturbations. Subclasses implement `_perturb`.

    Attributes:
        name: readable name, recorded in `Perturbed.families`.
        kind: `LABEL_PRESERVING` or `BOUNDARY`.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = LABEL_PRESERVING

    def __call__(
        self,
        document: Document,
        rng: random.Random | int | str,
        *,
        scores: Sequence[float] | None = None,
        entity: int | None = None,
    ) -> Perturbed | None:
        """Perturb a document; deterministic for a given seed.

        Args:
            document: with character-level entities, which may nest.
            rng: random number generator, or a seed for one.
            scores: importance of every character (any scale): edits of the context choose the least important units.
            entity: index of the entity to edit, or to edit next to; None draws one.

        Returns:
            The perturbed document, or None if nothing can be edited.

        Raises:
            ValueError: if there is not one score per character.
            IndexError: if the entity does not exist.
        """
        check_focus(document, scores, entity)
        rng = rng if isinstance(rng, random.Random) else random.Random(rng)
        return self._perturb(document, rng, Focus(scores, entity))

    @abstractmethod
    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        """Implement `__call__`; the arguments are checked."""


def check_focus(document: Document, scores: Sequence[float] | None, entity: int | None) -> None:
    """Check the arguments of `Focus` against a document.

    Raises:
        ValueError: if there is not one score per character.
        IndexError: if the entity does not exist.
    """
    if scores is not None and len(scores) != len(document.text):
        raise ValueError(f"{len(scores)} scores for a text of {len(document.text)} characters")
    if entity is not None and not 0 <= entity < len(document.entities):
        raise IndexError(f"entity {entity} of a document with {len(document.entities)} entities")


def entity_order(document: Document, rng: random.Random, focus: Focus) -> list[int]:
    """Return the index of the entity in focus, or all indices in random order."""
    if focus.entity is not None:
        return [focus.entity]
    return rng.sample(range(len(document.entities)), len(document.entities))


@dataclass(frozen=True)
class Perturbed:
    """A perturbed document with its original.

    Attributes:
        original: the document before.
        document: the document after, with its entities moved.
        alignment: original to new characters; a replacement of equal length aligns position by position.
        entity_map: for each entity of the original, its index in the new document.
        kind: one of `KINDS`.
        edited: characters of the original that were replaced or deleted.
        masked: characters of the new text that stand for a mask.
        families: names of the perturbations applied, in order; empty if nothing was changed.
    """

    original: Document
    document: Document
    alignment: CharacterAlignment
    entity_map: tuple[int, ...]
    kind: str = LABEL_PRESERVING
    edited: tuple[int, ...] = ()
    masked: tuple[int, ...] = ()
    families: tuple[str, ...] = ()

    @classmethod
    def unchanged(cls, document: Document, *families: str) -> Perturbed:
        """Return the document as it is, for perturbations that have nothing to edit."""
        alignment = CharacterAlignment.identity(len(document.text))
        return cls(document, document, alignment, tuple(range(len(document.entities))), families=families)

    @property
    def is_unchanged(self) -> bool:
        """Whether the text is the original text."""
        return not self.edited and self.alignment.is_identity

    @property
    def inserted(self) -> tuple[int, ...]:
        """Characters of the new text without a counterpart in the original."""
        return tuple(place for place, origin in enumerate(self.alignment.backward) if origin is None)

    @property
    def changed_entities(self) -> tuple[int, ...]:
        """Indices of the original entities whose text changed."""
        entities = enumerate(self.original.entities)
        return tuple(index for index, entity in entities if self.entity(index).text != entity.text)

    @property
    def kept(self) -> list[tuple[int, int]]:
        """(original, new) position of every character that was not edited."""
        edited = set(self.edited)
        return [
            (origin, place)
            for origin, place in enumerate(self.alignment.forward)
            if place is not None and origin not in edited
        ]

    def entity(self, index: int) -> Entity:
        """Return entity `index` of the original as it is in the new document."""
        return self.document.entities[self.entity_map[index]]

    def then(self, following: Perturbed) -> Perturbed:
        """Compose with a perturbation of the new document.

        Raises:
            ValueError: if `following` starts from another text.
        """
        if following.original.text != self.document.text:
            raise ValueError("the following perturbation starts from another text")
        backward, forward = self.alignment.backward, following.alignment.forward
        edited = {*self.edited, *(backward[place] for place in following.edited if backward[place] is not None)}
        replaced = set(following.edited)
        masked = {forward[place] for place in self.masked if place not in replaced} - {None}
        return Perturbed(
            self.original,
            following.document,
            self.alignment.then(following.alignment),
            tuple(following.entity_map[index] for index in self.entity_map),
            BOUNDARY if BOUNDARY in (self.kind, following.kind) else LABEL_PRESERVING,
            tuple(sorted(edited)),
            tuple(sorted({*masked, *following.masked})),
            (*self.families, *following.families),
        )


@dataclass(frozen=True)
class CharacterAlignment:
    """A one-to-one map between some characters of an original text and some of a new text, in any order.

    Attributes:
        forward: for each character of the original its place in the new text, None if it was removed.
        backward: for each character of the new text its place in the original, None if it was inserted.

    Raises:
        ValueError: if the two maps are not inverse to each other.
    """

    forward: tuple[Place, ...]
    backward: tuple[Place, ...]

    def __post_init__(self) -> None:
        _check_inverse(self.forward, self.backward, "forward")
        _check_inverse(self.backward, self.forward, "backward")

    @classmethod
    def identity(cls, length: int) -> CharacterAlignment:
        """Return the alignment of a text of `length` characters with itself."""
        places = tuple(range(length))
        return cls(places, places)

    @classmethod
    def from_backward(cls, backward: Iterable[Place], length: int) -> CharacterAlignment:
        """Build an alignment from the backward map and the `length` of the original.

        Raises:
            ValueError: if a place is outside the original or occurs twice.
        """
        backward = tuple(backward)
        forward: list[Place] = [None] * length
        for place, origin in enumerate(backward):
            if origin is not None:
                if not 0 <= origin < length:
                    raise ValueError(f"character {place} comes from {origin}, expected a place in 0..{length - 1}")
                forward[origin] = place
        return cls(tuple(forward), backward)

    def __len__(self) -> int:
        """Return the number of characters of the original."""
        return len(self.forward)

    def __getitem__(self, origin: int) -> Place:
        """Return the place of character `origin` in the new text."""
        return self.forward[origin]

    @property
    def is_identity(self) -> bool:
        """Whether no character was moved, removed or inserted."""
        return self.forward == self.backward == tuple(range(len(self.forward)))

    def then(self, following: CharacterAlignment) -> CharacterAlignment:
        """Compose with an alignment from the new text to a third one.

        Raises:
            ValueError: if `following` starts from a text of another length.
        """
        if len(following.forward) != len(self.backward):
            raise ValueError(
                f"an alignment from {len(following.forward)} characters cannot follow one to {len(self.backward)}"
            )
        return CharacterAlignment(
            _composed(self.forward, following.forward), _composed(following.backward, self.backward)
        )

    def map_span(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the new span with exactly the characters `start`..`end` in their order, or None if there is none.

        Raises:
            ValueError: if the span is outside the original.
        """
        if not 0 <= start < end <= len(self.forward):
            raise ValueError(f"span {start}-{end} is outside a text of {len(self.forward)} characters")
        first = self.forward[start]
        if first is None or self.forward[start:end] != tuple(range(first, first + end - start)):
            return None
        return first, first + end - start


def _composed(first: Sequence[Place], second: Sequence[Place]) -> tuple[Place, ...]:
    return tuple(None if place is None else second[place] for place in first)


def _check_inverse(places: Sequence[Place], inverse: Sequence[Place], name: str) -> None:
    for origin, place in enumerate(places):
        if place is not None and not (0 <= place < len(inverse) and inverse[place] == origin):
            raise ValueError(f"{name} maps {origin} to {place}, but the other map does not lead back")


def masked_tokens(offsets: Iterable[Sequence[int]], masked: Iterable[int]) -> list[bool]:
    """Return which tokens cover a masked character and must become the mask token.

    Args:
        offsets: (start, end) of each token in characters of the new text; (0, 0) for special tokens.
        masked: `Perturbed.masked`.
    """
    places = set(masked)
    return [any(place in places for place in range(start, end)) for start, end in offsets]
