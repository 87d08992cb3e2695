"""CMeEE-V1/V2 JSON: `{"text", "entities": [{"start_idx", "end_idx", "type", "entity"}]}`, **`end_idx` inclusive**.

Entities may be nested; a test file has none. The official train file holds two pairs that cross, so crossing
is allowed, and two entities that enclose nothing, which are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.readers.json_stream import json_records
from hf_adner.data.readers.jsonl import entity_list
from hf_adner.data.readers.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.readers.source import TextSource
from hf_adner.data.records import Document, Entity

EMPTY_ENTITY = "entity that encloses no character (left out)"


class CmeeeReader(Reader):
    """Reads CMeEE JSON, array or one record a line."""

    overlaps = "any"

    def records(self) -> Iterator[RawRecord]:
        """One raw record per sentence."""
        return json_records(TextSource(self.path, self.encoding))

    def document(self, raw: RawRecord) -> Document:
        """The document of a sentence."""
        record = as_object(raw.value)
        text = required(record, "text", str)
        values = [as_object(value, "an entity") for value in entity_list(record, self.require_entities)]
        entities = tuple(_entity(value, text) for value in values if not self._encloses_nothing(value))
        document_id = given_id(record, self.default_id(raw))
        return Document(document_id, text, entities, without(record, "id", "text", "entities"))

    def _encloses_nothing(self, entity: Mapping[str, Any]) -> bool:
        start, last = entity.get("start_idx"), entity.get("end_idx")
        empty = entity.get("entity") == "" and type(start) is int and type(last) is int and last == start - 1
        self.report.repaired[EMPTY_ENTITY] += empty
        return empty


def _entity(entity: Mapping[str, Any], text: str) -> Entity:
    start = required(entity, "start_idx", int, "an entity")
    last = required(entity, "end_idx", int, "an entity")
    label = required(entity, "type", str, "an entity")
    surface = required(entity, "entity", str, "an entity") if "entity" in entity else None
    if surface and surface == text[start:last] != text[start : last + 1]:
        raise DataFormatError(
            f"entity {start}-{last} matches its text only if end_idx is exclusive; in CMeEE it is the last character"
        )
    return Entity(start, last + 1, label, surface, without(entity, "start_idx", "end_idx", "type", "entity"))
