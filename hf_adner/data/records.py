"""Documents and their entities: what every reader delivers and every writer takes."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt

NESTED = ("outermost", "innermost")
"""Which entities survive where several overlap and only one can be kept."""


@dataclass(frozen=True)
class Entity:
    """A labelled span of a document's text.

    Attributes:
        start: first character, from 0.
        end: one past the last character; `start < end`.
        label: entity type.
        text: the characters themselves; a `Document` fills it in and refuses one that does not match.
        meta: anything else that belongs to the entity (an annotator's id, a score); JSON values.

    Raises:
        DataFormatError: offsets that are no integers or enclose nothing, or a label that is no non-empty string.
    """

    start: int
    end: int
    label: str
    text: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if type(self.start) is not int or type(self.end) is not int:
            object.__setattr__(self, "start", _integer(self.start, "start"))
            object.__setattr__(self, "end", _integer(self.end, "end"))
        if not 0 <= self.start < self.end:
            raise DataFormatError(f"entity offsets must be 0 <= start < end, found start {self.start}, end {self.end}")
        if type(self.label) is not str or not self.label.strip():
            raise DataFormatError(f"an entity's label must be a non-empty string, found {excerpt(self.label)}")
        if self.text is not None and type(self.text) is not str:
            raise DataFormatError(f"an entity's text must be a string, found {type(self.text).__name__}")
        if not isinstance(self.meta, Mapping):
            raise DataFormatError(f"an entity's meta must be an object, found {type(self.meta).__name__}")


def _integer(value: object, name: str) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise DataFormatError(f"entity {name} must be an integer, found {type(value).__name__} {excerpt(value)}")


@dataclass(frozen=True)
class Document:
    """A text and its entities, sorted by start, longer first; entities may lie in one another.

    Attributes:
        id: name of the document, unique in its split.
        text: the characters entities count in (Unicode code points).
        entities: each with its `text` filled in.
        meta: anything else that belongs to the document (a patient key, a source); JSON values.

    Raises:
        DataFormatError: an entity reaches outside the text, is recorded with other characters than the text has
            there, or is given twice; the text holds half of a surrogate pair.
    """

    id: str
    text: str
    entities: tuple[Entity, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if type(self.id) is not str or not self.id:
            raise DataFormatError(f"a document's id must be a non-empty string, found {excerpt(self.id)}")
        if type(self.text) is not str:
            raise DataFormatError(f"a document's text must be a string, found {type(self.text).__name__}")
        if not isinstance(self.meta, Mapping):
            raise DataFormatError(f"a document's meta must be an object, found {type(self.meta).__name__}")
        _check_characters(self.text)
        entities = [_matched(entity, self.text) for entity in self.entities]
        object.__setattr__(self, "entities", tuple(sorted(entities, key=_position)))
        self._check_repeats()

    def _check_repeats(self) -> None:
        for first, second in zip(self.entities, self.entities[1:], strict=False):
            if _position(first) == _position(second):
                raise DataFormatError(
                    f"entity {first.start}-{first.end} {excerpt(first.label, 20)} is given more than once"
                )

    @property
    def has_overlaps(self) -> bool:
        """Whether any two entities share a character."""
        return any(first.end > second.start for first, second in zip(self.entities, self.entities[1:], strict=False))

    @property
    def spans(self) -> list[tuple[int, int, str]]:
        """The entities as (start, end, label)."""
        return [(entity.start, entity.end, entity.label) for entity in self.entities]

    def flattened(self, nested: str = "outermost") -> Document:
        """The document with disjoint entities only; see `flatten`."""
        return replace(self, entities=flatten(self.entities, nested).kept) if self.has_overlaps else self


def _check_characters(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataFormatError(f"the text holds half of a surrogate pair at character {error.start}") from None


def _matched(entity: Entity, text: str) -> Entity:
    if entity.end > len(text):
        raise DataFormatError(
            f"entity {entity.start}-{entity.end} {excerpt(entity.label, 20)} reaches outside the text "
            f"of {len(text)} characters"
        )
    found = text[entity.start : entity.end]
    if entity.text is None:
        return Entity(entity.start, entity.end, entity.label, found, entity.meta)
    if entity.text != found:
        raise DataFormatError(
            f"entity {entity.start}-{entity.end} {excerpt(entity.label, 20)} is recorded as "
            f"{excerpt(entity.text, 5)}, but the text there is {excerpt(found, 5)}"
        )
    return entity


def _position(entity: Entity) -> tuple[int, int, str]:
    return entity.start, -entity.end, entity.label


class Flattening(NamedTuple):
    """Entities that stay when spans must be disjoint, and those that do not, each sorted by start."""

    kept: tuple[Entity, ...]
    left_out: tuple[Entity, ...]


def flatten(entities: Iterable[Entity], nested: str = "outermost") -> Flattening:
    """Choose disjoint entities: of overlapping ones the longest (`outermost`) or the shortest (`innermost`).

    Of equally long ones the first stays, of equal spans the label that sorts first.

    Raises:
        ValueError: `nested` is neither.
    """
    if nested not in NESTED:
        raise ValueError(f"nested must be one of {NESTED}, found {nested!r}")
    sign = -1 if nested == "outermost" else 1
    kept: list[Entity] = []
    left_out: list[Entity] = []
    for entity in sorted(entities, key=lambda one: (sign * (one.end - one.start), one.start, one.label)):
        place = bisect_right(kept, entity.start, key=_START)
        free = (place == 0 or kept[place - 1].end <= entity.start) and (
            place == len(kept) or entity.end <= kept[place].start
        )
        if free:
            kept.insert(place, entity)
        else:
            left_out.append(entity)
    return Flattening(tuple(kept), tuple(sorted(left_out, key=_position)))


_START: Callable[[Entity], int] = operator.attrgetter("start")


def first_overlap(entities: Iterable[Entity], crossing: bool) -> tuple[Entity, Entity] | None:
    """The first two entities that overlap (`crossing`: that overlap without one lying in the other), or None.

    `entities` are sorted as a `Document` sorts them.
    """
    around: list[Entity] = []
    for entity in entities:
        while around and around[-1].end <= entity.start:
            around.pop()
        if around and (not crossing or around[-1].end < entity.end):
            return around[-1], entity
        around.append(entity)
    return None
