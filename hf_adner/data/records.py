"""Documents and entities, and their conversion to rows of a `datasets.Dataset`.

A row has `id`, `text`, `entities` (a list of `start`, `end`, `label`, `text`, `meta`) and `meta`; both `meta` are JSON
strings, because an Arrow column has one type and free-form annotations do not.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple, Protocol

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.strict_json import check_characters, dump_json, parse_json

NESTED = ("outermost", "innermost")
"""Which of several overlapping entities is kept if only one can be."""

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
        text: the characters of the span; a `Document` fills it in, and raises if it does not match.
        meta: additional JSON values, such as a score or the annotator.

    Raises:
        DataFormatError: offsets are not integers with `0 <= start < end`, or the label is not a non-empty string
            that can be encoded.
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
        check_characters(self.label, "an entity's label")
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
    """A text and its entities, which may be nested.

    Attributes:
        id: name of the document, unique in its split.
        text: the text; offsets count its characters (Unicode code points).
        entities: sorted by start, longer first, each with its `text` filled in.
        meta: additional JSON values, such as a patient key or the source.

    Raises:
        DataFormatError: an entity reaches outside the text, has another `text` than the document has there, or is a
            duplicate; the id or text contains half of a surrogate pair.
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
        check_characters(self.id, "a document's id")
        check_characters(self.text, "the text")
        entities = [_with_text(entity, self.text) for entity in self.entities]
        object.__setattr__(self, "entities", tuple(sorted(entities, key=_position)))
        self._check_duplicates()

    def _check_duplicates(self) -> None:
        for first, second in zip(self.entities, self.entities[1:], strict=False):
            if _position(first) == _position(second):
                raise DataFormatError(f"duplicate entity {first.start}-{first.end} {excerpt(first.label, 20)}")

    @property
    def has_overlaps(self) -> bool:
        """Whether two entities share a character."""
        return any(first.end > second.start for first, second in zip(self.entities, self.entities[1:], strict=False))

    @property
    def spans(self) -> list[tuple[int, int, str]]:
        """The entities as (start, end, label)."""
        return [(entity.start, entity.end, entity.label) for entity in self.entities]

    def flattened(self, nested: str = "outermost") -> Document:
        """Return the document with disjoint entities only; see `flatten`."""
        return replace(self, entities=flatten(self.entities, nested).kept) if self.has_overlaps else self


def _with_text(entity: Entity, text: str) -> Entity:
    if entity.end > len(text):
        raise DataFormatError(
            f"entity {entity.start}-{entity.end} {excerpt(entity.label, 20)} reaches outside the text "
            f"of {len(text)} characters"
        )
    surface = text[entity.start : entity.end]
    if entity.text is None:
        return Entity(entity.start, entity.end, entity.label, surface, entity.meta)
    if entity.text != surface:
        raise DataFormatError(
            f"entity {entity.start}-{entity.end} {excerpt(entity.label, 20)} is recorded as "
            f"{excerpt(entity.text, 5)}, but the text there is {excerpt(surface, 5)}"
        )
    return entity


def _position(entity: Entity) -> tuple[int, int, str]:
    return entity.start, -entity.end, entity.label


class Flattening(NamedTuple):
    """Result of `flatten`: the entities that are kept and those that are left out, both sorted by start."""

    kept: tuple[Entity, ...]
    left_out: tuple[Entity, ...]


def flatten(entities: Iterable[Entity], nested: str = "outermost") -> Flattening:
    """Choose disjoint entities: of overlapping entities the longest (`outermost`) or the shortest (`innermost`).

    Of equally long entities the first is kept, of equal spans the label that sorts first.

    Raises:
        ValueError: `nested` has another value.
    """
    if nested not in NESTED:
        raise ValueError(f"nested must be one of {NESTED}, found {nested!r}")
    sign = -1 if nested == "outermost" else 1
    kept: list[Entity] = []
    left_out: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: (sign * (entity.end - entity.start), entity.start, entity.label)):
        index = bisect_right(kept, entity.start, key=operator.attrgetter("start"))
        is_disjoint = (index == 0 or kept[index - 1].end <= entity.start) and (
            index == len(kept) or entity.end <= kept[index].start
        )
        if is_disjoint:
            kept.insert(index, entity)
        else:
            left_out.append(entity)
    return Flattening(tuple(kept), tuple(sorted(left_out, key=_position)))


def flatten_by_label(entities: Iterable[Entity], nested: str = "outermost") -> Flattening:
    """Choose entities of which none overlaps another of its label; see `flatten`."""
    of_label: dict[str, list[Entity]] = {}
    for entity in entities:
        of_label.setdefault(entity.label, []).append(entity)
    parts = [flatten(own, nested) for own in of_label.values()]
    kept = chain.from_iterable(part.kept for part in parts)
    left_out = chain.from_iterable(part.left_out for part in parts)
    return Flattening(tuple(sorted(kept, key=_position)), tuple(sorted(left_out, key=_position)))


def first_overlap(entities: Iterable[Entity], crossing: bool) -> tuple[Entity, Entity] | None:
    """Return the first two entities that overlap, or with `crossing` the first two of which neither contains the other.

    Args:
        entities: sorted as in a `Document`.
        crossing: ignore nested entities.
    """
    enclosing: list[Entity] = []
    for entity in entities:
        while enclosing and enclosing[-1].end <= entity.start:
            enclosing.pop()
        if enclosing and (not crossing or enclosing[-1].end < entity.end):
            return enclosing[-1], entity
        enclosing.append(entity)
    return None


class Spanned(Protocol):
    """Anything with a `start` and an exclusive `end`, such as an `Entity`."""

    start: int
    end: int


class Piece(NamedTuple):
    """A span, or a part of a span that crosses another; `goes_on` is set if another part follows."""

    start: int
    end: int
    entity: Any
    goes_on: bool = False


def nested_pieces(entities: Iterable[Spanned]) -> list[Piece]:
    """Cut crossing spans into pieces that are nested or disjoint, as HTML elements must be.

    Args:
        entities: sorted as in a `Document`.

    Returns:
        Pieces sorted by start, each before those nested in it.
    """
    waiting = [Piece(entity.start, entity.end, entity) for entity in reversed(tuple(entities))]
    pieces: list[Piece] = []
    enclosing: list[Piece] = []
    while waiting:
        piece = waiting.pop()
        while enclosing and enclosing[-1].end <= piece.start:
            enclosing.pop()
        if enclosing and piece.end > enclosing[-1].end:
            rest = piece._replace(start=enclosing[-1].end)
            piece = piece._replace(end=enclosing[-1].end, goes_on=True)
            waiting.append(rest)
            waiting.sort(key=lambda piece: (-piece.start, piece.end))
        pieces.append(piece)
        enclosing.append(piece)
    return pieces


def nested_parts(text: str, entities: Iterable[Spanned]) -> Iterator[tuple[str, str, Piece | None]]:
    """Yield the parts of a text in the order of its markup, as (kind, characters, piece of an entity).

    Args:
        text: the text.
        entities: with `start` and `end`, which may overlap; see `nested_pieces`.

    Yields:
        ``text`` with characters, ``open`` and ``close`` with the piece that starts or ends.
    """
    position, around = 0, []
    for piece in nested_pieces(entities):
        while around and around[-1].end <= piece.start:
            yield "text", text[position : around[-1].end], None
            position = around[-1].end
            yield "close", "", around.pop()
        yield "text", text[position : piece.start], None
        yield "open", "", piece
        position = piece.start
        around.append(piece)
    for piece in reversed(around):
        yield "text", text[position : piece.end], None
        yield "close", "", piece
        position = piece.end
    yield "text", text[position:], None


_EMPTY = "{}"


def dump_meta(meta: Mapping[str, Any]) -> str:
    """Return `meta` as a JSON object; see `dump_json`."""
    return dump_json(meta) if meta else _EMPTY


def load_meta(text: str | None) -> dict[str, Any]:
    """Parse the JSON object of `dump_meta`; None and the empty string are empty.

    Raises:
        DataFormatError: `text` is not a JSON object.
    """
    if not text or text == _EMPTY:
        return {}
    try:
        meta = parse_json(text)
    except DataFormatError as error:
        raise DataFormatError(f"meta is not JSON: {error.reason}") from None
    if not isinstance(meta, dict):
        raise DataFormatError(f"meta must be a JSON object, found {type(meta).__name__}")
    return meta


def row_from_document(document: Document) -> dict[str, Any]:
    """Return the document as a dataset row."""
    entities = [
        {
            "start": entity.start,
            "end": entity.end,
            "label": entity.label,
            "text": entity.text,
            "meta": dump_meta(entity.meta),
        }
        for entity in document.entities
    ]
    return {"id": document.id, "text": document.text, "entities": entities, "meta": dump_meta(document.meta)}


def document_from_row(row: Mapping[str, Any]) -> Document:
    """Return the document of a dataset row; `text` and `meta` of entities, and `meta` of the row, may be missing.

    Raises:
        DataFormatError: the row has no `id`, `text` or `entities`, or they are not a valid document.
    """
    missing = [name for name in ("id", "text", "entities") if name not in row]
    if missing:
        raise DataFormatError(f"a row needs columns id, text and entities; missing: {', '.join(missing)}")
    entities = tuple(
        Entity(entity["start"], entity["end"], entity["label"], entity.get("text"), load_meta(entity.get("meta")))
        for entity in row["entities"]
    )
    return Document(row["id"], row["text"], entities, load_meta(row.get("meta")))
