"""JSONL spans: `{"text": ..., "entities": [{"start", "end", "label"}]}`, one record a line, ends exclusive.

`id` and `meta` of a record, and `text` and `meta` of an entity, are optional; other keys are kept in `meta`. A JSON
array of the same records is read too.

JSON as all writers put it.

JSONL spans, one document a line, ends exclusive.

Plain text without entities: a file as one document, or a document a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.formats.source import TextSource, json_records
from hf_adner.data.records import Document, Entity


class JsonlReader(Reader):
    """Reads JSONL spans."""

    def records(self) -> Iterator[RawRecord]:
        """One raw record a line (or an array element)."""
        return json_records(TextSource(self.path, self.encoding))

    def document(self, raw: RawRecord) -> Document:
        """The document of a line."""
        record = as_object(raw.value)
        text = required(record, "text", str)
        entities = entity_list(record, self.require_entities)
        return Document(
            given_id(record, self.default_id(raw)),
            text,
            tuple(entity_of(entity) for entity in entities),
            merged_meta(record, "id", "text", "entities"),
        )


def entity_of(value: Any) -> Entity:
    """The entity of a JSON object with `start`, `end`, `label`, and perhaps `text` and `meta`.

    Raises:
        DataFormatError: a key is missing, or the values are no entity.
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
    """The record's list of entities; empty where it has none and none are required.

    Raises:
        DataFormatError: it is required and missing, or no list.
    """
    if key not in record and not require:
        return []
    return required(record, key, list)


def merged_meta(record: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The record's `meta` together with its unknown keys.

    Raises:
        DataFormatError: `meta` is no object, or has a key that the record has too.
    """
    meta = record.get("meta")
    if meta is None:
        return without(record, "meta", *known)
    extra = without(record, "meta", *known)
    both = sorted(extra.keys() & as_object(meta, "meta").keys())
    if both:
        raise DataFormatError(f"key {excerpt(both[0], 20)} stands both in the record and in its meta")
    return {**extra, **meta}


def json_text(value: Any, document_id: str) -> str:
    """`value` as JSON on one line.

    Raises:
        DataFormatError: it holds something that JSON cannot (NaN, an arbitrary object).
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataFormatError(f"meta cannot be written as JSON: {error}", record=document_id) from None


def decimal_id(document_id: str) -> int | str:
    """An id as annotation tools keep it: a number where it reads as one."""
    is_number = document_id.isascii() and document_id.isdigit() and str(int(document_id)) == document_id
    return int(document_id) if is_number else document_id


def jsonl_text(documents: Iterable[Document]) -> Iterator[str]:
    """Lines of `{"id", "text", "entities", "meta"}`; empty `meta` is left out."""
    for document in documents:
        record: dict[str, Any] = {
            "id": document.id,
            "text": document.text,
            "entities": [_entity(entity) for entity in document.entities],
        }
        if document.meta:
            record["meta"] = document.meta
        yield json_text(record, document.id) + "\n"


def _entity(entity: Entity) -> dict[str, Any]:
    record = {"start": entity.start, "end": entity.end, "label": entity.label, "text": entity.text}
    return {**record, "meta": entity.meta} if entity.meta else record


class TextReader(Reader):
    """Reads a file as one document, named like the file."""

    def records(self) -> Iterator[RawRecord]:
        """The one raw record."""
        yield RawRecord(1, self.stem, TextSource(self.path, self.encoding).text())

    def document(self, raw: RawRecord) -> Document:
        """The document of the file."""
        return Document(self.stem, raw.value)


class LinesReader(Reader):
    """Reads every line that is not blank as a document."""

    def records(self) -> Iterator[RawRecord]:
        """One raw record a line."""
        for number, line in TextSource(self.path, self.encoding).lines():
            if line.strip():
                yield RawRecord(number, str(number - 1), line)

    def document(self, raw: RawRecord) -> Document:
        """The document of a line."""
        return Document(self.default_id(raw), raw.value)
