"""Documents as rows of a `datasets.Dataset` and back.

A row has `id`, `text`, `entities` (a list of `start`, `end`, `label`, `text`, `meta`) and `meta`; both `meta` are JSON
strings, because Arrow columns have one type and free-form annotations do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, Entity

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
