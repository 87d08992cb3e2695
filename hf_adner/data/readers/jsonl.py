"""JSONL spans: `{"text": ..., "entities": [{"start", "end", "label"}]}`, one record a line, ends exclusive.

`id` and `meta` of a record, and `text` and `meta` of an entity, are optional; other keys are kept in `meta`. A JSON
array of the same records is read too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.readers.json_stream import json_records
from hf_adner.data.readers.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.readers.source import TextSource
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
