"""Label Studio tasks with annotations, as its import takes them.

The labelling interface must have `<Text name="text" value="$text"/>` and `<Labels name="label" toName="text">`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError
from hf_adner.data.readers.label_studio import DOCUMENT_ID, FIELDS, MADE_UP_ID, ORIGIN
from hf_adner.data.records import Document, Entity
from hf_adner.data.writers.json_text import decimal_id, json_text


def label_studio_text(documents: Iterable[Document]) -> Iterator[str]:
    """A JSON array, one task a line; `meta` becomes further columns of `data`.

    Raises:
        DataFormatError: `meta` has a key that a task uses itself, or a `label_studio` that did not come from there.
    """
    separator = "[\n"
    for document in documents:
        yield separator + json_text(_task(document), document.id)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def label_studio_predictions_text(documents: Iterable[Document], model_version: str) -> Iterator[str]:
    """A JSON array of tasks that still are to be annotated, their entities shown as what a model predicts.

    Args:
        documents: `score` in an entity's `meta`, in [0, 1], becomes the score of its region.
        model_version: name of the model, by which Label Studio groups predictions.

    Raises:
        DataFormatError: as `label_studio_text`.
    """
    separator = "[\n"
    for document in documents:
        task = _task(document)
        results = task.pop("annotations")[0]["result"]
        for result in results:
            if isinstance(score := result.get("meta", {}).get("score"), float):
                result["score"] = score
        task["predictions"] = [{"model_version": model_version, "result": results}]
        yield separator + json_text(task, document.id)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def _task(document: Document) -> dict[str, Any]:
    origin = _origin(document.meta, document.id)
    taken = sorted({"text", DOCUMENT_ID} & document.meta.keys())
    if taken:
        raise DataFormatError(f"meta has the key {taken[0]!r}, which a task's data uses itself", record=document.id)
    results = [_region(entity, document.id) for entity in document.entities] + list(origin.get("results", ()))
    columns = {key: value for key, value in document.meta.items() if key != ORIGIN}
    task_id = decimal_id(document.id)
    return {
        **({"id": task_id} if isinstance(task_id, int) else {}),
        "data": {"text": document.text, DOCUMENT_ID: document.id, **columns},
        **origin.get("task", {}),
        "annotations": [{**origin.get("annotation", {}), "result": results}],
    }


def _region(entity: Entity, document_id: str) -> dict[str, Any]:
    origin = dict(_origin(entity.meta, document_id))
    meta = {key: value for key, value in entity.meta.items() if key != ORIGIN}
    value = {"start": entity.start, "end": entity.end, "text": entity.text, "labels": [entity.label]}
    value |= origin.pop("value", {})
    region_id = meta.get("id")
    if isinstance(region_id, str) and not region_id.startswith(MADE_UP_ID):
        del meta["id"]
    else:
        region_id = f"{MADE_UP_ID}{entity.start}-{entity.end}-{entity.label}"
    return {"id": region_id, **FIELDS, "value": value, **origin, **({"meta": meta} if meta else {})}


def _origin(meta: Mapping[str, Any], document_id: str) -> Mapping[str, Any]:
    origin = meta.get(ORIGIN, {})
    if not isinstance(origin, Mapping):
        raise DataFormatError(f"meta key {ORIGIN!r} must be an object, as the reader makes it", record=document_id)
    return origin
