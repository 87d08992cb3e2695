"""brat standoff: a folder of `name.txt` and `name.ann` files, or one such pair.

An entity's id, attributes, note and normalizations are kept in its `meta` (`id`, `attributes`, `note`,
`normalizations`); relations, events and equivalences are kept verbatim in the document's `meta` (`brat`). The writer
puts the rest of the document's `meta` into `name.meta.json`, and numbers entities without an id with a leading zero
(`T01`); the reader drops such ids. A span that brat split at line ends is one entity; other discontinuous spans raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.jsonl import json_text
from hf_adner.data.formats.reader import RawRecord, Reader
from hf_adner.data.formats.source import TextSource
from hf_adner.data.records import Document, Entity, load_meta

META_KEY = "brat"
"""Key of a document's `meta` for the lines that are not about entities."""
META_NOTE = "Meta"
"""Type of the notes in which the writer stores entity `meta` that brat has no field for."""
META_SUFFIX = ".meta.json"
OTHER_LINES = "brat relations, events and other lines, kept in the document's meta"

_SPAN = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_ATTRIBUTE = re.compile(r"(\S+) (T\d+)(?: (.+))?")
_TARGET = re.compile(r"(\S+) (T\d+)(?: .*)?")
_GENERATED_ID = re.compile(r"T0\d*")

_NOT_IN_FILE_NAMES = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^[.\s]|[.\s]$')
_LINE = re.compile(r"[^\r\n]+")
_ENTITY_ID = re.compile(r"T[1-9]\d*")
_WORD = re.compile(r"\S+")
_ONE_LINE = re.compile(r"[^\t\r\n]+")
_NORMALIZATION = re.compile(r"(N\d+)\t(\S+) T\d+( [^\r\n]*)")


class BratFiles(NamedTuple):
    """The two files of a document."""

    text: Path
    annotation: Path


class BratReader(Reader):
    """Reader of brat standoff."""

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per pair of files, sorted by name (digits compare as numbers)."""
        if not self.path.is_dir():
            yield self._record(self.path.with_suffix(".txt"), self.path.parent)
            return
        texts = {path.with_suffix(".txt") for suffix in ("*.txt", "*.ann") for path in self.path.rglob(suffix)}
        for path in sorted(texts, key=_natural_order):
            yield self._record(path, self.path)

    @staticmethod
    def _record(path: Path, folder: Path) -> RawRecord:
        name = path.relative_to(folder).with_suffix("").as_posix()
        return RawRecord(None, unquote(name), BratFiles(path, path.with_suffix(".ann")))

    def document(self, raw: RawRecord) -> Document:
        """Parse a pair of files."""
        files: BratFiles = raw.value
        text = self._text(files)
        annotations = self._annotations(files, text)
        meta = _document_meta(files.text)
        if annotations.other_lines:
            self.report.notes[OTHER_LINES] += len(annotations.other_lines)
            meta[META_KEY] = annotations.other_lines
        with error_location(files.annotation):
            return Document(raw.key, text, annotations.entities(), meta)

    def _text(self, files: BratFiles) -> str:
        if not files.text.exists():
            raise DataFormatError("there is no .txt file beside the .ann file", path=files.annotation)
        return TextSource(files.text, self.encoding).text()

    def _annotations(self, files: BratFiles, text: str) -> _Annotations:
        annotations = _Annotations(text)
        if not files.annotation.exists():
            if self.require_entities:
                raise DataFormatError("there is no .ann file beside the .txt file", path=files.text)
            return annotations
        if files.annotation.stat().st_size:
            for number, line in TextSource(files.annotation, self.encoding).lines():
                if line.strip():
                    with error_location(files.annotation, number):
                        annotations.add(line, number)
        for target, number in annotations.unknown_targets():
            raise DataFormatError(f"{target} is referred to but not defined", path=files.annotation, line=number)
        return annotations


def _natural_order(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _document_meta(text_path: Path) -> dict[str, Any]:
    path = text_path.with_suffix(META_SUFFIX)
    if not path.exists():
        return {}
    with error_location(path):
        return load_meta(path.read_text(encoding="utf-8"))


@dataclass
class _Annotations:
    """Annotations collected from the lines of one .ann file."""

    text: str
    spans: dict[str, Entity] = field(default_factory=dict)
    metas: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)
    other_lines: list[str] = field(default_factory=list)

    def add(self, line: str, number: int) -> None:
        """Parse one line."""
        key, tab, body = line.partition("\t")
        if not tab or not re.fullmatch(r"[TREAMN]\d+|#\d*|\*", key):
            raise DataFormatError(f"a line must begin with an id (T1, R1, A1, …) and a tab, found {excerpt(key)}")
        handlers = {
            **{"T": self._add_span, "A": self._add_attribute, "M": self._add_attribute},
            **{"N": self._add_normalization, "#": self._add_note},
        }
        if key[0] not in handlers or not handlers[key[0]](key, body, number):
            self.other_lines.append(line)

    def _add_span(self, key: str, body: str, number: int) -> bool:
        head, tab, surface = body.partition("\t")
        match = _SPAN.fullmatch(head)
        if not match or not tab:
            raise DataFormatError(f"{key} must have the form 'T1<tab>Label start end<tab>text'")
        if key in self.spans:
            raise DataFormatError(f"{key} is defined twice")
        fragments = [tuple(map(int, part.split(" "))) for part in match[2].split(";")]
        start, end = self._joined(key, fragments)
        expected = " ".join(self.text[first:last] for first, last in fragments)
        if end > len(self.text):
            raise DataFormatError(f"{key} {start}-{end} reaches outside the text of {len(self.text)} characters")
        if surface not in (expected, expected.removesuffix("\r")):
            raise DataFormatError(
                f"{key} {start}-{end} is recorded as {excerpt(surface, 5)}, "
                f"but the text there is {excerpt(expected, 5)}"
            )
        self.spans[key] = Entity(start, end, match[1])
        return True

    def _joined(self, key: str, fragments: list[tuple[int, int]]) -> tuple[int, int]:
        """Return start and end of fragments that only line ends separate."""
        for (_, end), (start, _) in zip(fragments, fragments[1:]):
            if start <= end or self.text[end:start].strip("\r\n"):
                raise DataFormatError(f"{key} is discontinuous ({end}…{start}); entities must be contiguous")
        return fragments[0][0], fragments[-1][1]

    def _add_attribute(self, key: str, body: str, number: int) -> bool:
        match = _ATTRIBUTE.fullmatch(body)
        if not match:
            return False
        name, target, value = match.groups()
        attributes = self._meta_of(target, number).setdefault("attributes", {})
        if name in attributes:
            raise DataFormatError(f"{target} has the attribute {excerpt(name, 20)} twice")
        attributes[name] = value if value is not None else True
        return True

    def _add_normalization(self, key: str, body: str, number: int) -> bool:
        match = _TARGET.fullmatch(body.partition("\t")[0])
        if not match:
            return False
        self._meta_of(match[2], number).setdefault("normalizations", []).append(f"{key}\t{body}")
        return True

    def _add_note(self, key: str, body: str, number: int) -> bool:
        head, _, note = body.partition("\t")
        match = _TARGET.fullmatch(head)
        if not match:
            return False
        meta = self._meta_of(match[2], number)
        if match[1] == META_NOTE:
            meta.update(load_meta(note))
            return True
        if match[1] != "AnnotatorNotes" or "note" in meta:
            return False
        meta["note"] = note
        return True

    def _meta_of(self, target: str, number: int) -> dict[str, Any]:
        self.targets.setdefault(target, number)
        return self.metas.setdefault(target, {})

    def unknown_targets(self) -> list[tuple[str, int]]:
        """Return undefined entities that a line refers to, each with the number of that line."""
        return [(target, number) for target, number in self.targets.items() if target not in self.spans]

    def entities(self) -> tuple[Entity, ...]:
        """Return the entities with their `meta`."""
        return tuple(
            Entity(entity.start, entity.end, entity.label, None, {**_id_meta(key), **self.metas.get(key, {})})
            for key, entity in self.spans.items()
        )


def _id_meta(key: str) -> dict[str, str]:
    return {} if _GENERATED_ID.fullmatch(key) else {"id": key}


def write_brat(documents: Iterable[Document], folder: Path) -> None:
    """Write the files of each document into `folder`, named by the document's id.

    Raises:
        DataFormatError: two documents with the same id, a label with white space, an empty text, an entity that begins
            or ends with a line break, or a `brat` entry of `meta` that is not a list of lines.
    """
    for document in documents:
        name = _NOT_IN_FILE_NAMES.sub(lambda match: f"%{ord(match[0]):02X}", document.id)
        path = folder / f"{name}.txt"
        if path.exists():
            raise DataFormatError("two documents have this id", record=document.id)
        if not document.text:
            raise DataFormatError("brat has no documents without text", record=document.id)
        _write(path, document.text)
        _write(folder / f"{name}.ann", _AnnFile(document).text())
        meta = {key: value for key, value in document.meta.items() if key != META_KEY}
        if meta:
            _write(folder / f"{name}{META_SUFFIX}", json_text(meta, document.id))


def _write(path: Path, text: str) -> None:
    # a reader takes a leading U+FEFF for a byte order mark, so that one of the text needs such a mark before it
    path.write_text(text, encoding="utf-8-sig" if text.startswith("\ufeff") else "utf-8", newline="")


class _AnnFile:
    """Content of the .ann file of one document."""

    def __init__(self, document: Document):
        self._document = document
        self._other_lines = _other_lines(document)
        used = {line.split("\t")[0] for line in self._other_lines}
        used |= {str(entity.meta.get("id")) for entity in document.entities}
        used |= {line.split("\t")[0] for entity in document.entities for line in _normalizations(entity)}
        self._used_ids = used
        self._counters = {kind: count(1) for kind in "A#N"}
        self._entity_numbers = count(1)

    def text(self) -> str:
        """Return all lines: each entity followed by its annotations, then the lines kept in the document's `meta`."""
        with error_location(record=self._document.id):
            lines = [line for entity in self._document.entities for line in self._entity_lines(entity)]
        return "".join(f"{line}\n" for line in [*lines, *self._other_lines])

    def _unused_id(self, kind: str) -> str:
        return next(name for number in self._counters[kind] if (name := f"{kind}{number}") not in self._used_ids)

    def _entity_lines(self, entity: Entity) -> Iterator[str]:
        meta = dict(entity.meta)
        key = meta.get("id")
        if isinstance(key, str) and _ENTITY_ID.fullmatch(key):
            del meta["id"]
        else:
            key = f"T0{next(self._entity_numbers)}"  # the zero marks an id that the document did not have
        yield f"{key}\t{_span_fields(entity)}"
        if _are_brat_attributes(meta.get("attributes")):
            for name, value in meta.pop("attributes").items():
                yield f"{self._unused_id('A')}\t{name} {key}" + ("" if value is True else f" {value}")
        normalizations = _normalizations(entity)
        if normalizations:
            del meta["normalizations"]
        for line in normalizations:
            own_id, kind, rest = _NORMALIZATION.fullmatch(line).groups()
            yield f"{own_id}\t{kind} {key}{rest}"
        if isinstance(meta.get("note"), str) and _ONE_LINE.fullmatch(meta["note"]):
            yield f"{self._unused_id('#')}\tAnnotatorNotes {key}\t{meta.pop('note')}"
        if meta:
            yield f"{self._unused_id('#')}\t{META_NOTE} {key}\t{json_text(meta, self._document.id)}"


def _other_lines(document: Document) -> list[str]:
    lines = document.meta.get(META_KEY, [])
    if not isinstance(lines, list) or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise DataFormatError(f"meta key {META_KEY!r} must be a list of lines", record=document.id)
    return lines


def _span_fields(entity: Entity) -> str:
    if not _WORD.fullmatch(entity.label):
        raise DataFormatError(f"label {excerpt(entity.label, 20)} has white space, which brat does not allow")
    fragments = list(_LINE.finditer(entity.text))
    if not fragments or fragments[0].start() > 0 or fragments[-1].end() < len(entity.text):
        raise DataFormatError(f"entity {entity.start}-{entity.end} begins or ends with a line break")
    offsets = ";".join(f"{entity.start + match.start()} {entity.start + match.end()}" for match in fragments)
    return f"{entity.label} {offsets}\t{' '.join(match[0] for match in fragments)}"


def _are_brat_attributes(attributes: Any) -> bool:
    """Return whether brat can express the attributes: names without white space, values of one line or True."""
    return (
        isinstance(attributes, Mapping)
        and bool(attributes)
        and all(isinstance(name, str) and _WORD.fullmatch(name) for name in attributes)
        and all(
            value is True or (isinstance(value, str) and _ONE_LINE.fullmatch(value)) for value in attributes.values()
        )
    )


def _normalizations(entity: Entity) -> list[str]:
    """Return the normalization lines in an entity's `meta`, none if it holds anything else there."""
    lines = entity.meta.get("normalizations")
    is_valid = isinstance(lines, list) and all(
        isinstance(line, str) and _NORMALIZATION.fullmatch(line) for line in lines
    )
    return lines if is_valid else []
