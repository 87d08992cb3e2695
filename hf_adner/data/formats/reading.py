"""`read_documents`: read and check the documents of files one at a time; names and detection of the formats."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.brat import BratReader
from hf_adner.data.formats.conll import ConllReader
from hf_adner.data.formats.corpora import ChipStsReader, CmeeeReader, ImcsReader
from hf_adner.data.formats.doccano import DoccanoReader
from hf_adner.data.formats.jsonl import JsonlReader, LinesReader, TextReader
from hf_adner.data.formats.label_studio import LabelStudioReader, is_label_studio
from hf_adner.data.formats.reader import RawRecord, Reader, ReadReport
from hf_adner.data.formats.source import JsonStream, TextSource, begins_with, json_records
from hf_adner.data.formats.table import CsvReader, ExcelReader, TsvReader
from hf_adner.data.records import Document, first_overlap

READERS: dict[str, type[Reader]] = {
    "brat": BratReader,
    "chip-sts": ChipStsReader,
    "cmeee": CmeeeReader,
    "conll": ConllReader,
    "csv": CsvReader,
    "doccano": DoccanoReader,
    "excel": ExcelReader,
    "imcs": ImcsReader,
    "jsonl": JsonlReader,
    "label-studio": LabelStudioReader,
    "lines": LinesReader,
    "text": TextReader,
    "tsv": TsvReader,
}
"""Reader of each format."""

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cmeee-v1": ("cmeee", {}),
    "cmeee-v2": ("cmeee", {}),
    "json": ("jsonl", {}),
    "bio": ("conll", {"scheme": "bio"}),
    "bmes": ("conll", {"scheme": "bmes"}),
    "bioes": ("conll", {"scheme": "bioes"}),
    "bilou": ("conll", {"scheme": "bilou"}),
    "imcs-bio": ("conll", {"scheme": "bio"}),
    "imcs-v2-ner": ("imcs", {}),
    "chip": ("chip-sts", {}),
    "label-studio-min": ("label-studio", {}),
    "xlsx": ("excel", {}),
    "txt": ("text", {}),
}
"""Other names: the format they stand for, and its options."""

OVERLAPS = ("none", "nested", "any")
_DETECTION_RECORDS = 50
"""Number of lines or records from which a format is detected."""
_JSON = re.compile(r"\s*[\[{]")
_JSON_OBJECT = re.compile(r"\s*\{")
_HEADER_WITH_TEXT = re.compile(r"[^\n]*\btext\b", re.IGNORECASE)
_TAGGED_LINE = re.compile(r"[^\t]+[\t ](O|[BIMELSU]-\S.*)\s*")
_EXCEL = {".xlsx", ".xlsm"}
_SEPARATED = {".csv": "csv", ".tsv": "tsv"}


def resolve_format(name: str) -> tuple[str, dict[str, Any]]:
    """Return the canonical name of a format, and the options that an alias stands for.

    Raises:
        ValueError: the format is unknown.
    """
    key = name.lower().replace("_", "-")
    format_name, options = ALIASES.get(key, (key, {}))
    if format_name not in READERS:
        raise ValueError(f"format {name!r} is unknown; known: {', '.join(sorted(READERS))}")
    return format_name, dict(options)


def detect_format(path: str | Path) -> str:
    """Detect the format of a file from its suffix and its first records.

    A folder is brat if it contains `.ann` files.

    Raises:
        DataFormatError: the format cannot be detected, or the file is empty or not text.
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    if path.is_dir():
        return _format_of_folder(path)
    if path.suffix.lower() in _EXCEL:
        return "excel"
    if path.suffix.lower() == ".ann" or (path.suffix == ".txt" and path.with_suffix(".ann").exists()):
        return "brat"
    return _format_of_text(TextSource(path))


def _format_of_folder(path: Path) -> str:
    if next(path.rglob("*.ann"), None):
        return "brat"
    raise DataFormatError("the folder has no .ann files; expected brat files, or the path of a data file", path=path)


def _format_of_text(source: TextSource) -> str:
    if begins_with(source, _JSON):
        return _format_of_json(source)
    suffix = source.path.suffix.lower()
    if suffix in _SEPARATED and begins_with(source, _HEADER_WITH_TEXT):
        return _SEPARATED[suffix]
    if _has_tags(source):
        return "conll"
    if suffix == ".txt":
        return "text"
    raise DataFormatError(
        f"the format cannot be detected; set format= to one of {', '.join(sorted(READERS))}",
        path=source.path,
    )


def _has_tags(source: TextSource) -> bool:
    lines = (line for _, line in source.lines() if line.strip(" \t") and not line.startswith(("# ", "-DOCSTART-")))
    sample = list(islice(lines, _DETECTION_RECORDS))
    tagged = sum(_TAGGED_LINE.fullmatch(line) is not None for line in sample)
    return tagged > len(sample) / 2


def _format_of_json(source: TextSource) -> str:
    if _is_dialogue_file(source):
        return "imcs"
    records = [raw.value for raw in _first_records(json_records(source)) if isinstance(raw.value, dict)]
    detected = next(filter(None, map(_format_of_record, records)), None)
    if detected:
        return detected
    if any("text" in record for record in records):
        return "cmeee" if source.path.suffix == ".json" else "jsonl"
    raise DataFormatError(
        "the format of the JSON records is unknown; expected a key such as 'text', 'text1', 'data' or 'dialogue'",
        path=source.path,
    )


def _first_records(records: Iterator[Any]) -> list[Any]:
    """Return the first records, up to one at which the file is broken: `read_documents` will report that."""
    first: list[Any] = []
    try:
        first.extend(islice(records, 1))
        first.extend(islice(records, _DETECTION_RECORDS))
    except DataFormatError:
        if not first:
            raise
    return first


def _is_dialogue_file(source: TextSource) -> bool:
    if not begins_with(source, _JSON_OBJECT):
        return False
    try:
        first = next(JsonStream(source).members(), None)
    except DataFormatError:
        return False
    return first is not None and isinstance(first.value, dict) and "dialogue" in first.value


def _format_of_record(record: Mapping[str, Any]) -> str | None:
    """Return the format of one record, None if it fits several formats."""
    if "text1" in record and "text2" in record:
        return "chip-sts"
    if is_label_studio(record):
        return "label-studio"
    if isinstance(record.get("label", record.get("labels", record.get("annotations"))), list):
        return "doccano"
    return _format_of_entities(record.get("entities"))


def _format_of_entities(entities: Any) -> str | None:
    if not isinstance(entities, list) or not entities or not isinstance(entities[0], dict):
        return None
    by_key = {"start_idx": "cmeee", "start_offset": "doccano", "start": "jsonl"}
    return next((name for key, name in by_key.items() if key in entities[0]), None)


class DocumentStream(Iterator[Document]):
    """Iterator over the documents of one or more files that holds one record at a time; see `read_documents`.

    Attributes:
        report: counts and skipped records so far.
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
        records, skipped = 0, len(self.report.skipped)
        for raw in self._records_of(reader):
            records += 1
            try:
                document = reader.document(raw)
                self._checks.check(document, reader)
            except DataFormatError as error:
                self._raise_or_skip(error.located(reader.path, raw.line, raw.key))
            else:
                yield document
        if not records and len(self.report.skipped) == skipped:
            self._raise_or_skip(DataFormatError("the file has no documents", path=reader.path))

    def _records_of(self, reader: Reader) -> Iterator[RawRecord]:
        try:
            yield from reader.records()
        except DataFormatError as error:
            self._raise_or_skip(error.located(reader.path))

    def _raise_or_skip(self, error: DataFormatError) -> None:
        if not self._skip_invalid:
            raise error from None
        self.report.skip(error)


class DocumentChecks:
    """Checks of labels, overlaps and ids of valid documents.

    Args:
        labels: allowed labels; None allows any.
        overlaps: allowed overlaps of entities, `none`, `nested` or `any`; None takes the default of the format.
    """

    def __init__(self, labels: Iterable[str] | None = None, overlaps: str | None = None):
        if overlaps not in (*OVERLAPS, None):
            raise ValueError(f"overlaps must be one of {OVERLAPS} or None, found {overlaps!r}")
        self._labels = None if labels is None else frozenset(labels)
        self._overlaps = overlaps
        self._ids: set[int] = set()

    def check(self, document: Document, reader: Reader) -> None:
        """Raise a `DataFormatError` for a label or overlap that is not allowed, or a duplicate id."""
        self._check_labels(document)
        self._check_overlaps(document, self._overlaps or reader.overlaps)
        key = hash(document.id)  # the ids of 100,000 documents would take much memory
        if key in self._ids:
            raise DataFormatError(f"duplicate id {excerpt(document.id, 40)}")
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
            verb, allowed_by = ("cross", "any") if rule == "nested" else ("overlap", "nested")
            raise DataFormatError(
                f"entities {first.start}-{first.end} and {second.start}-{second.end} {verb}; "
                f"overlaps={allowed_by!r} allows it (a flat tagger is then trained on the longer entity)"
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
    """Read documents one at a time, in constant memory.

    Args:
        path: a file, a brat folder, or several of them (ids must be unique across them).
        format: name of the format; None detects it for each file.
        skip_invalid: list invalid records in the stream's `report` and go on, instead of raising for the first.
        encoding: encoding of the files; None detects it (UTF-8, UTF-16 with byte order mark, GB18030).
        labels: allowed labels; None allows any.
        overlaps: allowed overlaps of entities, `none`, `nested` or `any` (crossing too); None takes the default of the
            format.
        require_entities: raise for records without an annotation field; set to False for texts to be tagged.
        options: options of the format's reader (`scheme` of CoNLL, `columns` of tables).

    Raises:
        DataFormatError: invalid data, with file, line and reason; raised when the record is reached.
        FileNotFoundError: a file does not exist.
        ValueError: unknown format, encoding or value of `overlaps`.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(file) for file in path]
    missing = next((file for file in paths if not file.exists()), None)
    if missing:
        raise FileNotFoundError(f"there is no file or folder {missing}")
    report = ReadReport()
    common = {"encoding": encoding, "require_entities": require_entities, **options}
    stems = _stems(paths)
    readers = (_reader(file, format, report, stem=stem, **common) for file, stem in zip(paths, stems, strict=True))
    return DocumentStream(readers, report, DocumentChecks(labels, overlaps), skip_invalid)


def _reader(path: Path, format: str | None, report: ReadReport, **options: Any) -> Reader:
    name, alias_options = resolve_format(format or detect_format(path))
    classes = [cls for cls in READERS[name].__mro__ if "__init__" in vars(cls)]
    check_options(f"format {name!r}", options, *(cls.__init__ for cls in classes))
    return READERS[name](path, report, **{**alias_options, **options})


def check_options(name: str, options: Iterable[str], *functions: Callable[..., Any]) -> None:
    """Check that one of the functions has a parameter for each option.

    Raises:
        ValueError: `name` has no such option.
    """
    known = {parameter for function in functions for parameter in inspect.signature(function).parameters}
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option}= (--{option.replace('_', '-')}), which was given")


def _stems(paths: list[Path]) -> list[str | None]:
    """Return stems for ids: None for the file's own name, the whole path if two files have the same name."""
    names = [path.name.split(".")[0] for path in paths]
    return [None if names.count(name) == 1 else path.with_suffix("").as_posix() for path, name in zip(paths, names)]
