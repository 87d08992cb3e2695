"""Label Studio JSON: a list of tasks with `data.text` and `annotations[].result[]` of type `labels` (JSON-MIN too).

Columns of `data` other than `text` become the document's `meta`; fields of the task or annotation, and results that are
not labels (choices, relations), are kept there under `label_studio`. The id of a region is kept in the entity's `meta`.
Old versions of Label Studio counted UTF-16 units, new ones count characters: the texts of the regions tell which.

To import written tasks, the labelling interface must have `<Text name="text" value="$text"/>` and
`<Labels name="label" toName="text">`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.jsonl import decimal_id, json_text
from hf_adner.data.formats.offsets import SpanReader
from hf_adner.data.formats.reader import RawRecord, as_object, given_id, required, without
from hf_adner.data.formats.source import TextSource, json_records
from hf_adner.data.records import Document, Entity

ORIGIN = "label_studio"
"""Key of `meta` for Label Studio's own fields."""
DOCUMENT_ID = "document_id"
GENERATED_ID = "adner-"
"""Prefix of region ids that the writer generates and the reader drops."""
FIELDS = {"from_name": "label", "to_name": "text", "type": "labels"}

OTHER_RESULTS = "Label Studio results that are not labels, kept in the document's meta"
PREDICTIONS = "Label Studio predictions, kept in the document's meta, not read as entities"


class LabelStudioReader(SpanReader):
    """Reader of Label Studio exports (JSON, JSON-MIN); `annotator` selects one of several annotations of a task."""

    def __init__(self, *args: Any, annotator: int | str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._annotator = annotator

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per task."""
        return json_records(TextSource(self.path, self.encoding))

    def document(self, raw: RawRecord) -> Document:
        """Parse a task."""
        task = as_object(raw.value, "a task")
        if "data" not in task and "text" in task:
            return self._minimal_document(task, self.default_id(raw))
        data = required(task, "data", dict, "the task")
        text = required(data, "text", str, "the task's data")
        annotation = self._annotation(task)
        regions, other_results = _split_results(annotation)
        entities = self.in_characters((entity for region in regions for entity in self._entities(region)), text)
        meta = without(data, "text", DOCUMENT_ID)
        origin = {
            "task": without(task, "id", "data", "annotations"),
            "annotation": without(annotation, "result"),
            "results": other_results,
        }
        origin = {key: value for key, value in origin.items() if value}
        if ORIGIN in meta:
            raise DataFormatError(f"column {ORIGIN!r} of the task's data is reserved for Label Studio's own fields")
        self.report.notes[OTHER_RESULTS] += len(other_results)
        self.report.notes[PREDICTIONS] += bool(task.get("predictions"))
        document_id = given_id(data, given_id(task, self.default_id(raw)), DOCUMENT_ID)
        return Document(document_id, text, entities, {**meta, **({ORIGIN: origin} if origin else {})})

    def _annotation(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        if "annotations" not in task and not self.require_entities:
            return {}
        annotations = [as_object(value, "an annotation") for value in required(task, "annotations", list, "the task")]
        annotations = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
        if self._annotator is not None:
            wanted = str(self._annotator)
            annotations = [annotation for annotation in annotations if _annotator_of(annotation) == wanted]
        if len(annotations) == 1 or (not annotations and not self.require_entities):
            return annotations[0] if annotations else {}
        hint = "" if self._annotator is None else f" by annotator {excerpt(self._annotator, 20)}"
        if annotations:
            names = ", ".join(excerpt(_annotator_of(annotation), 20) for annotation in annotations)
            hint = f"; set annotator= to one of {names}"
        raise DataFormatError(f"expected one annotation that is not cancelled, found {len(annotations)}{hint}")

    @staticmethod
    def _entities(region: Mapping[str, Any]) -> list[Entity]:
        value = required(region, "value", dict, "the region")
        labels = required(value, "labels", list, "the region's value")
        if not labels:
            raise DataFormatError("a region has no label")
        for key in ("start", "end"):
            if key not in value:
                raise DataFormatError(f"a region has no key {key!r}")
        meta = _region_meta(region, value)
        return [Entity(value["start"], value["end"], label, value.get("text"), meta) for label in labels]

    def _minimal_document(self, task: Mapping[str, Any], default_id: str) -> Document:
        text = required(task, "text", str, "the task")
        regions = required(task, "label", list, "the task") if "label" in task or self.require_entities else []
        values = ({"value": as_object(region, "a region")} for region in regions)
        entities = self.in_characters((entity for value in values for entity in self._entities(value)), text)
        return Document(given_id(task, default_id), text, entities, without(task, "id", "text", "label"))


def _annotator_of(annotation: Mapping[str, Any]) -> str:
    annotator = annotation.get("completed_by")
    return str(annotator.get("id") if isinstance(annotator, dict) else annotator)


def _split_results(annotation: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the labelled regions and the other results of an annotation."""
    results = [as_object(value, "a result") for value in annotation.get("result", ())]
    regions = [result for result in results if result.get("type") == FIELDS["type"]]
    return regions, [result for result in results if result.get("type") != FIELDS["type"]]


def _region_meta(region: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(as_object(region.get("meta") or {}, "a region's meta"))
    region_id = region.get("id")
    if region_id is not None and not str(region_id).startswith(GENERATED_ID):
        meta["id"] = region_id
    fields = {key: content for key, content in region.items() if FIELDS.get(key) != content}
    origin = without(fields, "id", "meta", "value")
    extra = without(value, "start", "end", "text", "labels")
    origin |= {"value": extra} if extra else {}
    return {**meta, ORIGIN: origin} if origin else meta


def label_studio_text(documents: Iterable[Document]) -> Iterator[str]:
    """Yield a JSON array with one task per line; `meta` becomes additional columns of `data`.

    Raises:
        DataFormatError: `meta` has a key that is reserved by tasks, or an invalid `label_studio`.
    """
    return _json_array((_task(document), document.id) for document in documents)


def label_studio_predictions_text(documents: Iterable[Document], model_version: str) -> Iterator[str]:
    """Yield a JSON array of tasks without annotations, with the entities as predictions of a model.

    Args:
        documents: the `score` in an entity's `meta`, in [0, 1], becomes the score of its region.
        model_version: name of the model, by which Label Studio groups predictions.

    Raises:
        DataFormatError: see `label_studio_text`.
    """
    return _json_array((_prediction_task(document, model_version), document.id) for document in documents)


def _json_array(tasks: Iterable[tuple[dict[str, Any], str]]) -> Iterator[str]:
    separator = "[\n"
    for task, document_id in tasks:
        yield separator + json_text(task, document_id)
        separator = ",\n"
    yield "\n]\n" if separator != "[\n" else "[]\n"


def _prediction_task(document: Document, model_version: str) -> dict[str, Any]:
    task = _task(document)
    results = task.pop("annotations")[0]["result"]
    for result in results:
        if isinstance(score := result.get("meta", {}).get("score"), float):
            result["score"] = score
    return {**task, "predictions": [{"model_version": model_version, "result": results}]}


def _task(document: Document) -> dict[str, Any]:
    origin = _origin(document.meta, document.id)
    taken = sorted({"text", DOCUMENT_ID} & document.meta.keys())
    if taken:
        raise DataFormatError(f"meta has the key {taken[0]!r}, which is reserved by tasks", record=document.id)
    results = [_region(entity, document.id) for entity in document.entities] + list(origin.get("results", ()))
    task_id = decimal_id(document.id)
    return {
        **({"id": task_id} if isinstance(task_id, int) else {}),
        "data": {"text": document.text, DOCUMENT_ID: document.id, **without(document.meta, ORIGIN)},
        **origin.get("task", {}),
        "annotations": [{**origin.get("annotation", {}), "result": results}],
    }


def _region(entity: Entity, document_id: str) -> dict[str, Any]:
    origin = dict(_origin(entity.meta, document_id))
    meta = without(entity.meta, ORIGIN)
    value = {"start": entity.start, "end": entity.end, "text": entity.text, "labels": [entity.label]}
    value |= origin.pop("value", {})
    region_id = meta.get("id")
    if isinstance(region_id, str) and not region_id.startswith(GENERATED_ID):
        del meta["id"]
    else:
        region_id = f"{GENERATED_ID}{entity.start}-{entity.end}-{entity.label}"
    return {"id": region_id, **FIELDS, "value": value, **origin, **({"meta": meta} if meta else {})}


def _origin(meta: Mapping[str, Any], document_id: str) -> Mapping[str, Any]:
    origin = meta.get(ORIGIN, {})
    if not isinstance(origin, Mapping):
        raise DataFormatError(f"meta key {ORIGIN!r} must be an object, as the reader writes it", record=document_id)
    return origin
