"""`read_documents`: read and check the documents of files one at a time; names of the formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.brat import BratReader
from hf_adner.data.formats.conll import ConllReader
from hf_adner.data.formats.corpora import CcksReader, ChipStsReader, CluenerReader, CmeeeReader, ImcsReader
from hf_adner.data.formats.detection import detect_format
from hf_adner.data.formats.doccano import DoccanoReader
from hf_adner.data.formats.hf_dataset import DatasetReader, dataset_splits, is_dataset
from hf_adner.data.formats.jsonl import JsonlReader, LinesReader, TextReader
from hf_adner.data.formats.label_studio import LabelStudioReader
from hf_adner.data.formats.reader import RawRecord, Reader, ReadReport, check_options
from hf_adner.data.formats.source import regular_file
from hf_adner.data.formats.table_files import CsvReader, ExcelReader, TsvReader
from hf_adner.data.records import Document, dump_meta, first_overlap

READERS: dict[str, type[Reader]] = {
    "brat": BratReader,
    "ccks": CcksReader,
    "chip-sts": ChipStsReader,
    "cluener": CluenerReader,
    "cmeee": CmeeeReader,
    "conll": ConllReader,
    "csv": CsvReader,
    "dataset": DatasetReader,
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
    "cmeee-v1": ("cmeee", {"edition": "v1"}),
    "cmeee-v2": ("cmeee", {"edition": "v2"}),
    "ccks2019": ("ccks", {}),
    "yidu-s4k": ("ccks", {}),
    "parquet": ("dataset", {}),
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


class DocumentStream(Iterator[Document]):
    """Iterator over the documents of one or more files that holds one record at a time; see `read_documents`.

    Attributes:
        report: counts and skipped records so far.
    """

    def __init__(
        self,
        files: Iterable[tuple[Path, Callable[[Path], Reader]]],
        report: ReadReport,
        checks: DocumentChecks,
        skip_invalid: bool,
    ):
        self.report = report
        self._checks = checks
        self._skip_invalid = skip_invalid
        self._documents = (document for path, open_reader in files for document in self._read(path, open_reader))

    def __next__(self) -> Document:
        document = next(self._documents)
        self.report.count(document)
        return document

    def _read(self, path: Path, open_reader: Callable[[Path], Reader]) -> Iterator[Document]:
        with regular_file(path) as file:
            self._copy, self._path = file, path
            try:
                reader = open_reader(file)
            except DataFormatError as error:
                self._raise_or_skip(error)
            else:
                yield from self._documents_of(reader)

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
        error = error.renamed(self._copy, self._path)
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
            raise ValueError(f"overlaps (--overlaps) must be one of {OVERLAPS} or None, found {overlaps!r}")
        self._labels = None if labels is None else frozenset(labels)
        self._overlaps = overlaps
        self._ids: set[int] = set()

    def check(self, document: Document, reader: Reader) -> None:
        """Raise a `DataFormatError` for a label or overlap that is not allowed, a duplicate id, or `meta` not JSON."""
        self._check_labels(document)
        self._check_meta(document)
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
    def _check_meta(document: Document) -> None:
        for meta in (document.meta, *(entity.meta for entity in document.entities)):
            dump_meta(meta)

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
                f"overlaps={allowed_by!r} (--overlaps {allowed_by}) allows it "
                "(a flat tagger is then trained on the longer entity)"
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
        path: a file, a brat folder, or several of them (ids must be unique across them). A pipe is copied to a
            temporary file first.
        format: name of the format; None detects it for each file.
        skip_invalid: list invalid records in the stream's `report` and go on, instead of raising for the first.
        encoding: encoding of the files; None detects it (UTF-8, UTF-16 and UTF-32 with byte order mark, GB18030).
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
    paths = [file for path in paths for file in dataset_splits(path).values() or [path]]
    missing = next((file for file in paths if not file.exists() and not is_dataset(file)), None)
    if missing:
        raise FileNotFoundError(f"there is no file or folder {missing}")
    report = ReadReport()
    common = {"encoding": encoding, "require_entities": require_entities, **options}
    files = (
        (path, partial(_reader, format=format, report=report, stem=stem, **common))
        for path, stem in zip(paths, _stems(paths), strict=True)
    )
    return DocumentStream(files, report, DocumentChecks(labels, overlaps), skip_invalid)


def _reader(path: Path, format: str | None, report: ReadReport, **options: Any) -> Reader:
    detected = format or detect_format(path, options["encoding"], options.get("text_column"))
    name, alias_options = resolve_format(detected)
    classes = [cls for cls in READERS[name].__mro__ if "__init__" in vars(cls)]
    check_options(f"format {name!r}", options, *(cls.__init__ for cls in classes))
    return READERS[name](path, report, **{**alias_options, **options})


def _stems(paths: list[Path]) -> list[str | None]:
    """Return stems for ids: None for the file's own name, the whole path if two files have the same name."""
    names = [path.name.split(".")[0] for path in paths]
    counts = Counter(names)
    return [None if counts[name] == 1 else path.with_suffix("").as_posix() for path, name in zip(paths, names)]
