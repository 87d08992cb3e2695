"""What a perturbation makes of a document, and how to find everything again.

Which character of a text became which character of its perturbed form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hf_adner.data.records import Document, Entity

Place = int | None
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class CharacterAlignment:
    """A one-to-one map between some characters of an original text and some of a new one, in any order.

    Attributes:
        forward: for each character of the original its place in the new text, None where it is gone.
        backward: for each character of the new text its place in the original, None where it came in.

    Raises:
        ValueError: the two maps do not tell the same.
    """

    forward: tuple[Place, ...]
    backward: tuple[Place, ...]

    def __post_init__(self) -> None:
        _check_inverse(self.forward, self.backward, "forward")
        _check_inverse(self.backward, self.forward, "backward")

    @classmethod
    def identity(cls, length: int) -> CharacterAlignment:
        """Every one of `length` characters stays where it is."""
        places = tuple(range(length))
        return cls(places, places)

    @classmethod
    def from_backward(cls, backward: Iterable[Place], length: int) -> CharacterAlignment:
        """The alignment of an original of `length` characters whose new text took its characters from `backward`.

        Raises:
            ValueError: a place outside the original, or one taken twice.
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
        """Characters of the original."""
        return len(self.forward)

    def __getitem__(self, place: int) -> Place:
        """Place in the new text of the original's character `place`."""
        return self.forward[place]

    @property
    def is_identity(self) -> bool:
        """Whether nothing moved, came or went."""
        return self.forward == self.backward == tuple(range(len(self.forward)))

    def inverse(self) -> CharacterAlignment:
        """The same map seen from the new text."""
        return CharacterAlignment(self.backward, self.forward)

    def then(self, following: CharacterAlignment) -> CharacterAlignment:
        """This map followed by one from the new text to a newer one.

        Raises:
            ValueError: `following` starts from a text of another length.
        """
        if len(following.forward) != len(self.backward):
            raise ValueError(
                f"an alignment from {len(following.forward)} characters cannot follow one to {len(self.backward)}"
            )
        return CharacterAlignment(
            _composed(self.forward, following.forward), _composed(following.backward, self.backward)
        )

    def map_span(self, start: int, end: int) -> tuple[int, int] | None:
        """The span of the new text that holds exactly the characters `start`..`end` in their order, or None.

        Raises:
            ValueError: no span of the original.
        """
        if not 0 <= start < end <= len(self.forward):
            raise ValueError(f"span {start}-{end} is none of a text of {len(self.forward)} characters")
        first = self.forward[start]
        if first is None or self.forward[start:end] != tuple(range(first, first + end - start)):
            return None
        return first, first + end - start

    def pull(self, values: Sequence[ValueT], fill: ValueT) -> list[ValueT]:
        """Values of the new text's characters, laid on the original's characters; `fill` where a character is gone.

        Raises:
            ValueError: not one value per character of the new text.
        """
        if len(values) != len(self.backward):
            raise ValueError(f"{len(values)} values for {len(self.backward)} characters")
        return [fill if place is None else values[place] for place in self.forward]

    def push(self, values: Sequence[ValueT], fill: ValueT) -> list[ValueT]:
        """Values of the original's characters, laid on the new text's; `fill` where a character came in.

        Raises:
            ValueError: not one value per character of the original.
        """
        return self.inverse().pull(values, fill)


def _composed(first: Sequence[Place], second: Sequence[Place]) -> tuple[Place, ...]:
    return tuple(None if place is None else second[place] for place in first)


def _check_inverse(there: Sequence[Place], back: Sequence[Place], name: str) -> None:
    for start, place in enumerate(there):
        if place is not None and not (0 <= place < len(back) and back[place] == start):
            raise ValueError(f"{name} maps {start} to {place}, the other map does not lead back")


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
        """The document as it is, for where a perturbation has nothing to edit."""
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
