"""JSONL with spans: `{"text": ..., "entities": [{"start", "end", "label"}]}`, one document per line, exclusive ends.

`id` and `meta` of a record, and `text` and `meta` of an entity, are optional; other keys are kept in `meta`. A JSON
array of the same records is read too. Readers of plain text (one document per file or per line) are here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.offsets import SpanReader
from hf_adner.data.formats.reader import RawRecord, Reader, as_object, given_id, merged, required, without
from hf_adner.data.formats.source import TextSource, json_records
from hf_adner.data.records import Document, Entity
from hf_adner.data.strict_json import dump_json

_INTEGER_ID = re.compile("0|[1-9][0-9]{0,17}")  # what a database of an annotation tool can hold
NO_ENTITIES = "plain texts, which have no entities"


class JsonReader(SpanReader):
    """Base class of the readers of JSON records with offsets.

    Args:
        args: of `Reader`.
        text_column: key of a record's text.
        options: of `SpanReader`.
    """

    text_keys: ClassVar[tuple[str, ...]] = ("text",)
    """Keys under which the tool may put the text; the first that a record has is taken."""

    def __init__(self, *args: Any, text_column: str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._text_column = text_column

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per line or array element."""
        return json_records(TextSource(self.path, self.encoding))

    def text_key(self, record: Mapping[str, Any], what: str = "the record") -> str:
        """Return the key of a record's text.

        Raises:
            DataFormatError: the record has no such key.
        """
        keys = (self._text_column,) if self._text_column is not None else self.text_keys
        found = next((key for key in keys if key in record), None)
        if found is None:
            names = ", ".join(excerpt(name, 20) for name in list(record)[:8]) or "none"
            raise DataFormatError(
                f"{what} has no key {keys[0]!r}; its keys: {names} (text_column=, --text-column names that of the text)"
            )
        return found


class JsonlReader(JsonReader):
    """Reader of JSONL with spans."""

    def document(self, raw: RawRecord) -> Document:
        """Parse a record."""
        record = as_object(raw.value)
        text_key = self.text_key(record)
        text = required(record, text_key, str)
        entities = entity_list(record, self.require_entities)
        return Document(
            given_id(record, self.default_id(raw)),
            text,
            self.in_characters(map(entity_of, entities), text),
            merged_meta(record, "id", text_key, "entities"),
        )


def entity_of(value: Any) -> Entity:
    """Parse a JSON object with `start`, `end`, `label` and optionally `text` and `meta` as an entity.

    Raises:
        DataFormatError: a key is missing or a value is invalid.
    """
    entity = as_object(value, "an entity")
    for key in ("start", "end", "label"):
        if key not in entity:
            raise DataFormatError(f"an entity has no key {key!r}; expected start, end and label")
    return Entity(
        entity["start"],
        entity["end"],
        entity["label"],
        entity.get("text"),
        merged_meta(entity, "start", "end", "label", "text"),
    )


def entity_list(record: Mapping[str, Any], require: bool, key: str = "entities") -> list[Any]:
    """Return the list of entities of a record; empty if the record has none and none is required.

    Raises:
        DataFormatError: the list is required but missing, or is not a list.
    """
    if key not in record and not require:
        return []
    return required(record, key, list)


def merged_meta(record: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """Return the `meta` of a record merged with its unknown keys.

    Raises:
        DataFormatError: `meta` is not an object, or has a key in common with the record.
    """
    meta = record.get("meta")
    if meta is None:
        return without(record, "meta", *known)
    return merged(without(record, "meta", *known), as_object(meta, "meta"), "in its meta")


def json_text(value: Any, document_id: str) -> str:
    """Return `value` as JSON on one line, with the document's id in errors; see `dump_json`."""
    with error_location(record=document_id):
        return dump_json(value)


def decimal_id(document_id: str) -> int | str:
    """Return an id as annotation tools store it: an integer if it is written as one."""
    return int(document_id) if _INTEGER_ID.fullmatch(document_id) else document_id


def jsonl_text(documents: Iterable[Document]) -> Iterator[str]:
    """Yield one line `{"id", "text", "entities", "meta"}` per document; empty `meta` is omitted."""
    for document in documents:
        record: dict[str, Any] = {
            "id": document.id,
            "text": document.text,
            "entities": [_entity_record(entity) for entity in document.entities],
        }
        if document.meta:
            record["meta"] = document.meta
        yield json_text(record, document.id) + "\n"


def _entity_record(entity: Entity) -> dict[str, Any]:
    record = {"start": entity.start, "end": entity.end, "label": entity.label, "text": entity.text}
    return {**record, "meta": entity.meta} if entity.meta else record


class TextReader(Reader):
    """Reader of a text file as one document, named like the file."""

    def records(self) -> Iterator[RawRecord]:
        """Yield the file as the only raw record."""
        yield RawRecord(1, self.stem, TextSource(self.path, self.encoding).text())

    def document(self, raw: RawRecord) -> Document:
        """Return the text as a document."""
        self.report.notes[NO_ENTITIES] += self.require_entities
        return Document(self.stem, raw.value)


class LinesReader(Reader):
    """Reader of a text file with one document per line; blank lines are skipped."""

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per line."""
        for number, line in TextSource(self.path, self.encoding).lines():
            if line.strip():
                yield RawRecord(number, str(number - 1), line)

    def document(self, raw: RawRecord) -> Document:
        """Return the line as a document."""
        self.report.notes[NO_ENTITIES] += self.require_entities
        return Document(self.default_id(raw), raw.value)
