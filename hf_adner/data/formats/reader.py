"""What all readers share: raw records in file order, one document from each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.records import Document, flatten


class SkippedRecord(NamedTuple):
    """A record that was left out because it is broken."""

    file: str
    line: int | None
    record: str | None
    reason: str

    def __str__(self) -> str:
        return str(DataFormatError(self.reason, path=self.file, line=self.line, record=self.record))


@dataclass
class ReadReport:
    """Counts and a list of what was skipped, filled while documents are read.

    Attributes:
        documents: documents delivered.
        entities: their entities.
        not_flat: entities among them that a flat tagger has to leave out, because they lie in or across a longer one.
        repaired: how often each kind of small fault was mended (an I- tag without its B-, say).
        notes: how often something was met that no document can hold, or that is kept in `meta`.
        skipped: the records left out, in file order.
    """

    documents: int = 0
    entities: int = 0
    not_flat: int = 0
    repaired: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    skipped: list[SkippedRecord] = field(default_factory=list)

    def count(self, document: Document) -> None:
        """Count a delivered document."""
        self.documents += 1
        self.entities += len(document.entities)
        if document.has_overlaps:
            self.not_flat += len(flatten(document.entities).left_out)

    def skip(self, error: DataFormatError) -> None:
        """List a record that was left out."""
        self.skipped.append(SkippedRecord(str(error.path), error.line, error.record, error.reason))

    def warnings(self, most: int = 20) -> list[str]:
        """One line per thing a user should know; at most `most` skipped records are spelt out."""
        lines = [f"{count} × repaired: {kind}" for kind, count in self.repaired.items() if count]
        lines += [f"{count} × {kind}" for kind, count in self.notes.items() if count]
        if self.not_flat:
            lines.append(
                f"{self.not_flat} of {self.entities} entities overlap a longer one: "
                "kept in the records, left out where a flat tagger is trained"
            )
        if self.skipped:
            lines.append(f"{len(self.skipped)} invalid records were skipped:")
            lines += [f"  {record}" for record in self.skipped[:most]]
            lines += [f"  … and {len(self.skipped) - most} more"] if len(self.skipped) > most else []
        return lines


class RawRecord(NamedTuple):
    """What a file says about one document, not yet looked into; `value` may be the error of why it cannot be.

    `line` is where it begins; `key` is its id, key or index in the file.
    """

    line: int | None
    key: str | None
    value: Any


class Reader(ABC):
    """Reads one file of one format.

    Args:
        path: the file (for brat: the folder).
        report: counts of what is repaired and noted are added to it.
        encoding: of the file; None finds out.
        stem: documents without an id of their own are named `stem-1`, `stem-2`, …; None takes the file's name.
        require_entities: whether a record without any annotation field is an error (one with an empty list is not).
    """

    overlaps: ClassVar[str] = "nested"
    """What this format's entities may do by default: `none`, `nested` (lie in one another) or `any` (cross as well)."""

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
        """Raw records in file order.

        Raises:
            DataFormatError: the file cannot be read on from here.
        """

    @abstractmethod
    def document(self, raw: RawRecord) -> Document:
        """The document of a raw record.

        Raises:
            DataFormatError: what is wrong with it; the place is filled in by the caller.
        """

    def default_id(self, raw: RawRecord) -> str:
        """Name of a document without an id: the file's stem and the record's number, from 1."""
        return f"{self.stem}-{int(raw.key or 0) + 1}"


def as_object(value: Any, what: str = "a record") -> Mapping[str, Any]:
    """`value` if it is a JSON object.

    Raises:
        DataFormatError: it is something else, or stands for the error of a value that could not be read.
    """
    if isinstance(value, DataFormatError):
        raise value
    if not isinstance(value, dict):
        raise DataFormatError(f"{what} must be a JSON object, found {type(value).__name__}")
    return value


def required(record: Mapping[str, Any], key: str, kind: type | tuple[type, ...], what: str = "the record") -> Any:
    """`record[key]`, which must be of `kind`.

    Raises:
        DataFormatError: the key is missing or its value is of another kind.
    """
    if key not in record:
        found = ", ".join(excerpt(name, 20) for name in list(record)[:6]) or "none"
        raise DataFormatError(f"{what} has no key {key!r}; its keys: {found}")
    value = record[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in _tuple(kind)):
        expected = " or ".join(one.__name__ for one in _tuple(kind))
        raise DataFormatError(f"key {key!r} of {what} must be {expected}, found {type(value).__name__}")
    return value


def _tuple(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def given_id(record: Mapping[str, Any], default: str, key: str = "id") -> str:
    """The record's id as a string, `default` where it has none.

    Raises:
        DataFormatError: an id that is neither a non-empty string nor an integer.
    """
    value = record.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise DataFormatError(f"key {key!r} must be a non-empty string or an integer, found {excerpt(value)}")
    return str(value)


def without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The record's other entries: what a reader keeps in `meta`."""
    if record.keys() <= frozenset(keys):
        return {}
    return {key: value for key, value in record.items() if key not in keys}
