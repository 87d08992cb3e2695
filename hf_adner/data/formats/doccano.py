"""doccano JSONL: `{"id", "text", "label": [[start, end, label], ...]}`, or `entities` with `start_offset`/`end_offset`.

Projects without relations export the first form (older ones name the list `labels`), those with relations the second.
Entity ids are kept in the entity's `meta`; relations, comments and metadata columns in the document's.

doccano JSONL, for import into doccano: `label` triples, or `entities` where ids or relations are to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.jsonl import decimal_id, json_text
from hf_adner.data.formats.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.formats.source import TextSource, json_records
from hf_adner.data.records import Document, Entity

LISTS = ("label", "labels", "entities")
RELATIONS = "relations, kept in the document's meta"


class DoccanoReader(Reader):
    """Reads doccano exports."""

    def records(self) -> Iterator[RawRecord]:
        """One raw record a line (or an array element)."""
        return json_records(TextSource(self.path, self.encoding))

    def document(self, raw: RawRecord) -> Document:
        """The document of a line."""
        record = as_object(raw.value)
        text = required(record, "text", str)
        entities = tuple(_entity(value) for value in self._spans(record))
        document = Document(
            given_id(record, self.default_id(raw)), text, entities, without(record, "id", "text", *LISTS)
        )
        self.report.notes[RELATIONS] += len(document.meta.get("relations") or ())
        return document

    def _spans(self, record: Mapping[str, Any]) -> list[Any]:
        given = [key for key in LISTS if key in record]
        if len(given) > 1:
            raise DataFormatError(f"the record has both {given[0]!r} and {given[1]!r}; expected one list of entities")
        if not given and not self.require_entities:
            return []
        return required(record, given[0] if given else "label", list)


def _entity(value: Any) -> Entity:
    if isinstance(value, list):
        if len(value) != 3:
            raise DataFormatError(f"a label must be [start, end, label], found {len(value)} values")
        return Entity(*value)
    entity = as_object(value, "an entity")
    for key in ("start_offset", "end_offset", "label"):
        if key not in entity:
            raise DataFormatError(f"an entity has no key {key!r}; expected start_offset, end_offset and label")
    meta = without(entity, "start_offset", "end_offset", "label")
    return Entity(entity["start_offset"], entity["end_offset"], entity["label"], None, meta)


_OFFSETS = ("start_offset", "end_offset", "label")


def doccano_text(documents: Iterable[Document]) -> Iterator[str]:
    """One line per document; `meta` becomes further columns.

    Raises:
        DataFormatError: `meta` has a key that doccano uses itself.
    """
    for document in documents:
        _check_keys(document, document.meta, ("id", "text", *LISTS))
        record = {"id": decimal_id(document.id), "text": document.text, **_entities(document), **document.meta}
        yield json_text(record, document.id) + "\n"


def _entities(document: Document) -> dict[str, list[Any]]:
    if "relations" not in document.meta and not any(entity.meta for entity in document.entities):
        return {"label": [[entity.start, entity.end, entity.label] for entity in document.entities]}
    return {"entities": [_written_entity(document, entity) for entity in document.entities]}


def _written_entity(document: Document, entity: Entity) -> dict[str, Any]:
    _check_keys(document, entity.meta, _OFFSETS)
    own_id = {"id": entity.meta["id"]} if "id" in entity.meta else {}
    span = {"label": entity.label, "start_offset": entity.start, "end_offset": entity.end}
    return {**own_id, **span, **{key: value for key, value in entity.meta.items() if key != "id"}}


def _check_keys(document: Document, meta: Iterable[str], reserved: tuple[str, ...]) -> None:
    taken = sorted(set(meta) & set(reserved))
    if taken:
        raise DataFormatError(f"meta has the key {taken[0]!r}, which doccano uses itself", record=document.id)
