"""Label Studio JSON: a list of tasks with `data.text` and labelled regions in `annotations[].result[]` (JSON-MIN too).

Columns of `data` other than `text` become the document's `meta`; fields of the task or annotation, and results that are
not labels (choices, relations), are kept there under `label_studio`. The id of a region is kept in the entity's `meta`.
Old versions of Label Studio counted UTF-16 units, new ones count characters: the texts of the regions tell which.

To import written tasks, the labelling interface must have `<Text name="text" value="$text"/>` and
`<Labels name="label" toName="text">`, and for the `assertion` of entities
`<Choices name="assertion" toName="text" perRegion="true" choice="multiple">`; choices of that name are read as such.
The `code` of an entity is the text of `<TextArea name="code" toName="text" perRegion="true"/>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hf_adner.data.assertion import ASSERTION, is_assertion
from hf_adner.data.code import CODE, is_code
from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.jsonl import JsonReader, decimal_id, json_text
from hf_adner.data.formats.label_studio_text import (
    HYPERTEXT,
    KEPT_COLUMNS,
    PLAIN,
    ShownText,
    has_markup,
    kind_of,
    region_offsets,
    shown_text,
)
from hf_adner.data.formats.reader import RawRecord, as_object, given_id, merged, required, without
from hf_adner.data.records import Document, Entity

ORIGIN = "label_studio"
"""Key of `meta` for Label Studio's own fields."""
DOCUMENT_ID = "document_id"
GENERATED_ID = "adner-"
"""Prefix of region ids that the writer generates and the reader drops."""
FIELDS = {"from_name": "label", "to_name": "text", "type": "labels"}

OTHER_RESULTS = "Label Studio results that are not labels of the text, kept in the document's meta"
PREDICTIONS = "Label Studio predictions, kept in the document's meta, not read as entities"
OTHER_ANNOTATORS = "Label Studio annotations by others than the chosen annotator, not read"
AS_TEXT = "Label Studio tasks that show {}, read as text"
UNTOLD_HTML = "Label Studio tasks with HTML tags but no region that tells how they were shown, read as they stand"
_MINIMAL_FIELDS = {"annotator", "annotation_id", "lead_time"}
_PLACE = ("start", "end", "startOffset", "endOffset", "globalOffsets")


class LabelStudioReader(JsonReader):
    """Reader of Label Studio exports (JSON, JSON-MIN).

    Args:
        args: of `Reader`.
        annotator: id or email of the annotator whose annotation is read, where tasks have several.
        control_tag: name of the labelling tag whose regions are read (`from_name`); None reads all.
        options: of `JsonReader`; `text_column` is the column of a task's `data`.
    """

    def __init__(self, *args: Any, annotator: int | str | None = None, control_tag: str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._annotator = None if annotator is None else str(annotator)
        self._control_tag = control_tag
        self._shows_html = False
        self._annotated: set[str] = set()

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per task, in JSON-MIN only those of the chosen annotator."""
        for raw in super().records():
            is_minimal = isinstance(raw.value, dict) and "data" not in raw.value and "annotator" in raw.value
            if self._annotator is None or not is_minimal or self._annotator in _names(raw.value["annotator"]):
                yield raw
            else:
                self.report.notes[OTHER_ANNOTATORS] += 1

    def document(self, raw: RawRecord) -> Document:
        """Parse a task."""
        task = as_object(raw.value, "a task")
        if "data" not in task and any(key in task for key in (*self.text_keys, self._text_column)):
            return self._minimal_document(task, self.default_id(raw))
        data = required(task, "data", dict, "the task")
        annotation = self._annotation(task)
        regions, other_results = self._split_results(annotation)
        text_key = self.text_key(data, "the task's data")
        shown = self._shown_text(data[text_key], regions)
        entities = self._entities(regions, shown)
        origin = {
            "task": without(task, "id", "data", "annotations"),
            "annotation": without(annotation, "result"),
            "results": other_results,
        }
        origin = {key: value for key, value in origin.items() if value}
        meta = _merged(without(data, text_key, DOCUMENT_ID), {**shown.kept, **({ORIGIN: origin} if origin else {})})
        self.report.notes[OTHER_RESULTS] += len(other_results)
        self.report.notes[PREDICTIONS] += bool(task.get("predictions"))
        document_id = given_id(data, given_id(task, self.default_id(raw)), DOCUMENT_ID)
        return Document(document_id, shown.text, entities, meta)

    def _annotation(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        if "annotations" not in task and not self.require_entities:
            return {}
        annotations = [as_object(value, "an annotation") for value in required(task, "annotations", list, "the task")]
        annotations = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
        if self._annotator is not None:
            annotations = [each for each in annotations if self._annotator in _names(each.get("completed_by"))]
        if len(annotations) == 1 or (not annotations and not self.require_entities):
            return annotations[0] if annotations else {}
        hint = "" if self._annotator is None else f" by annotator {excerpt(self._annotator, 20)}"
        if annotations:
            names = ", ".join(excerpt(_names(annotation.get("completed_by"))[0], 20) for annotation in annotations)
            hint = f"; set annotator= (--annotator) to one of {names}"
        raise DataFormatError(f"expected one annotation that is not cancelled, found {len(annotations)}{hint}")

    def _split_results(self, annotation: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
        """Return the labelled regions and the other results of an annotation."""
        results = required(annotation, "result", list, "the annotation") if annotation else []
        regions, others = [], []
        for value in results:
            result = as_object(value, "a result")
            is_region = kind_of(as_object(result.get("value") or {}, "a result's value"), result.get("type"))
            is_chosen = self._control_tag is None or result.get("from_name") == self._control_tag
            (regions if is_region and is_chosen else others).append(result)
        regions, others = _with_statements(regions, others)
        shown = sorted({str(region["to_name"]) for region in regions if "to_name" in region})
        if len(shown) > 1:
            raise DataFormatError(
                f"the regions are in several texts ({', '.join(excerpt(name, 20) for name in shown)}); control_tag= "
                "(--control-tag) names the labelling tag of one, text_column= (--text-column) its column"
            )
        return regions, others

    def _shown_text(self, content: Any, regions: list[Mapping[str, Any]]) -> ShownText:
        kinds = {kind_of(required(region, "value", dict, "the region"), region.get("type")) for region in regions}
        self._shows_html |= bool(kinds & {*HYPERTEXT})
        shown = shown_text(content, self._shows_html and PLAIN not in kinds)
        for column in shown.kept:
            self.report.notes[AS_TEXT.format(KEPT_COLUMNS[column])] += 1
        self.report.notes[UNTOLD_HTML] += not kinds and not shown.kept and has_markup(content)
        return shown

    def _entities(self, regions: list[Mapping[str, Any]], shown: ShownText) -> tuple[Entity, ...]:
        return self.in_characters(
            (entity for region in regions for entity in _entities_of_region(region, shown)), shown.text
        )

    def _minimal_document(self, task: Mapping[str, Any], default_id: str) -> Document:
        text_key = self.text_key(task, "the task")
        tags = self._minimal_tags(task)
        values = [as_object(value, "a region") for tag in tags for value in required(task, tag, list, "the task")]
        regions = [{"value": value} for value in values]
        for value in values:
            if not kind_of(value):
                raise DataFormatError(f"a region has no key 'labels'; its keys: {', '.join(list(value)[:6]) or 'none'}")
        shown = self._shown_text(task[text_key], regions)
        meta = _merged(without(task, "id", text_key, *tags), shown.kept)
        task_id = given_id(task, default_id)
        if "annotator" in task and task_id in self._annotated:
            raise DataFormatError(
                f"task {excerpt(task_id, 20)} has several annotations; set annotator= (--annotator) to one annotator"
            )
        self._annotated.add(task_id)
        return Document(task_id, shown.text, self._entities(regions, shown), meta)

    def _minimal_tags(self, task: Mapping[str, Any]) -> list[str]:
        """Return the keys of a JSON-MIN task that hold regions; a tag with which nothing was marked has no key."""
        if self._control_tag is not None:
            return [self._control_tag] if self._control_tag in task else []
        tags = [key for key, value in task.items() if key == FIELDS["from_name"] or _are_regions(value)]
        if not tags and self.require_entities and not _MINIMAL_FIELDS & task.keys():
            required(task, FIELDS["from_name"], list, "the task")
        return tags


def _with_statements(
    regions: list[Mapping[str, Any]], others: list[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Move the results of regions that are their assertion or code to the regions' meta."""
    names = [_region_name(region) for region in regions]
    stated: dict[tuple[str, str], Any] = {}
    rest = []
    for result in others:
        name, (key, value) = _region_name(result), _statement(result)
        if key and name is not None and names.count(name) == 1 and (name, key) not in stated:
            stated[name, key] = value
        else:
            rest.append(result)
    with_meta = []
    for name, region in zip(names, regions, strict=True):
        for key, place in ((ASSERTION, "choices"), (CODE, "text")):
            if (name, key) in stated:
                meta = as_object(region.get("meta") or {}, "a region's meta")
                region = {**region, "meta": merged(meta, {key: stated[name, key]}, f"in the {place} of its region")}
        with_meta.append(region)
    return with_meta, rest


def _statement(result: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the key of an entity's `meta` that a result is meant for, and its value; an empty key for none."""
    key, value = result.get("from_name"), _keys(result.get("value"))
    if key == ASSERTION and isinstance(holds := value.get("choices"), list) and all(isinstance(x, str) for x in holds):
        return (key, sorted(holds)) if is_assertion(sorted(holds)) else ("", None)
    if key == CODE and isinstance(lines := value.get("text"), list) and len(lines) == 1 and is_code(lines[0]):
        return key, lines[0]
    return "", None


def _region_name(result: Mapping[str, Any]) -> str | None:
    """Return the id that joins the results of a region as JSON, which tells 1 from "1"; None if it is no name."""
    region_id = result.get("id")
    is_name = isinstance(region_id, (str, int)) and not isinstance(region_id, bool)
    return json.dumps(region_id) if is_name else None


def is_label_studio(record: Mapping[str, Any]) -> bool:
    """Return whether a JSON record is a task, of JSON or of JSON-MIN, and not a record of a format of its own."""
    if isinstance(record.get("data"), dict):
        return True
    annotations = record.get("annotations")
    if isinstance(annotations, list) and ("text" not in record or any("result" in _keys(each) for each in annotations)):
        return True
    has_text = isinstance(record.get("text"), (str, list))
    return has_text and ("annotation_id" in record or "annotator" in record or any(map(_are_regions, record.values())))


def _keys(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _are_regions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and kind_of(_keys(value[0])) is not None


def _names(annotator: Any) -> list[str]:
    """Return the names of an annotator: the id, and the email if the export has it."""
    if not isinstance(annotator, dict):
        return [str(annotator)]
    return [str(annotator[key]) for key in ("id", "email") if key in annotator] or [str(None)]


def _merged(columns: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a task with what the reader adds to them."""
    taken = sorted(columns.keys() & {*own, ORIGIN})
    if taken:
        raise DataFormatError(f"column {taken[0]!r} of the task is reserved for what the reader keeps there")
    return {**columns, **own}


def _entities_of_region(region: Mapping[str, Any], shown: ShownText) -> list[Entity]:
    value = region["value"]
    kind = kind_of(value, region.get("type"))
    labels = required(value, kind, list, "the region's value")
    if not labels:
        raise DataFormatError("a region has no label")
    start, end = region_offsets(value, kind, shown)
    meta = _region_meta(region, value, kind)
    return [Entity(start, end, label, value.get("text"), meta) for label in labels]


def _region_meta(region: Mapping[str, Any], value: Mapping[str, Any], kind: str) -> dict[str, Any]:
    meta = dict(as_object(region.get("meta") or {}, "a region's meta"))
    region_id = region.get("id")
    if region_id is not None and not str(region_id).startswith(GENERATED_ID):
        meta["id"] = region_id
    fields = {key: content for key, content in region.items() if FIELDS.get(key) != content}
    origin = without(fields, "id", "meta", "value", "type")
    extra = without(value, "start", "end", "text", kind)
    if kind != PLAIN:
        extra = without(extra, *_PLACE)  # of the page or dialogue; the region is written as one of the text
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
    results = [result for entity in document.entities for result in _results(entity, document.id)]
    results += origin.get("results", ())
    task_id = decimal_id(document.id)
    return {
        **({"id": task_id} if isinstance(task_id, int) else {}),
        "data": {"text": document.text, DOCUMENT_ID: document.id, **without(document.meta, ORIGIN)},
        **origin.get("task", {}),
        "annotations": [{**origin.get("annotation", {}), "result": results}],
    }


def _results(entity: Entity, document_id: str) -> Iterator[dict[str, Any]]:
    """Yield the region of an entity, the choices that are its assertion, and the text that is its code."""
    holds, code = entity.meta.get(ASSERTION), entity.meta.get(CODE)
    own = {}
    if _is_own_region(entity):
        own |= {ASSERTION: ("choices", "choices", holds)} if is_assertion(holds) else {}
        own |= {CODE: ("textarea", "text", [code])} if is_code(code) else {}
    region = _region(replace(entity, meta=without(entity.meta, *own)), document_id)
    yield region
    for name, (kind, key, content) in own.items():
        value = {**without(region["value"], "labels"), key: content}
        yield {"id": region["id"], "from_name": name, "to_name": "text", "type": kind, "value": value}


def _is_own_region(entity: Entity) -> bool:
    """Return whether the id of an entity's region is a string, which its choices can refer to."""
    return isinstance(entity.meta.get("id", ""), str)


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
