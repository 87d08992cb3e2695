"""Edits at the edges of entities (B1-B4): they measure where a model looks, the labels need not hold."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hf_adner.data.records import Document
from hf_adner.perturb.edits import Edit, apply_guarded
from hf_adner.perturb.perturbation import Focus, Perturbation, entity_order
from hf_adner.perturb.perturbed import BOUNDARY, Perturbed
from hf_adner.perturb.replacements import Masks, Replacements, edits_of
from hf_adner.perturb.territory import Territory
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
    """B1: the first character or word of an entity."""

    name = "b1"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        start = document.entities[index].start
        return [unit for unit in entity_units(document, index)[:1] if unit.start == start]


class EndEdit(EntityUnitEdit):
    """B2: the last character or word of an entity."""

    name = "b2"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        end = document.entities[index].end
        return [unit for unit in entity_units(document, index)[-1:] if unit.end == end]


class InteriorEdit(EntityUnitEdit):
    """B3: a character or word inside an entity and not at its edge, the control of B1 and B2."""

    name = "b3"

    def _choices(self, document: Document, index: int) -> list[Unit]:
        entity = document.entities[index]
        return [unit for unit in entity_units(document, index) if entity.start < unit.start and unit.end < entity.end]


class VirtualBoundary(Perturbation):
    """B4: put a copy of an entity's edge into the context, where no entity begins (after ViBA, Yang et al. 2024).

    Args:
        reach: how many characters from the entity the copy may stand; None anywhere.
    """

    name = "b4"
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
    """B1, B2 and their control B3 with the same source."""
    return StartEdit(source), EndEdit(source), InteriorEdit(source)
