"""Documents and their entities: what every reader delivers and every writer takes.

Overlapping spans as pieces that lie in one another or apart, as the elements of a page must.

Documents as rows of a `datasets.Dataset` and back.

A row has `id`, `text`, `entities` (a list of `start`, `end`, `label`, `text`, `meta`) and `meta`; both `meta` are JSON
strings, because Arrow columns have one type and free-form annotations do not.
"""

from __future__ import annotations

import json
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from hf_adner.data.errors import DataFormatError, excerpt

NESTED = ("outermost", "innermost")
"""Which entities survive where several overlap and only one can be kept."""

EntitySpan = tuple[int, int, str]
"""An entity in a text: start, end (exclusive), label."""

CharacterRange = tuple[int, int]
"""Characters of a text: start, end (exclusive)."""


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


class Spanned(Protocol):
    """Anything with characters `start` to `end` (exclusive), such as an `Entity`."""

    start: int
    end: int


class Piece(NamedTuple):
    """A span, or what is left of one that another cuts in two; `goes_on` says that more of it follows."""

    start: int
    end: int
    entity: Any
    goes_on: bool = False


def nested_pieces(entities: Iterable[Spanned]) -> list[Piece]:
    """The pieces of spans, sorted by start, each before those that lie in it.

    Args:
        entities: sorted by start, longer ones first, as a `Document` has them.
    """
    waiting = [Piece(entity.start, entity.end, entity) for entity in reversed(tuple(entities))]
    pieces: list[Piece] = []
    around: list[Piece] = []
    while waiting:
        piece = waiting.pop()
        while around and around[-1].end <= piece.start:
            around.pop()
        if around and piece.end > around[-1].end:
            rest = piece._replace(start=around[-1].end)
            piece = piece._replace(end=around[-1].end, goes_on=True)
            waiting.append(rest)
            waiting.sort(key=lambda one: (-one.start, one.end))
        pieces.append(piece)
        around.append(piece)
    return pieces


COLUMNS = ("id", "text", "entities", "meta")
_EMPTY = "{}"


def dump_meta(meta: Mapping[str, Any]) -> str:
    """`meta` as a JSON object.

    Raises:
        DataFormatError: a value that JSON cannot hold (NaN, an arbitrary object).
    """
    if not meta:
        return _EMPTY
    try:
        return json.dumps(meta, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataFormatError(f"meta cannot be written as JSON: {error}") from None


def load_meta(text: str | None) -> dict[str, Any]:
    """Inverse of `dump_meta`; None and the empty string are no meta.

    Raises:
        DataFormatError: not a JSON object.
    """
    if not text or text == _EMPTY:
        return {}
    try:
        meta = json.loads(text)
    except ValueError as error:
        raise DataFormatError(f"meta is not JSON: {getattr(error, 'msg', 'malformed')}") from None
    if not isinstance(meta, dict):
        raise DataFormatError(f"meta must be a JSON object, found {type(meta).__name__}")
    return meta


def row_from_document(document: Document) -> dict[str, Any]:
    """The document as a dataset row."""
    entities = [
        {"start": one.start, "end": one.end, "label": one.label, "text": one.text, "meta": dump_meta(one.meta)}
        for one in document.entities
    ]
    return {"id": document.id, "text": document.text, "entities": entities, "meta": dump_meta(document.meta)}


def document_from_row(row: Mapping[str, Any]) -> Document:
    """Inverse of `row_from_document`; `text` and `meta` of entities, and `meta` of the row, may be missing.

    Raises:
        DataFormatError: the row has no `id`, `text` or `entities`, or they are no valid document.
    """
    missing = [name for name in ("id", "text", "entities") if name not in row]
    if missing:
        raise DataFormatError(f"a row needs columns id, text and entities; missing: {', '.join(missing)}")
    entities = tuple(
        Entity(one["start"], one["end"], one["label"], one.get("text"), load_meta(one.get("meta")))
        for one in row["entities"]
    )
    return Document(row["id"], row["text"], entities, load_meta(row.get("meta")))
