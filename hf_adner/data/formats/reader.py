"""Base class of the readers: raw records in file order, and one document from each."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.records import Document, flatten


class SkippedRecord(NamedTuple):
    """A record that was skipped because it is invalid."""

    file: str
    line: int | None
    record: str | None
    reason: str

    def __str__(self) -> str:
        return str(DataFormatError(self.reason, path=self.file, line=self.line, record=self.record))


@dataclass
class ReadReport:
    """Counts and skipped records, filled while documents are read.

    Attributes:
        documents: number of documents read.
        entities: number of their entities.
        not_flat: number of entities that flattening drops because they overlap a longer entity.
        repaired: count of each kind of repaired fault, such as an I- tag without a B- tag.
        notes: count of each kind of content that was ignored or moved to `meta`.
        skipped: invalid records, in file order.
    """

    documents: int = 0
    entities: int = 0
    not_flat: int = 0
    repaired: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    skipped: list[SkippedRecord] = field(default_factory=list)

    def count(self, document: Document) -> None:
        """Count a document."""
        self.documents += 1
        self.entities += len(document.entities)
        if document.has_overlaps:
            self.not_flat += len(flatten(document.entities).left_out)

    def skip(self, error: DataFormatError) -> None:
        """Add a skipped record."""
        self.skipped.append(SkippedRecord(str(error.path), error.line, error.record, error.reason))

    def warnings(self, max_records: int = 20) -> list[str]:
        """Return the report as lines of text, with at most `max_records` of the skipped records."""
        lines = [f"{count} × repaired: {kind}" for kind, count in self.repaired.items() if count]
        lines += [f"{count} × {kind}" for kind, count in self.notes.items() if count]
        if self.not_flat:
            lines.append(
                f"{self.not_flat} of {self.entities} entities overlap a longer entity: "
                "kept in the documents, dropped when a flat tagger is trained "
                "(per-label tagging keeps those whose labels differ)"
            )
        if self.skipped:
            lines.append(f"{len(self.skipped)} invalid records were skipped:")
            lines += [f"  {record}" for record in self.skipped[:max_records]]
            if len(self.skipped) > max_records:
                lines.append(f"  … and {len(self.skipped) - max_records} more")
        return lines


class RawRecord(NamedTuple):
    """One unparsed document of a file.

    Attributes:
        line: line where it begins, if the format has lines.
        key: its id, key or index in the file.
        value: its content, or the `DataFormatError` that reading it raised.
    """

    line: int | None
    key: str | None
    value: Any


class Reader(ABC):
    """Reader of one file in one format.

    Args:
        path: the file, or the folder for brat.
        report: receives the counts of repairs and notes.
        encoding: encoding of the file; None detects it.
        stem: documents without an id are named `stem-1`, `stem-2`, …; None takes the name of the file.
        require_entities: raise for a record without an annotation field (an empty list is valid).
    """

    overlaps: ClassVar[str] = "nested"
    """Overlaps of entities that the format allows by default: `none`, `nested`, or `any` (crossing spans too)."""

    def __init__(
        self,
        path: str | Path,
        report: ReadReport,
        encoding: str | None = None,
        stem: str | None = None,
        require_entities: bool = True,
    ):
        self.path = Path(path)
        self.report = report
        self.encoding = encoding
        self.stem = stem or self.path.name.split(".")[0] or "document"
        self.require_entities = require_entities

    @abstractmethod
    def records(self) -> Iterator[RawRecord]:
        """Yield raw records in file order.

        Raises:
            DataFormatError: the rest of the file cannot be read.
        """

    @abstractmethod
    def document(self, raw: RawRecord) -> Document:
        """Parse a raw record.

        Raises:
            DataFormatError: the record is invalid; the caller fills in the location.
        """

    def default_id(self, raw: RawRecord) -> str:
        """Return the id of a document without one: the stem and the number of the record, from 1."""
        return f"{self.stem}-{int(raw.key or 0) + 1}"


def as_object(value: Any, what: str = "a record") -> Mapping[str, Any]:
    """Return `value`, which must be a JSON object.

    Raises:
        DataFormatError: it is something else; if it is an error itself, that error is raised.
    """
    if isinstance(value, DataFormatError):
        raise value
    if not isinstance(value, dict):
        raise DataFormatError(f"{what} must be a JSON object, found {type(value).__name__}")
    return value


def required(record: Mapping[str, Any], key: str, kind: type | tuple[type, ...], what: str = "the record") -> Any:
    """Return `record[key]`, which must be an instance of `kind`.

    Raises:
        DataFormatError: the key is missing or its value has another type.
    """
    if key not in record:
        keys = ", ".join(excerpt(name, 20) for name in list(record)[:6]) or "none"
        raise DataFormatError(f"{what} has no key {key!r}; its keys: {keys}")
    value = record[key]
    types = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        expected = " or ".join(type_.__name__ for type_ in types)
        raise DataFormatError(f"key {key!r} of {what} must be {expected}, found {type(value).__name__}")
    return value


def given_id(record: Mapping[str, Any], default: str, key: str = "id") -> str:
    """Return the id of a record as a string, or `default` if it has none.

    Raises:
        DataFormatError: the id is neither a non-empty string nor an integer.
    """
    value = record.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataFormatError(f"key {key!r} must be a non-empty string or an integer, found {excerpt(value)}")
    return str(value)


def merged(own: Mapping[str, Any], other: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the entries of both mappings, which must have no key in common.

    Args:
        own: entries that the reader gives.
        other: entries of the file.
        where: where else the key is, for the error.

    Raises:
        DataFormatError: a key is in both.
    """
    both = own.keys() & other.keys()
    if both:
        raise DataFormatError(f"key {excerpt(min(both), 20)} is both in the record and {where}")
    return {**own, **other}


def without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the entries of a record except `keys`; readers keep them in `meta`."""
    if record.keys() <= frozenset(keys):
        return {}
    return {key: value for key, value in record.items() if key not in keys}


def check_options(name: str, options: Iterable[str], *functions: Callable[..., Any]) -> None:
    """Check that one of the functions has a parameter for each option.

    Raises:
        ValueError: `name` has no such option.
    """
    known = _parameters(functions)
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option}= (--{option.replace('_', '-')}), which was given")


@cache  # it is asked for every file of a folder, and slow
def _parameters(functions: tuple[Callable[..., Any], ...]) -> frozenset[str]:
    return frozenset(parameter for function in functions for parameter in inspect.signature(function).parameters)
