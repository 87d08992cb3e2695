"""doccano JSONL: `{"id", "text", "label": [[start, end, label], ...]}`, or `entities` with `start_offset`/`end_offset`.

Projects without relations export the first form (older versions name the list `labels`, or the text `data`), projects
with relations the second; doccano 1.0 names its list `annotations`. Entity ids are kept in the entity's `meta`;
relations, comments and metadata columns in the document's `meta`. The writer uses the second form if there are entity
`meta` or relations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.jsonl import JsonReader, decimal_id, json_text
from hf_adner.data.formats.reader import RawRecord, as_object, given_id, required, without
from hf_adner.data.records import Document, Entity

LISTS = ("label", "labels", "entities")
OLD_LISTS = ("annotations",)
"""Keys of the list in exports of doccano 1.0."""
RELATIONS = "relations, kept in the document's meta"
_OFFSETS = ("start_offset", "end_offset", "label")


class DoccanoReader(JsonReader):
    """Reader of doccano exports."""

    text_keys = ("text", "data")

    def document(self, raw: RawRecord) -> Document:
        """Parse a record."""
        record = as_object(raw.value)
        text_key = self.text_key(record)
        text = required(record, text_key, str)
        entities = self.in_characters(map(_entity, self._spans(record)), text)
        meta = without(record, "id", text_key, *LISTS, *OLD_LISTS)
        document = Document(given_id(record, self.default_id(raw)), text, entities, meta)
        relations = required(record, "relations", list) if record.get("relations") is not None else ()
        self.report.notes[RELATIONS] += len(relations)
        return document

    def _spans(self, record: Mapping[str, Any]) -> list[Any]:
        keys = [key for key in (*LISTS, *OLD_LISTS) if key in record]
        if len(keys) > 1:
            raise DataFormatError(f"the record has both {keys[0]!r} and {keys[1]!r}; expected one list of entities")
        if not keys and not self.require_entities:
            return []
        return required(record, keys[0] if keys else "label", list)


def _entity(value: Any) -> Entity:
    if isinstance(value, list):
        if len(value) != 3:
            raise DataFormatError(f"a label must be [start, end, label], found {len(value)} values")
        return Entity(*value)
    if isinstance(value, str):
        raise DataFormatError("a label is a string without offsets, as text classification exports it, not a span")
    entity = as_object(value, "an entity")
    for key in _OFFSETS:
        if key not in entity:
            raise DataFormatError(f"an entity has no key {key!r}; expected start_offset, end_offset and label")
    if type(entity["label"]) is int:
        raise DataFormatError(
            "an entity's label is a number: this is doccano's export with the ids of labels, which does not name them; "
            "export the project as JSONL with text labels"
        )
    return Entity(entity["start_offset"], entity["end_offset"], entity["label"], None, without(entity, *_OFFSETS))


def doccano_text(documents: Iterable[Document]) -> Iterator[str]:
    """Yield one line per document; `meta` becomes additional columns.

    Raises:
        DataFormatError: `meta` has a key that is reserved by doccano.
    """
    for document in documents:
        _check_keys(document, document.meta, ("id", "text", *LISTS, *OLD_LISTS))
        record = {"id": decimal_id(document.id), "text": document.text, **_entity_columns(document), **document.meta}
        yield json_text(record, document.id) + "\n"


def _entity_columns(document: Document) -> dict[str, list[Any]]:
    if "relations" not in document.meta and not any(entity.meta for entity in document.entities):
        return {"label": [[entity.start, entity.end, entity.label] for entity in document.entities]}
    return {"entities": [_entity_record(document, entity) for entity in document.entities]}


def _entity_record(document: Document, entity: Entity) -> dict[str, Any]:
    _check_keys(document, entity.meta, _OFFSETS)
    entity_id = {"id": entity.meta["id"]} if "id" in entity.meta else {}
    span = {"label": entity.label, "start_offset": entity.start, "end_offset": entity.end}
    return {**entity_id, **span, **without(entity.meta, "id")}


def _check_keys(document: Document, meta: Iterable[str], reserved: tuple[str, ...]) -> None:
    taken = sorted(set(meta) & set(reserved))
    if taken:
        raise DataFormatError(f"meta has the key {taken[0]!r}, which is reserved by doccano", record=document.id)
