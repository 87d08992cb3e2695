"""Replacements in a document's text, with its entities moved and every character accounted for.

Where the words come from that an edit writes in the place of others.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple, Protocol, runtime_checkable

from hf_adner.data.records import Document, Entity
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.perturb.perturbed import LABEL_PRESERVING, MASK, CharacterAlignment, Perturbed, Place
from hf_adner.perturb.protected import Territory, keeps_protected
from hf_adner.perturb.units import Unit


class EditError(ValueError):
    """Edits that do not go together, or that would damage an entity."""


class Edit(NamedTuple):
    """Put `text` in the place of the characters `start`..`end` (exclusive; equal for an insertion).

    Attributes:
        masked: the new characters stand for the mask token.
        aligned: a replacement of equal length aligns old and new characters; False for another thing altogether.
    """

    start: int
    end: int
    text: str
    masked: bool = False
    aligned: bool = True

    @property
    def is_aligned(self) -> bool:
        """Whether each old character has a new one in its place."""
        return self.aligned and len(self.text) == self.end - self.start


def mask_edit(start: int, end: int) -> Edit:
    """Mask the characters `start`..`end`, one mask for each."""
    return Edit(start, end, MASK * (end - start), masked=True)


def apply_edits(
    document: Document,
    edits: Iterable[Edit],
    *,
    family: str,
    kind: str = LABEL_PRESERVING,
    inside_entities: bool = False,
) -> Perturbed:
    """Carry out disjoint edits.

    An insertion at an entity's first character comes before the entity, one behind its last character after it.

    Args:
        document: what is edited; entities may nest.
        edits: in any order.
        family: name of the perturbation.
        kind: `LABEL_PRESERVING` or `BOUNDARY`.
        inside_entities: allow edits that lie wholly in an entity, which then changes its text.

    Raises:
        EditError: an edit outside the text, two that overlap or insert at the same place, one across the edge of an
            entity, or one inside an entity where that is not allowed or would leave nothing of it.
    """
    edits = sorted(edits, key=lambda edit: edit[:2])
    _check_disjoint(edits, len(document.text))
    _check_entities(document, edits, inside_entities)
    text, backward, masked = _carry_out(document.text, edits)
    entities = _Shift(edits).moved(document.entities)
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
    """`apply_edits` without those edits that make, change or take away a protected word; None where none is left."""
    closed = Territory.of_protected(document)
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
    """The text with disjoint edits carried out."""
    return _carry_out(text, sorted(edits, key=lambda edit: edit[:2]))[0]


def entity_places(entities: Sequence[Entity], document: Document) -> tuple[int, ...]:
    """Index of each of `entities` in the document, which sorts its own."""
    places = {span: place for place, span in enumerate(document.spans)}
    return tuple(places[one.start, one.end, one.label] for one in entities)


def _carry_out(text: str, edits: Sequence[Edit]) -> tuple[str, list[Place], list[int]]:
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
    """How far the edits push what stands at a place."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        # an insertion comes behind what ends at its place, and before what starts there
        self._before = [(edit.end, 0 if edit.start == edit.end else -1) for edit in edits]
        self._growth = [0, *accumulate(len(edit.text) - (edit.end - edit.start) for edit in edits)]

    def moved(self, entities: Iterable[Entity]) -> list[Entity]:
        return [self._moved(one) for one in entities]

    def _moved(self, entity: Entity) -> Entity:
        start, end = self._start(entity.start), self._end(entity.end)
        if start >= end:
            raise EditError(f"the edits leave nothing of the entity {entity.start}-{entity.end}")
        return Entity(start, end, entity.label, None, entity.meta)

    def _start(self, place: int) -> int:
        return place + self._growth[bisect_right(self._before, (place, 0))]

    def _end(self, place: int) -> int:
        return place + self._growth[bisect_right(self._before, (place, -1))]


def _check_disjoint(edits: Sequence[Edit], length: int) -> None:
    for edit in edits:
        if not 0 <= edit.start <= edit.end <= length:
            raise EditError(f"edit {edit.start}-{edit.end} lies outside the text of {length} characters")
    for first, second in zip(edits, edits[1:]):
        if first.end > second.start or first[:2] == second[:2]:
            raise EditError(f"edits {first.start}-{first.end} and {second.start}-{second.end} meet in the same place")


def _check_entities(document: Document, edits: Sequence[Edit], inside_entities: bool) -> None:
    closed = Territory.of_entities(document)
    edges = sorted({edge for one in document.entities for edge in (one.start, one.end)})
    for edit in edits:
        if closed.is_open(edit.start, edit.end):
            continue
        following = bisect_right(edges, edit.start)
        if following < len(edges) and edges[following] < edit.end:
            raise EditError(f"edit {edit.start}-{edit.end} crosses the edge of an entity at {edges[following]}")
        if not inside_entities:
            raise EditError(f"edit {edit.start}-{edit.end} lies in an entity")


@runtime_checkable
class Replacements(Protocol):
    """Proposes words for units of a text.

    Attributes:
        lexicon: words that are units as a whole for this source, or None.
    """

    lexicon: Lexicon | None

    def covers(self, document: Document, unit: Unit) -> bool:
        """Whether it may have something for the unit; it need not when asked."""
        ...

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """For each unit another string to put in its place, None where there is no good one."""
        ...


def edits_of(units: Sequence[Unit], proposals: Sequence[str | None]) -> list[Edit]:
    """The edits that put proposals in the place of units; those without a proposal stay."""
    pairs = zip(units, proposals, strict=True)
    return [Edit(unit.start, unit.end, text, text == MASK * len(text)) for unit, text in pairs if text is not None]


class Masks:
    """Proposes a mask for every character."""

    lexicon: Lexicon | None = None

    def covers(self, document: Document, unit: Unit) -> bool:
        """Everything."""
        return True

    def propose(self, document: Document, units: Sequence[Unit], rng: random.Random) -> list[str | None]:
        """See `Replacements`."""
        return [MASK * (unit.end - unit.start) for unit in units]
