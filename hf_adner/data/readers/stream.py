"""Documents of a file, one at a time, checked, with a report of what was met on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.readers.formats import READERS, detect_format, resolve_format
from hf_adner.data.readers.reader import RawRecord, Reader
from hf_adner.data.records import Document, first_overlap
from hf_adner.data.reports import ReadReport

OVERLAPS = ("none", "nested", "any")


class DocumentStream(Iterator[Document]):
    """An iterator over the documents of one or more files that holds one record at a time; see `read_documents`.

    Attributes:
        report: what has been met so far.
    """

    def __init__(self, readers: Iterable[Reader], report: ReadReport, checks: DocumentChecks, skip_invalid: bool):
        self.report = report
        self._checks = checks
        self._skip_invalid = skip_invalid
        self._documents = (document for reader in readers for document in self._documents_of(reader))

    def __next__(self) -> Document:
        document = next(self._documents)
        self.report.count(document)
        return document

    def _documents_of(self, reader: Reader) -> Iterator[Document]:
        found, skipped = 0, len(self.report.skipped)
        for raw in self._records_of(reader):
            found += 1
            try:
                document = reader.document(raw)
                self._checks.check(document, reader)
            except DataFormatError as error:
                self._met(error.located(reader.path, raw.line, raw.key))
            else:
                yield document
        if not found and len(self.report.skipped) == skipped:
            self._met(DataFormatError("the file holds no documents", path=reader.path))

    def _records_of(self, reader: Reader) -> Iterator[RawRecord]:
        try:
            yield from reader.records()
        except DataFormatError as error:
            self._met(error.located(reader.path))

    def _met(self, error: DataFormatError) -> None:
        if not self._skip_invalid:
            raise error from None
        self.report.skip(error)


class DocumentChecks:
    """What a document must be beyond a valid record.

    Args:
        labels: the only labels entities may have; None allows any.
        overlaps: what entities may do: `none`, `nested` or `any`; None takes the format's own rule.
    """

    def __init__(self, labels: Iterable[str] | None = None, overlaps: str | None = None):
        if overlaps not in (*OVERLAPS, None):
            raise ValueError(f"overlaps must be one of {OVERLAPS} or None, found {overlaps!r}")
        self._labels = None if labels is None else frozenset(labels)
        self._overlaps = overlaps
        self._ids: set[int] = set()

    def check(self, document: Document, reader: Reader) -> None:
        """Raise a `DataFormatError` for a label, overlap or id that is not allowed."""
        self._check_labels(document)
        self._check_overlaps(document, self._overlaps or reader.overlaps)
        key = hash(document.id)  # ids themselves would make 100,000 documents felt in memory
        if key in self._ids:
            raise DataFormatError(f"id {excerpt(document.id, 40)} is given to more than one document")
        self._ids.add(key)

    def _check_labels(self, document: Document) -> None:
        for entity in document.entities:
            if self._labels is not None and entity.label not in self._labels:
                raise DataFormatError(
                    f"entity {entity.start}-{entity.end} has label {excerpt(entity.label, 20)}; "
                    f"expected one of {', '.join(sorted(self._labels))}"
                )

    @staticmethod
    def _check_overlaps(document: Document, rule: str) -> None:
        if rule == "any" or not document.has_overlaps:
            return
        pair = first_overlap(document.entities, crossing=rule == "nested")
        if pair:
            first, second = pair
            how, allow = ("cross", "any") if rule == "nested" else ("overlap", "nested")
            raise DataFormatError(
                f"entities {first.start}-{first.end} and {second.start}-{second.end} {how}; "
                f"overlaps={allow!r} allows it (a flat tagger then trains on the longer one)"
            )


def read_documents(
    path: str | Path | Iterable[str | Path],
    format: str | None = None,
    *,
    skip_invalid: bool = False,
    encoding: str | None = None,
    labels: Iterable[str] | None = None,
    overlaps: str | None = None,
    require_entities: bool = True,
    **options: Any,
) -> DocumentStream:
    """Read the documents of a file, one after the other, in flat memory.

    Args:
        path: a file, a brat folder, or several of them (ids must then differ between them).
        format: name of the format; None finds it out per file.
        skip_invalid: list broken records in the stream's `report` and go on, where else the first one raises.
        encoding: of the files; None finds out (UTF-8, UTF-16 with byte order mark, GB18030).
        labels: the only labels allowed; None allows any.
        overlaps: what entities may do, `none`, `nested` or `any` (cross); None takes the format's own rule.
        require_entities: whether a record without any annotation field is broken (not so for text to be tagged).
        options: of the format's reader (`scheme` of CoNLL, `columns` of tables).

    Raises:
        DataFormatError: broken data, with file, line and reason; raised when the record is reached.
        FileNotFoundError: there is no such file.
        ValueError: unknown format, encoding or overlap rule.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    missing = next((one for one in paths if not one.exists()), None)
    if missing:
        raise FileNotFoundError(f"there is no file or folder {missing}")
    report = ReadReport()
    common = {"encoding": encoding, "require_entities": require_entities, **options}
    plans = list(zip(paths, _stems(paths), strict=True))
    readers = (_reader(one, format, report, stem=stem, **common) for one, stem in plans)
    return DocumentStream(readers, report, DocumentChecks(labels, overlaps), skip_invalid)


def _reader(path: Path, format: str | None, report: ReadReport, **options: Any) -> Reader:
    name, implied = resolve_format(format or detect_format(path))
    return READERS[name](path, report, **{**implied, **options})


def _stems(paths: list[Path]) -> list[str | None]:
    """What names documents without ids: the file's own name, or the whole path where two files share one."""
    names = [path.name.split(".")[0] for path in paths]
    return [None if names.count(name) == 1 else path.with_suffix("").as_posix() for path, name in zip(paths, names)]
