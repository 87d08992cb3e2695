"""Edits of a document's text that move its entities along, and the sources of replacement strings."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple, Protocol, runtime_checkable

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.perturbation import LABEL_PRESERVING, MASK, CharacterAlignment, Perturbed, Place
from hf_adner.perturb.protected import ClosedSpans, keeps_protected
from hf_adner.perturb.units import Unit


class EditError(ValueError):
    """Edits that conflict with each other or would damage an entity."""


class Edit(NamedTuple):
    """Replace the characters `start`..`end` (exclusive; equal for an insertion) by `text`.

    Attributes:
        masked: the new characters stand for the mask token.
        aligned: align old and new characters if they are equally many; False for unrelated text.
    """

    start: int
    end: int
    text: str
    masked: bool = False
    aligned: bool = True

    @property
    def is_aligned(self) -> bool:
        """Whether every old character is aligned with a new one."""
        return self.aligned and len(self.text) == self.end - self.start


def apply_edits(
    document: Document,
    edits: Iterable[Edit],
    *,
    family: str,
    kind: str = LABEL_PRESERVING,
    inside_entities: bool = False,
) -> Perturbed:
    """Apply disjoint edits to a document.

    An insertion at an entity's start comes before the entity, an insertion at its end after it.

    Args:
        document: the document; entities may nest.
        edits: in any order.
        family: name of the perturbation.
        kind: `LABEL_PRESERVING` or `BOUNDARY`.
        inside_entities: allow edits within an entity, which then changes its text.

    Raises:
        EditError: if an edit is outside the text or crosses the edge of an entity, if two edits overlap or insert at
            the same place, or if an edit inside an entity is not allowed or would delete all of it.
    """
    edits = sorted(edits, key=lambda edit: edit[:2])
    _check_disjoint(edits, len(document.text))
    _check_entities(document, edits, inside_entities)
    text, backward, masked = _apply_to_text(document.text, edits)
    entities = _Shift(edits).move(document.entities)
    new = replace(document, text=text, entities=tuple(entities))
    return Perturbed(
        document,
        new,
        CharacterAlignment.from_backward(backward, len(document.text)),
        entity_places(entities, new),
        kind,
        tuple(place for edit in edits for place in range(edit.start, edit.end)),
        tuple(masked),
        (family,),
    )


def apply_guarded(
    document: Document,
    edits: Iterable[Edit],
    *,
    family: str,
    kind: str = LABEL_PRESERVING,
    inside_entities: bool = False,
) -> Perturbed | None:
    """Apply the edits that keep all protected words; None if no edit is left. Arguments as in `apply_edits`."""
    closed = ClosedSpans.of_protected(document)
    edits = [edit for edit in edits if closed.is_open(edit.start, edit.end)]
    before = document.text
    if not keeps_protected(before, spliced(before, edits)):
        edits = [edit for edit in edits if keeps_protected(before, spliced(before, [edit]))]
        if not keeps_protected(before, spliced(before, edits)):
            return None
    if not edits:
        return None
    return apply_edits(document, edits, family=family, kind=kind, inside_entities=inside_entities)


def spliced(text: str, edits: Iterable[Edit]) -> str:
    """Return the text after disjoint edits."""
    return _apply_to_text(text, sorted(edits, key=lambda edit: edit[:2]))[0]


def entity_places(entities: Sequence[Entity], document: Document) -> tuple[int, ...]:
    """Return the index of each of `entities` in the document, which sorts its entities."""
    places = {span: place for place, span in enumerate(document.spans)}
    return tuple(places[entity.start, entity.end, entity.label] for entity in entities)


def _apply_to_text(text: str, edits: Sequence[Edit]) -> tuple[str, list[Place], list[int]]:
    """Return the new text, its backward alignment and its masked characters."""
    pieces: list[str] = []
    backward: list[Place] = []
    masked: list[int] = []
    place = 0
    for edit in edits:
        pieces += (text[place : edit.start], edit.text)
        backward.extend(range(place, edit.start))
        if edit.masked:
            masked.extend(range(len(backward), len(backward) + len(edit.text)))
        backward.extend(range(edit.start, edit.end) if edit.is_aligned else [None] * len(edit.text))
        place = edit.end
    backward.extend(range(place, len(text)))
    return "".join((*pieces, text[place:])), backward, masked


class _Shift:
    """Moves entities by the change of length of the edits before them."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        # an insertion comes after an entity that ends at its place and before one that starts there
        self._before = [(edit.end, 0 if edit.start == edit.end else -1) for edit in edits]
        self._growth = [0, *accumulate(len(edit.text) - (edit.end - edit.start) for edit in edits)]

    def move(self, entities: Iterable[Entity]) -> list[Entity]:
        """Return the entities at their new places."""
        return [self._moved(entity) for entity in entities]

    def _moved(self, entity: Entity) -> Entity:
        start, end = self._start(entity.start), self._end(entity.end)
        if start >= end:
            raise EditError(f"the edits delete all of the entity {entity.start}-{entity.end}")
        return Entity(start, end, entity.label, None, entity.meta)

    def _start(self, place: int) -> int:
        return place + self._growth[bisect_right(self._before, (place, 0))]

    def _end(self, place: int) -> int:
        return place + self._growth[bisect_right(self._before, (place, -1))]


def _check_disjoint(edits: Sequence[Edit], length: int) -> None:
    for edit in edits:
        if not 0 <= edit.start <= edit.end <= length:
            raise EditError(f"edit {edit.start}-{edit.end} is outside the text of {length} characters")
    for first, second in zip(edits, edits[1:]):
        if first.end > second.start or first[:2] == second[:2]:
            raise EditError(
                f"edits {first.start}-{first.end} and {second.start}-{second.end} overlap or insert at the same place"
            )


def _check_entities(document: Document, edits: Sequence[Edit], inside_entities: bool) -> None:
    closed = ClosedSpans.of_entities(document)
    edges = sorted({edge for entity in document.entities for edge in (entity.start, entity.end)})
    for edit in edits:
        if closed.is_open(edit.start, edit.end):
            continue
        following = bisect_right(edges, edit.start)
        if following < len(edges) and edges[following] < edit.end:
            raise EditError(f"edit {edit.start}-{edit.end} crosses the edge of an entity at {edges[following]}")
        if not inside_entities:
            raise EditError(f"edit {edit.start}-{edit.end} is inside an entity")


@runtime_checkable
class Replacements(Protocol):
    """Source of replacement strings for units of a text.

    Attributes:
        lexicon: words that this source treats as single units, or None.
    """

    lexicon: Lexicon | None

    def covers(self, document: Document, unit: Unit) -> bool:
        """Return whether the source may have a proposal for the unit; `propose` may still return None."""
        ...

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """Return a replacement string for each unit, None if there is no good one."""
        ...


def edits_of(units: Sequence[Unit], proposals: Sequence[str | None]) -> list[Edit]:
    """Return the edits that replace units by their proposals; units without a proposal stay."""
    pairs = zip(units, proposals, strict=True)
    return [Edit(unit.start, unit.end, text, text == MASK * len(text)) for unit, text in pairs if text is not None]


def draw_weighted(candidates: Sequence[tuple[str, float]], rng: random.Random) -> str | None:
    """Draw one of the (string, weight) candidates; None if there are none."""
    if not candidates:
        return None
    strings, weights = zip(*candidates)
    return rng.choices(strings, weights)[0]


class Masks:
    """Proposes a mask for every character."""

    lexicon: Lexicon | None = None

    def covers(self, document: Document, unit: Unit) -> bool:
        """Return True: every unit can be masked."""
        return True

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """Return one mask per character of each unit."""
        return [MASK * (unit.end - unit.start) for unit in units]
