"""Units of offsets: annotation tools count UTF-16 code units, or CRLF as one character; documents count characters.

`SpanReader`, the base class of the readers of formats with offsets, converts them. Where spans come with their text,
the unit that fits all spans of a document is found; where several units would, the report says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.reader import Reader
from hf_adner.data.records import Entity

CHARACTER = "character"
OFFSET_UNITS = (CHARACTER, "utf-16", "character-lf", "utf-16-lf")
"""Units of offsets: characters (Unicode code points) or UTF-16 code units; with `-lf`, CRLF counts as one line feed."""

CONVERTED = "entity offsets counted in {unit} (converted to characters)"
OTHER_BLANKS = "entity whose recorded text differs from the document's in white space only (the document's was taken)"
UNSURE = (
    "documents in which characters above U+FFFF or CRLF come before spans whose unit cannot be told: their offsets "
    "were taken as characters; offset_unit= (--offset-unit) names the unit"
)


class SpanReader(Reader):
    """Base class of the readers of formats with offsets.

    Args:
        args: of `Reader`.
        offset_unit: one of `OFFSET_UNITS`; None finds it where spans come with their text, else takes characters.
        options: of `Reader`.

    Raises:
        ValueError: the unit is unknown.
    """

    def __init__(self, *args: Any, offset_unit: str | None = None, **options: Any):
        super().__init__(*args, **options)
        if offset_unit not in (*OFFSET_UNITS, None):
            raise ValueError(
                f"offset_unit (--offset-unit) must be one of {', '.join(OFFSET_UNITS)}, found {offset_unit!r}"
            )
        self._offset_unit = offset_unit

    def in_characters(self, entities: Iterable[Entity], text: str) -> tuple[Entity, ...]:
        """Return entities with offsets in characters, without a recorded text that differs in white space only.

        Raises:
            DataFormatError: an offset is within a character, or the offsets fit the text only in another unit.
        """
        entities = tuple(entities)
        if entities and (not text.isascii() or "\r" in text) and (units := _units_of(text)):
            entities = self._converted(entities, text, units)
        for entity in entities:
            if entity.text is not None and entity.text != text[entity.start : entity.end]:
                return tuple(self._with_blanks_of(entity, text) for entity in entities)
        return entities

    def _converted(self, entities: tuple[Entity, ...], text: str, units: list[str]) -> tuple[Entity, ...]:
        if self._offset_unit is not None:
            converted = _convert(entities, text, self._offset_unit)
            if converted is None:
                raise DataFormatError(
                    f"an entity's offsets do not lie in the text counted in {self._offset_unit}; "
                    "set another offset_unit (--offset-unit)"
                )
            return converted
        readings = {unit: _convert(entities, text, unit) for unit in units}
        fitting = {unit: found for unit, found in readings.items() if found and _fits(found, text)}
        if not fitting:
            return entities  # the document names the entity that does not fit
        unit, converted = next(iter(fitting.items()))
        if all(entity.text is None for entity in entities) and unit != CHARACTER:
            raise DataFormatError(
                f"the entities reach outside the text counted in characters, but not counted in {unit}; "
                f"offset_unit={unit!r} (--offset-unit {unit}) reads them so"
            )
        self.report.notes[UNSURE] += any(found != converted for found in fitting.values())
        if unit != CHARACTER:
            changed = sum(old.start != new.start or old.end != new.end for old, new in zip(entities, converted))
            self.report.repaired[CONVERTED.format(unit=unit)] += changed
        return converted

    def _with_blanks_of(self, entity: Entity, text: str) -> Entity:
        surface = text[entity.start : entity.end]
        if entity.text is None or entity.text == surface or not same_words(entity.text, surface):
            return entity
        self.report.repaired[OTHER_BLANKS] += 1
        return replace(entity, text=None)


def _units_of(text: str) -> list[str]:
    """Return the units that differ in this text, characters first; none if all are the same."""
    wide, has_crlf = max(text) > "\uffff", "\r\n" in text
    units = [unit for unit in OFFSET_UNITS if (wide or "utf-16" not in unit) and (has_crlf or "-lf" not in unit)]
    return units if len(units) > 1 else []


def _positions(text: str, unit: str) -> dict[int, int]:
    """Return the character at each offset that does not lie within a character; the last is the end of the text."""
    width = 2 if unit.startswith("utf-16") else 1
    positions, offset, previous = {}, 0, ""
    for position, character in enumerate(text):
        if not (unit.endswith("-lf") and previous == "\r" and character == "\n"):
            positions[offset] = position
            offset += width if character > "\uffff" else 1
        previous = character
    return {**positions, offset: len(text)}


def _convert(entities: Iterable[Entity], text: str, unit: str) -> tuple[Entity, ...] | None:
    """Return the entities with offsets of `unit` in characters, None if an offset has no character."""
    at = _positions(text, unit)
    try:
        return tuple(replace(entity, start=at[entity.start], end=at[entity.end]) for entity in entities)
    except KeyError:
        return None


def _fits(entities: Iterable[Entity], text: str) -> bool:
    return all(entity.text is None or same_words(entity.text, text[entity.start : entity.end]) for entity in entities)


def same_words(first: str, second: str) -> bool:
    """Return whether two texts are equal apart from white space; tools write a line break as blank or `\\n` too."""
    return first == second or first.replace("\\n", " ").split() == second.replace("\\n", " ").split()
