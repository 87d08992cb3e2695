"""What a perturbation makes of a document, and how to find everything again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.alignment import CharacterAlignment

LABEL_PRESERVING = "label-preserving"
BOUNDARY = "boundary"
KINDS = (LABEL_PRESERVING, BOUNDARY)
"""Whether the labels still hold (usable for training), or the edit aims at a boundary (analysis only)."""

MASK = "\u25a1"
"""Stands in the text for a masked character; `Perturbed.masked` tells it from one that the author wrote."""


@dataclass(frozen=True)
class Perturbed:
    """A perturbed document beside its original.

    Attributes:
        original: the document before.
        document: the document after, its entities moved along.
        alignment: original characters to new ones; a replacement of equal length aligns position by position.
        entity_map: for each entity of the original its index among those of the new document.
        kind: one of `KINDS`.
        edited: characters of the original that were replaced or deleted.
        masked: characters of the new text that a mask stands for.
        families: names of the perturbations that made it, in order; none where nothing was changed.
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
        """The document as it is: what perturbations inside the model, and the absence of one, do to a text."""
        alignment = CharacterAlignment.identity(len(document.text))
        return cls(document, document, alignment, tuple(range(len(document.entities))), families=families)

    @property
    def is_unchanged(self) -> bool:
        """Whether the text is the original's."""
        return not self.edited and self.alignment.is_identity

    @property
    def inserted(self) -> tuple[int, ...]:
        """Characters of the new text that came from nowhere in the original."""
        return tuple(place for place, origin in enumerate(self.alignment.backward) if origin is None)

    @property
    def changed_entities(self) -> tuple[int, ...]:
        """Indices of the original's entities whose text is another one now."""
        pairs = enumerate(self.original.entities)
        return tuple(index for index, entity in pairs if self.entity(index).text != entity.text)

    @property
    def kept(self) -> list[tuple[int, int]]:
        """(place in the original, place in the new text) of every character that was not edited."""
        edited = set(self.edited)
        return [
            (start, place)
            for start, place in enumerate(self.alignment.forward)
            if place is not None and start not in edited
        ]

    def entity(self, index: int) -> Entity:
        """The new form of the original's entity `index`."""
        return self.document.entities[self.entity_map[index]]

    def then(self, following: Perturbed) -> Perturbed:
        """This perturbation followed by one of its result.

        Raises:
            ValueError: `following` starts from another text.
        """
        if following.original.text != self.document.text:
            raise ValueError("the perturbation that follows is not one of this result")
        back, onward = self.alignment.backward, following.alignment.forward
        edited = {*self.edited, *(back[place] for place in following.edited if back[place] is not None)}
        replaced = set(following.edited)
        masked = {onward[place] for place in self.masked if place not in replaced} - {None}
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


def masked_tokens(offsets: Iterable[Sequence[int]], masked: Iterable[int]) -> list[bool]:
    """Which tokens have to become the mask token: those that cover a masked character.

    Args:
        offsets: (start, end) of each token in the characters of the new text; (0, 0) for special tokens.
        masked: `Perturbed.masked`.
    """
    places = set(masked)
    return [any(place in places for place in range(start, end)) for start, end in offsets]
