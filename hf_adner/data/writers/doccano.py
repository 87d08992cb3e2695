"""doccano JSONL, for import into doccano: `label` triples, or `entities` where ids or relations are to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.readers.doccano import LISTS
from hf_adner.data.records import Document, Entity
from hf_adner.data.writers.json_text import decimal_id, json_text

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
