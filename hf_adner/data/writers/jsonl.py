"""JSONL spans, one document a line, ends exclusive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hf_adner.data.records import Document, Entity
from hf_adner.data.writers.json_text import json_text


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
