"""Edits at the boundaries of entities: just outside (labels hold), and on or inside them (for analysis only)."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.context import Terms
from hf_adner.perturb.edits import Edit, Masks, Replacements, apply_guarded, draw_weighted, edits_of
from hf_adner.perturb.perturbation import BOUNDARY, Focus, Perturbation, Perturbed, entity_order
from hf_adner.perturb.protected import ClosedSpans, protected_spans
from hf_adner.perturb.units import HAN, SYMBOL, WORD, Unit, text_units


def entity_units(document: Document, index: int) -> list[Unit]:
    """Return the units that are completely inside an entity, without white space."""
    entity = document.entities[index]
    inside = (unit for unit in text_units(document.text) if entity.start <= unit.start and unit.end <= entity.end)
    return [unit for unit in inside if unit.kind in (HAN, WORD, SYMBOL)]


class EntityUnitEdit(Perturbation):
    """Base class: mask or replace one unit of an entity, chosen from `_choices`.

    Args:
        source: of the replacement; default: a mask.
    """

    kind = BOUNDARY

    def __init__(self, source: Replacements | None = None) -> None:
        self.source = source if source is not None else Masks()

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        edges = {edge for entity in document.entities for edge in (entity.start, entity.end)}
        for index in entity_order(document, rng, focus):
            units = self._choices(document, index)
            unit = [rng.choice(units)] if units else []
            if unit and not edges.isdisjoint(range(unit[0].start + 1, unit[0].end)):
                continue  # a nested entity begins or ends inside the unit
            edits = edits_of(unit, self.source.propose(document, unit, rng))
            perturbed = apply_guarded(document, edits, family=self.name, kind=self.kind, inside_entities=True)
            if perturbed is not None:
                return perturbed
        return None

    @abstractmethod
    def _choices(self, document: Document, index: int) -> list[Unit]:
        """Return the units of the entity that may be edited."""


class StartEdit(EntityUnitEdit):
    """Edit the first character or word of an entity."""

    name = "start-edit"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        start = document.entities[index].start
        return [unit for unit in entity_units(document, index)[:1] if unit.start == start]


class EndEdit(EntityUnitEdit):
    """Edit the last character or word of an entity."""

    name = "end-edit"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        end = document.entities[index].end
        return [unit for unit in entity_units(document, index)[-1:] if unit.end == end]


class InteriorEdit(EntityUnitEdit):
    """Edit a character or word inside an entity but not at its edge: the control of the start and end edits."""

    name = "interior-edit"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        entity = document.entities[index]
        return [unit for unit in entity_units(document, index) if entity.start < unit.start and unit.end < entity.end]


class VirtualBoundary(Perturbation):
    """Insert a copy of an entity's first or last unit into the context (after ViBA, Yang et al. 2024).

    Args:
        reach: largest distance of the copy from the entity in characters; None for any.

    Raises:
        ValueError: if `reach` is less than 1.
    """

    name = "virtual-boundary"
    kind = BOUNDARY

    def __init__(self, reach: int | None = None) -> None:
        if reach is not None and reach < 1:
            raise ValueError(f"reach is {reach}, expected 1 or more")
        self.reach = reach

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        gaps = _context_gaps(document)
        for index in entity_order(document, rng, focus):
            entity = document.entities[index]
            units = entity_units(document, index)
            reach = len(document.text) if self.reach is None else self.reach
            near = [gap for gap in gaps if entity.start - reach <= gap <= entity.end + reach]
            if units and near:
                edit = _insert_copy(document.text, rng.choice((units[0], units[-1])), rng.choice(near))
                perturbed = apply_guarded(document, [edit], family=self.name, kind=self.kind)
                if perturbed is not None:
                    return perturbed
        return None


def _context_gaps(document: Document) -> list[int]:
    """Return the places between two units outside entities."""
    closed = ClosedSpans.of_entities(document)
    units = text_units(document.text)
    return [
        second.start
        for first, second in zip(units, units[1:])
        if closed.is_open(first.start, second.end) and second.kind in (HAN, WORD)
    ]


def _insert_copy(text: str, unit: Unit, place: int) -> Edit:
    return Edit(place, place, text[unit.start : unit.end] + (" " if unit.kind == WORD else ""))


SIDES = ("left", "right")
OPERATIONS = ("replace", "insert")

_LEFT = "有 伴 见 及 和 与 为 示 现 诊 患 并 以 因 用 其 此 另 仍 亦".split()
_RIGHT = "、 ， 及 和 等 伴 并 后 者 时 为 与 或 且".split()
_ENGLISH = {"left": "with and some also of for the".split(), "right": "and with or also noted today".split()}


class OuterUnits:
    """Characters and words that occur next to entities, to be drawn as their neighbours.

    Args:
        left: characters and words before entities, as often as they should be drawn.
        right: characters, signs and words after entities.
    """

    def __init__(
        self,
        left: Iterable[str] = (*_LEFT, *_ENGLISH["left"]),
        right: Iterable[str] = (*_RIGHT, *_ENGLISH["right"]),
    ) -> None:
        self._units = {"left": Counter(filter(_is_neutral, left)), "right": Counter(filter(_is_neutral, right))}

    @classmethod
    def from_documents(cls, documents: Iterable[Document], min_count: int = 5) -> OuterUnits:
        """Collect the units directly next to entities of (training) documents that occur `min_count` times or more."""
        counters: dict[str, Counter[str]] = {side: Counter() for side in SIDES}
        for document in documents:
            for side, text in _observed(document):
                counters[side][text] += 1
        frequent = {
            side: [text for text in counter.elements() if counter[text] >= min_count]
            for side, counter in counters.items()
        }
        return cls(frequent["left"], frequent["right"])

    def candidates(self, side: str, kind: str) -> list[tuple[str, int]]:
        """Return (unit, count) for a side, sorted: words if `kind` is `WORD`, else characters and signs."""
        units = self._units[side].items()
        return sorted(item for item in units if (_first_kind(item[0]) == WORD) == (kind == WORD))


def _is_neutral(text: str) -> bool:
    return bool(text.strip()) and not protected_spans(text)


def _first_kind(text: str) -> str:
    return text_units(text)[0].kind


def _observed(document: Document) -> Iterator[tuple[str, str]]:
    """Yield (side, unit) for the characters and signs directly next to the entities."""
    closed = ClosedSpans.of_context(document)
    units = [unit for unit in text_units(document.text) if closed.is_open(unit.start, unit.end)]
    by_end = {unit.end: unit for unit in units}
    by_start = {unit.start: unit for unit in units}
    for entity in document.entities:
        for side, unit in (("left", by_end.get(entity.start)), ("right", by_start.get(entity.end))):
            if unit is not None and unit.kind in (HAN, SYMBOL):
                yield side, document.text[unit.start : unit.end]


class OuterNeighbourEdit(Perturbation):
    """Replace the unit directly before or after an entity, or insert one there.

    Args:
        units: the units to draw from; default: a built-in list.
        terms: terms that the new unit must not form together with its neighbours, including the entity.
        operations: some of `OPERATIONS`.
        sides: some of `SIDES`.
        tries: largest number of draws per entity.

    Raises:
        ValueError: if an operation or side is unknown, or there is none.
    """

    name = "outer-neighbour"

    def __init__(
        self,
        units: OuterUnits | None = None,
        terms: Terms | None = None,
        operations: Sequence[str] = OPERATIONS,
        sides: Sequence[str] = SIDES,
        tries: int = 8,
    ) -> None:
        if not operations or not sides or not set(operations) <= set(OPERATIONS) or not set(sides) <= set(SIDES):
            raise ValueError(
                f"operations {operations} on sides {sides}, expected some of {OPERATIONS} on some of {SIDES}"
            )
        self.units = units if units is not None else OuterUnits()
        self.terms = terms
        self.operations, self.sides, self.tries = tuple(operations), tuple(sides), tries

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        neighbours = _Neighbours(document)
        for index in entity_order(document, rng, focus):
            for _ in range(self.tries):
                side, operation = rng.choice(self.sides), rng.choice(self.operations)
                edit = self._edit(neighbours, document.entities[index], side, operation, rng)
                if edit is None or (self.terms is not None and self.terms.merged_by(document.text, edit)):
                    continue
                perturbed = apply_guarded(document, [edit], family=self.name, kind=self.kind)
                if perturbed is not None:
                    return perturbed
        return None

    def _edit(
        self, neighbours: _Neighbours, entity: Entity, side: str, operation: str, rng: random.Random
    ) -> Edit | None:
        place = entity.start if side == "left" else entity.end
        neighbour, edge = neighbours.neighbour(place, side), neighbours.edge_kind(entity, side)
        if operation == "replace":
            old, kind = neighbour, neighbour.kind if neighbour else None
        else:
            old, kind = Unit(place, place), HAN if neighbour and neighbour.kind == HAN else edge
        if not edge or not kind or not neighbours.closed.is_open(old.start, old.end):
            return None
        replaced = neighbours.text[old.start : old.end]
        string = draw_weighted([item for item in self.units.candidates(side, kind) if item[0] != replaced], rng)
        if string is None:
            return None
        if operation == "insert" and kind == WORD:
            string = string + " " if side == "left" else " " + string
        return Edit(old.start, old.end, string)


class _Neighbours:
    """The units next to the entities of a document, skipping a single space."""

    def __init__(self, document: Document) -> None:
        self.text = document.text
        self.closed = ClosedSpans.of_context(document)
        units = text_units(document.text)
        self._starts = {unit.start: unit for unit in units}
        self._ends = {unit.end: unit for unit in units}

    def edge_kind(self, entity: Entity, side: str) -> str | None:
        """Return the kind of the entity's unit on a side; None if the entity begins or ends inside a unit."""
        edge = self._starts.get(entity.start) if side == "left" else self._ends.get(entity.end)
        return edge.kind if edge is not None else None

    def neighbour(self, place: int, side: str) -> Unit | None:
        """Return the unit before or after a place if it is a word or a Chinese character."""
        units = self._ends if side == "left" else self._starts
        unit = units.get(place)
        if unit is not None and self.text[unit.start : unit.end] == " ":
            unit = units.get(unit.start if side == "left" else unit.end)
        return unit if unit is not None and unit.kind in (HAN, WORD) else None
