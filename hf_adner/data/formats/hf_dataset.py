"""Hugging Face datasets: a folder of `save_to_disk`, a Parquet file, or the name `owner/name` of a dataset on the Hub.

A row has `text` and `entities` (with `start`, `end`, `label` or `type`), as in the datasets of this package, or
`tokens` and `ner_tags` as in CoNLL; tags are strings or a `ClassLabel`. `owner/name/split` is a split of a dataset on
the Hub. A path that exists is never taken for a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.conll import (
    SEVERAL_CHARACTERS,
    check_scheme,
    form_of_tags,
    parse_tag,
    parts_of_token,
    spans_of_tags,
)
from hf_adner.data.formats.jsonl import merged_meta
from hf_adner.data.formats.offsets import SpanReader
from hf_adner.data.formats.reader import RawRecord, as_object, given_id, required, without
from hf_adner.data.hub_question import TIMEOUT, ask_hub
from hf_adner.data.records import Document, Entity, load_meta

if TYPE_CHECKING:
    import datasets
    import pyarrow

COLUMNS = {
    "id": ("id",),
    "text": ("text", "sentence"),
    "entities": ("entities", "spans"),
    "tokens": ("tokens", "words"),
    "ner_tags": ("ner_tags", "tags", "labels"),
}
"""Names of the columns; the first that a dataset has is taken."""
PARQUET = ".parquet"
_DICT_FILE, _DATASET_FILE = "dataset_dict.json", "state.json"
_BATCH = 1000
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*){1,2}")
_FILE_NAME = re.compile(r".*\.(json|jsonl|ndjson|csv|tsv|xlsx|xlsm|txt|text|conll|bio|iob|bmes|bioes|ann|parquet|html)")


def is_dataset(path: Path) -> bool:
    """Return whether a path is a saved dataset without splits, a Parquet file, or may be a name on the Hub."""
    if path.exists():
        return path.suffix.lower() == PARQUET or (path / _DATASET_FILE).is_file()
    return _is_hub_name(path)


def _is_hub_name(path: Path) -> bool:
    name = path.as_posix()
    is_file_name = _FILE_NAME.fullmatch(name.lower()) is not None
    return _HUB_NAME.fullmatch(name) is not None and not is_file_name and not Path(path.parts[0]).exists()


def dataset_splits(path: Path) -> dict[str, Path]:
    """Return the path of each split of a saved `DatasetDict` or of a dataset on the Hub; empty if `path` is neither.

    Raises:
        DataFormatError: the file that names the splits is broken.
        FileNotFoundError, PermissionError, ConnectionError: the dataset cannot be had from the Hub.
    """
    if (path / _DICT_FILE).is_file():
        with _located(path):
            return {split: path / split for split in json.loads((path / _DICT_FILE).read_text("utf-8"))["splits"]}
    if len(path.parts) == 2 and not path.exists() and _is_hub_name(path):
        return {split: path / split for split in _from_hub(path)}
    return {}


def _from_hub(path: Path) -> datasets.DatasetDict:
    """Load `owner/name`, the beginning of a path."""
    import datasets

    name = "/".join(path.parts[:2])
    if not Path(datasets.config.HF_DATASETS_CACHE, name.replace("/", "___")).is_dir():
        question = partial(HfApi().dataset_info, name, timeout=TIMEOUT)
        ask_hub(question, "dataset", f"there is no file or folder {path}, and dataset {name} is not in the cache")
    try:
        return datasets.load_dataset(name)
    except Exception as error:  # of the network, the Hub, the cache, or a builder
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise FileNotFoundError(
            f"there is no file or folder {path}, and dataset {name} could not be loaded from the Hugging Face Hub: "
            f"{lines[0][:300]}"
        ) from None


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Turn what loading a damaged dataset raises into a `DataFormatError`."""
    try:
        yield
    except DataFormatError:
        raise
    except (FileNotFoundError, PermissionError, ConnectionError) as error:
        if type(error) is not FileNotFoundError or " Hub" in str(error):
            raise
        raise DataFormatError("the saved dataset lacks a file", path=path) from None
    except Exception as error:  # of json, pyarrow and datasets
        raise DataFormatError(f"this is no complete dataset: {type(error).__name__}", path=path) from None


class DatasetReader(SpanReader):
    """Reader of a dataset.

    Args:
        args: of `Reader`.
        text_column: column of the text.
        columns: names of the columns in the dataset, for keys of `COLUMNS`.
        scheme: tag scheme of the tags; None detects it.
        options: of `SpanReader`.

    Raises:
        ValueError: an unknown column or scheme.
    """

    def __init__(
        self,
        *args: Any,
        text_column: str | None = None,
        columns: Mapping[str, str] | None = None,
        scheme: str | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        self._names = {**(columns or {}), **({"text": text_column} if text_column else {})}
        unknown = sorted(set(self._names) - set(COLUMNS))
        if unknown:
            raise ValueError(f"columns (--columns) has the keys {unknown}, expected keys among {', '.join(COLUMNS)}")
        self._scheme = check_scheme(scheme) if scheme else None
        self._parsed: dict[Any, tuple[str, str]] = {}

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per row."""
        with _located(self.path):
            features, batches = self._open()
            self._set_layout(features)
            index = 0
            for batch in batches:
                for row in batch.to_pylist():
                    yield RawRecord(None, str(index), row)
                    index += 1

    def _open(self, columns: list[str] | None = None) -> tuple[datasets.Features, Iterator[pyarrow.Table]]:
        """Return the column types, and the rows (of some columns) in batches."""
        import datasets
        import pyarrow.parquet

        if self.path.is_file():
            file = pyarrow.parquet.ParquetFile(self.path)
            return datasets.Features.from_arrow_schema(file.schema_arrow), file.iter_batches(_BATCH, columns=columns)
        if self.path.exists():
            dataset = datasets.load_from_disk(str(self.path))
        else:
            splits = _from_hub(self.path)
            dataset = splits.get(self.path.parts[-1])
            if dataset is None:
                raise DataFormatError(f"the dataset has no such split, only {', '.join(splits)}", path=self.path)
        selected = dataset if columns is None else dataset.select_columns(columns)
        return dataset.features, selected.with_format("arrow").iter(_BATCH)

    def _set_layout(self, features: Mapping[str, Any]) -> None:
        self._columns = {key: self._column(key, features) for key in COLUMNS}
        self._has_spans = bool(self._columns["text"] and self._columns["entities"])
        self._has_tags = bool(self._columns["tokens"] and self._columns["ner_tags"]) and not self._has_spans
        if not self._has_spans and not self._has_tags and (self.require_entities or not self._columns["text"]):
            names = ", ".join(excerpt(name, 20) for name in list(features)[:8]) or "none"
            raise DataFormatError(
                "expected columns text and entities, or tokens and ner_tags; the dataset has "
                f"{names} (columns=, --columns text=NAME, names them)",
                path=self.path,
            )
        if self._has_spans:
            self._label_names = _class_names(features[self._columns["entities"]], ("label", "type"))
        if self._has_tags:
            self._read_tags(features)

    def _column(self, key: str, features: Mapping[str, Any]) -> str | None:
        name = self._names.get(key)
        if name is not None and name not in features:
            raise DataFormatError(f"the dataset has no column {excerpt(name, 20)}", path=self.path)
        return name or next((name for name in COLUMNS[key] if name in features), None)

    def _read_tags(self, features: Mapping[str, Any]) -> None:
        column = self._columns["ner_tags"]
        names = _class_names(features[column])
        found: dict[Any, int] = {}
        for batch in self._open([column])[1]:
            for tags in batch.to_pylist():
                found |= {tag: 0 for tag in tags[column] or () if isinstance(tag, (str, int)) and tag not in found}
        tags = {value: _named(value, names) for value in found}
        form, scheme = form_of_tags(dict.fromkeys(tags.values()), self._scheme, self.path)
        self._scheme = scheme
        self._parsed = {value: parse_tag(tag, form) for value, tag in tags.items()}

    def document(self, raw: RawRecord) -> Document:
        """Parse a row."""
        row = {name: value for name, value in as_object(raw.value, "a row").items() if value is not None}
        columns = self._columns
        document_id = given_id(row, self.default_id(raw), columns["id"] or "id")
        if self._has_tags:
            text, entities = self._tagged(row)
            used = (columns["tokens"], columns["ner_tags"])
        else:
            text = required(row, columns["text"], str, "the row")
            values = required(row, columns["entities"], (list, dict), "the row") if self._has_spans else []
            entities = self.in_characters(map(self._entity, _rows_of(values)), text)
            used = (columns["text"], columns["entities"])
        meta = merged_meta(_with_parsed_meta(row), *filter(None, (columns["id"], *used)))
        return Document(document_id, text, tuple(entities), _plain(meta))

    def _tagged(self, row: Mapping[str, Any]) -> tuple[str, list[Entity]]:
        tokens, tags = (required(row, self._columns[key], list, "the row") for key in ("tokens", "ner_tags"))
        if len(tokens) != len(tags):
            raise DataFormatError(f"the row has {len(tokens)} tokens and {len(tags)} tags")
        parts: list[tuple[str, str]] = []
        for token, tag in zip(tokens, tags):
            if not isinstance(token, str) or tag not in self._parsed:
                raise DataFormatError(f"a token must be a string with a tag, found {excerpt(token)} and {excerpt(tag)}")
            parts += parts_of_token(self._parsed[tag], len(token))
        self.report.notes[SEVERAL_CHARACTERS] += sum(len(token) > 1 for token in tokens)
        spans, repaired = spans_of_tags(parts, self._scheme)
        self.report.repaired.update(repaired)
        return "".join(tokens), [Entity(*span) for span in spans]

    def _entity(self, value: Any) -> Entity:
        entity = {key: content for key, content in as_object(value, "an entity").items() if content is not None}
        label_key = "label" if "label" in entity else "type"
        for key in ("start", "end", label_key):
            if key not in entity:
                raise DataFormatError(f"an entity has no key {key!r}; expected start, end and label")
        label = _named(entity[label_key], self._label_names) if self._label_names else entity[label_key]
        known = ("start", "end", label_key, "text")
        meta = _plain(merged_meta(_with_parsed_meta(entity), *known))
        return Entity(entity["start"], entity["end"], label, entity.get("text"), meta)


def _class_names(feature: Any, keys: tuple[str, ...] = ()) -> list[str] | None:
    """Return the names of the `ClassLabel` of a list column, or of a key of its items; None if it has other values."""
    item = getattr(feature, "feature", feature)
    if isinstance(item, Mapping):
        item = next((item[key] for key in keys if key in item), None)
    return getattr(getattr(item, "feature", item), "names", None)


def _named(value: Any, names: list[str] | None) -> str:
    if isinstance(value, str):
        return value
    if names is None:
        raise DataFormatError("the labels are numbers without names; expected strings or a ClassLabel")
    if not 0 <= value < len(names):
        raise DataFormatError(f"label {excerpt(value)} is none of the {len(names)} of the ClassLabel")
    return names[value]


def _rows_of(values: Any) -> list[Any]:
    """Return a list of objects, which older versions of datasets turn into an object of lists."""
    if isinstance(values, list):
        return values
    columns = {key: required(values, key, list, "the column of entities") for key in values}
    if len(set(map(len, columns.values()))) > 1:
        raise DataFormatError("the lists of the column of entities have different lengths")
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _with_parsed_meta(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record whose `meta` is an object; datasets of this package hold it as JSON."""
    extra = without(record, *(name for name in record if name.startswith("__index_level_")))  # of pandas
    meta = extra.get("meta")
    return {**extra, "meta": load_meta(meta)} if isinstance(meta, str) else extra


def _plain(meta: dict[str, Any]) -> dict[str, Any]:
    """Return `meta` with text for what is not JSON, such as dates."""
    return json.loads(json.dumps(meta, default=str)) if meta else meta
