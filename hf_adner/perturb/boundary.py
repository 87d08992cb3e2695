"""Edits at the edges of entities: they measure where a model looks, the labels need not hold.

The character or word right outside an entity, changed or put in.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hf_adner.data.records import Document, Entity
from hf_adner.perturb.context import Terms
from hf_adner.perturb.edits import Edit, Masks, Replacements, apply_guarded, edits_of
from hf_adner.perturb.perturbation import Focus, Perturbation, entity_order
from hf_adner.perturb.perturbed import BOUNDARY, Perturbed
from hf_adner.perturb.protected import Territory, protected_spans
from hf_adner.perturb.units import HAN, SYMBOL, WORD, Unit, text_units


def entity_units(document: Document, index: int) -> list[Unit]:
    """The units that lie wholly in an entity, without white space."""
    entity = document.entities[index]
    inside = (unit for unit in text_units(document.text) if entity.start <= unit.start and unit.end <= entity.end)
    return [unit for unit in inside if unit.kind in (HAN, WORD, SYMBOL)]


class EntityUnitEdit(Perturbation):
    """Masks or replaces one unit of an entity; which one, its subclasses say.

    Args:
        source: of what comes in; masks by default.
    """

    kind = BOUNDARY

    def __init__(self, source: Replacements | None = None) -> None:
        self.source = source if source is not None else Masks()

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        for index in entity_order(document, rng, focus):
            units = self._choices(document, index)
            unit = [rng.choice(units)] if units else []
            edits = edits_of(unit, self.source.propose(document, unit, rng))
            perturbed = apply_guarded(document, edits, family=self.name, kind=self.kind, inside_entities=True)
            if perturbed is not None:
                return perturbed
        return None

    def _choices(self, document: Document, index: int) -> list[Unit]:
        raise NotImplementedError


class StartEdit(EntityUnitEdit):
    """The first character or word of an entity."""

    name = "start-edit"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        start = document.entities[index].start
        return [unit for unit in entity_units(document, index)[:1] if unit.start == start]


class EndEdit(EntityUnitEdit):
    """The last character or word of an entity."""

    name = "end-edit"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        end = document.entities[index].end
        return [unit for unit in entity_units(document, index)[-1:] if unit.end == end]


class InteriorEdit(EntityUnitEdit):
    """A character or word inside an entity and not at its edge, the control of the start and end edits."""

    name = "interior-edit"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        entity = document.entities[index]
        return [unit for unit in entity_units(document, index) if entity.start < unit.start and unit.end < entity.end]


class VirtualBoundary(Perturbation):
    """Put a copy of an entity's edge into the context, where no entity begins (after ViBA, Yang et al. 2024).

    Args:
        reach: how many characters from the entity the copy may stand; None anywhere.
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
                edit = _copy(document.text, rng.choice((units[0], units[-1])), rng.choice(near))
                perturbed = apply_guarded(document, [edit], family=self.name, kind=self.kind)
                if perturbed is not None:
                    return perturbed
        return None


def _context_gaps(document: Document) -> list[int]:
    """Places between units that touch no entity."""
    closed = Territory.of_entities(document)
    units = text_units(document.text)
    return [
        second.start
        for first, second in zip(units, units[1:])
        if closed.is_open(first.start, second.end) and second.kind in (HAN, WORD)
    ]


def _copy(text: str, unit: Unit, place: int) -> Edit:
    return Edit(place, place, text[unit.start : unit.end] + (" " if unit.kind == WORD else ""))


def edge_edits(source: Replacements | None = None) -> Sequence[EntityUnitEdit]:
    """Start edit, end edit and their control, the interior edit, with the same source."""
    return StartEdit(source), EndEdit(source), InteriorEdit(source)


SIDES = ("left", "right")
OPERATIONS = ("replace", "insert")

_LEFT = "有 伴 见 及 和 与 为 示 现 诊 患 并 以 因 用 其 此 另 仍 亦".split()
_RIGHT = "、 ， 及 和 等 伴 并 后 者 时 为 与 或 且".split()
_ENGLISH = {"left": "with and some also of for the".split(), "right": "and with or also noted today".split()}


class OuterUnits:
    """What stands beside entities: words and characters that belong there and to no entity.

    Args:
        left: characters and words before entities; repeats make one more likely.
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
        """What stands directly beside entities of these (training) documents at least `min_count` times."""
        found: dict[str, Counter[str]] = {side: Counter() for side in SIDES}
        for document in documents:
            for side, text in _observed(document):
                found[side][text] += 1
        kept = {
            side: [text for text in counts.elements() if counts[text] >= min_count] for side, counts in found.items()
        }
        return cls(kept["left"], kept["right"])

    def of(self, side: str, kind: str) -> list[tuple[str, int]]:
        """(unit, count) of those of a side that fit beside a unit of `kind`: words beside words only."""
        units = self._units[side].items()
        return sorted(item for item in units if (_kind(item[0]) == WORD) == (kind == WORD))


def _is_neutral(text: str) -> bool:
    return bool(text.strip()) and not protected_spans(text)


def _kind(text: str) -> str:
    return text_units(text)[0].kind


def _observed(document: Document) -> Iterator[tuple[str, str]]:
    closed = Territory.of_context(document)
    units = [unit for unit in text_units(document.text) if closed.is_open(unit.start, unit.end)]
    by_end = {unit.end: unit for unit in units}
    by_start = {unit.start: unit for unit in units}
    for entity in document.entities:
        for side, unit in (("left", by_end.get(entity.start)), ("right", by_start.get(entity.end))):
            if unit is not None and unit.kind in (HAN, SYMBOL):
                yield side, document.text[unit.start : unit.end]


class OuterNeighbourEdit(Perturbation):
    """Replace the unit right before or after an entity, or put one in there.

    Args:
        units: what comes in.
        terms: a dictionary; an edit is left out that would join with its neighbours, the entity's too, into one of
            its terms.
        operations: those of `OPERATIONS` that are used.
        sides: those of `SIDES` that are used.
        tries: draws per entity before it is given up.

    Raises:
        ValueError: an unknown operation or side, or none.
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
            raise ValueError(f"found {operations} on {sides}, expected some of {OPERATIONS} on some of {SIDES}")
        self.units = units if units is not None else OuterUnits()
        self.terms = terms
        self.operations, self.sides, self.tries = tuple(operations), tuple(sides), tries

    def _perturb(self, document: Document, rng: random.Random, focus: Focus) -> Perturbed | None:
        around = _Surroundings(document)
        for index in entity_order(document, rng, focus):
            for _ in range(self.tries):
                side, operation = rng.choice(self.sides), rng.choice(self.operations)
                edit = self._edit(around, document.entities[index], side, operation, rng)
                if edit is None or (self.terms is not None and self.terms.merged_by(document.text, edit)):
                    continue
                perturbed = apply_guarded(document, [edit], family=self.name, kind=self.kind)
                if perturbed is not None:
                    return perturbed
        return None

    def _edit(
        self, around: _Surroundings, entity: Entity, side: str, operation: str, rng: random.Random
    ) -> Edit | None:
        place = entity.start if side == "left" else entity.end
        neighbour, edge = around.neighbour(place, side), around.edge_kind(entity, side)
        if operation == "replace":
            old, kind = neighbour, neighbour.kind if neighbour else None
        else:
            old, kind = Unit(place, place), HAN if neighbour and neighbour.kind == HAN else edge
        if not edge or not kind or not around.closed.is_open(old.start, old.end):
            return None
        choices = [item for item in self.units.of(side, kind) if item[0] != around.text[old.start : old.end]]
        if not choices:
            return None
        strings, weights = zip(*choices)
        string = rng.choices(strings, weights)[0]
        if operation == "insert" and kind == WORD:
            string = string + " " if side == "left" else " " + string
        return Edit(old.start, old.end, string)


class _Surroundings:
    """Units beside entities, across a space where words have one."""

    def __init__(self, document: Document) -> None:
        self.text = document.text
        self.closed = Territory.of_context(document)
        units = text_units(document.text)
        self._starts = {unit.start: unit for unit in units}
        self._ends = {unit.end: unit for unit in units}

    def edge_kind(self, entity: Entity, side: str) -> str | None:
        """Kind of the entity's unit on that side; None where the entity begins or ends inside a unit."""
        edge = self._starts.get(entity.start) if side == "left" else self._ends.get(entity.end)
        return edge.kind if edge is not None else None

    def neighbour(self, place: int, side: str) -> Unit | None:
        """The unit before or after a place, if it is a word or a character of Chinese."""
        ahead = self._ends if side == "left" else self._starts
        unit = ahead.get(place)
        if unit is not None and self.text[unit.start : unit.end] == " ":
            unit = ahead.get(unit.start if side == "left" else unit.end)
        return unit if unit is not None and unit.kind in (HAN, WORD) else None
