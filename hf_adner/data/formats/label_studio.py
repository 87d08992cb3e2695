"""Label Studio JSON: a list of tasks with `data.text` and `annotations[].result[]` of type `labels` (JSON-MIN too).

Columns of `data` beside `text` become the document's `meta`; what belongs to the task or annotation itself, and
results that are no labels (choices, relations), are kept there under `label_studio`. A region's id is kept in the
entity's `meta`. Old versions of Label Studio counted UTF-16 units, new ones count characters: where a region's
recorded text fits only the former, its offsets are converted and the repair counted.

Label Studio tasks with annotations, as its import takes them.

The labelling interface must have `<Text name="text" value="$text"/>` and `<Labels name="label" toName="text">`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.jsonl import decimal_id, json_text
from hf_adner.data.formats.reader import RawRecord, Reader, as_object, given_id, required, without
from hf_adner.data.formats.source import TextSource, json_records
from hf_adner.data.records import Document, Entity

ORIGIN = "label_studio"
"""Key of a `meta` under which Label Studio's own fields are kept."""
DOCUMENT_ID = "document_id"
MADE_UP_ID = "adner-"
"""Beginning of region ids that our writer had to make up; they are not kept."""
FIELDS = {"from_name": "label", "to_name": "text", "type": "labels"}

UTF16 = "region counted in UTF-16 units (converted to characters)"
OTHER_RESULTS = "Label Studio results that are no labels, kept in the document's meta"
PREDICTIONS = "Label Studio predictions, kept in the document's meta, not read as entities"


class LabelStudioReader(Reader):
    """Reads Label Studio exports, `JSON` and `JSON-MIN`; `annotator` chooses among several annotations of a task."""

    def __init__(self, *args: Any, annotator: int | str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._annotator = annotator

    def records(self) -> Iterator[RawRecord]:
        """One raw record per task."""
        return json_records(TextSource(self.path, self.encoding))

    def document(self, raw: RawRecord) -> Document:
        """The document of a task."""
        task = as_object(raw.value, "a task")
        if "data" not in task and "text" in task:
            return self._minimal(task, self.default_id(raw))
        data = required(task, "data", dict, "the task")
        text = required(data, "text", str, "the task's data")
        annotation = self._annotation(task)
        regions, others = _sorted_results(annotation)
        entities = tuple(entity for region in regions for entity in self._entities(region, text))
        meta = without(data, "text", DOCUMENT_ID)
        origin = {
            "task": without(task, "id", "data", "annotations"),
            "annotation": without(annotation, "result"),
            "results": others,
        }
        origin = {key: value for key, value in origin.items() if value}
        if ORIGIN in meta:
            raise DataFormatError(
                f"column {ORIGIN!r} of the task's data is a name that is kept for Label Studio's fields"
            )
        self.report.notes[OTHER_RESULTS] += len(others)
        self.report.notes[PREDICTIONS] += bool(task.get("predictions"))
        document_id = given_id(data, given_id(task, self.default_id(raw)), DOCUMENT_ID)
        return Document(document_id, text, entities, {**meta, **({ORIGIN: origin} if origin else {})})

    def _annotation(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        if "annotations" not in task and not self.require_entities:
            return {}
        given = [as_object(one, "an annotation") for one in required(task, "annotations", list, "the task")]
        found = [one for one in given if not one.get("was_cancelled")]
        if self._annotator is not None:
            found = [one for one in found if _annotator_of(one) == str(self._annotator)]
        if len(found) == 1 or (not found and not self.require_entities):
            return found[0] if found else {}
        by = "" if self._annotator is None else f" by annotator {excerpt(self._annotator, 20)}"
        if found:
            by = f"; choose one by annotator=, of {', '.join(excerpt(_annotator_of(one), 20) for one in found)}"
        raise DataFormatError(f"expected one annotation that is not cancelled, found {len(found)}{by}")

    def _entities(self, region: Mapping[str, Any], text: str) -> list[Entity]:
        value = required(region, "value", dict, "the region")
        labels = required(value, "labels", list, "the region's value")
        if not labels:
            raise DataFormatError("a region has no label")
        for key in ("start", "end"):
            if key not in value:
                raise DataFormatError(f"a region has no key {key!r}")
        start, end = self._offsets(value, text)
        meta = _region_meta(region, value)
        return [Entity(start, end, label, value.get("text"), meta) for label in labels]

    def _offsets(self, value: Mapping[str, Any], text: str) -> tuple[Any, Any]:
        start, end, surface = value["start"], value["end"], value.get("text")
        if type(start) is not int or type(end) is not int or surface is None or text[start:end] == surface:
            return start, end
        units = text.encode("utf-16-le", "surrogatepass")
        if start < 0 or units[2 * start : 2 * end] != surface.encode("utf-16-le", "surrogatepass"):
            return start, end
        self.report.repaired[UTF16] += 1
        before = len(units[: 2 * start].decode("utf-16-le"))
        return before, before + len(surface)

    def _minimal(self, task: Mapping[str, Any], default_id: str) -> Document:
        text = required(task, "text", str, "the task")
        regions = required(task, "label", list, "the task") if "label" in task or self.require_entities else []
        entities = tuple(
            entity for region in regions for entity in self._entities({"value": as_object(region, "a region")}, text)
        )
        return Document(given_id(task, default_id), text, entities, without(task, "id", "text", "label"))


def _annotator_of(annotation: Mapping[str, Any]) -> str:
    annotator = annotation.get("completed_by")
    return str(annotator.get("id") if isinstance(annotator, dict) else annotator)


def _sorted_results(annotation: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Labelled regions, and all other results."""
    results = [as_object(one, "a result") for one in annotation.get("result", ())]
    regions = [one for one in results if one.get("type") == FIELDS["type"]]
    return regions, [one for one in results if one.get("type") != FIELDS["type"]]


def _region_meta(region: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(as_object(region.get("meta") or {}, "a region's meta"))
    region_id = region.get("id")
    if region_id is not None and not str(region_id).startswith(MADE_UP_ID):
        meta["id"] = region_id
    fields = {key: content for key, content in region.items() if FIELDS.get(key) != content}
    origin = without(fields, "id", "meta", "value")
    extra = without(value, "start", "end", "text", "labels")
    origin |= {"value": extra} if extra else {}
    return {**meta, ORIGIN: origin} if origin else meta


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
