"""brat standoff: a folder of `name.txt` and `name.ann` files, or one such pair.

An entity's id, attributes, note and normalizations are kept in its `meta` (`id`, `attributes`, `note`,
`normalizations`), attributes that are those of an assertion as its list `assertion`, and one of the name `code` as its
`code`; relations, events and
equivalences are kept verbatim in the document's `meta` (`brat`). The writer puts the rest of the document's `meta` into
`name.meta.json`, and numbers entities without an id with a leading zero (`T01`); the reader drops such ids. A span that
brat split at line ends is one entity; other discontinuous spans raise. Hidden files are not read, and a file without
its partner is named in the report.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from hf_adner.data.assertion import ASSERTION, is_assertion
from hf_adner.data.code import CODE, is_code
from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.jsonl import json_text
from hf_adner.data.formats.offsets import SpanReader
from hf_adner.data.formats.reader import RawRecord, merged, without
from hf_adner.data.formats.source import TextSource
from hf_adner.data.records import Document, Entity, load_meta
from hf_adner.model.assertion_table_adner import ATTRIBUTES

META_KEY = "brat"
"""Key of a document's `meta` for the lines that are not about entities."""
META_NOTE = "Meta"
"""Type of the notes in which the writer stores entity `meta` that brat has no field for."""
META_SUFFIX = ".meta.json"
OTHER_LINES = "brat relations, events and other lines, kept in the document's meta"
WITHOUT_PARTNER = "files without the .ann or .txt file that belongs to them, which were not read: {names}"

_SPAN = re.compile(r"(\S+) (\d{1,18} \d{1,18}(?:;\d{1,18} \d{1,18})*)")
_ATTRIBUTE = re.compile(r"(\S+) (T\d+)(?: (.+))?")
_TARGET = re.compile(r"(\S+) (T\d+)(?: .*)?")
_GENERATED_ID = re.compile(r"T0\d*")

_NOT_IN_FILE_NAMES = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]|^[.\s]|[.\s]$')
_LONGEST_NAME = 255 - len(META_SUFFIX)
"""Bytes of the longest file name that file systems allow, without a suffix."""
_LINE = re.compile(r"[^\r\n]+")
_ENTITY_ID = re.compile(r"T[1-9]\d*")
_WORD = re.compile(r"\S+")
_ONE_LINE = re.compile(r"[^\t\r\n]+")
_OF_BRAT = re.compile(r".*\.(txt|ann|meta\.json)", re.IGNORECASE | re.DOTALL)
_MAX_NAMES = 10
_NORMALIZATION = re.compile(r"(N\d+)\t(\S+) T\d+( [^\r\n]*)")


class BratFiles(NamedTuple):
    """The two files of a document."""

    text: Path
    annotation: Path


class BratReader(SpanReader):
    """Reader of brat standoff."""

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per pair of files, sorted by name (digits compare as numbers)."""
        if not self.path.is_dir():
            yield self._record(self.path.with_suffix(".txt"), self.path.parent)
            return
        files = {path for path in self.path.rglob("*") if path.is_file() and not _is_hidden(path, self.path)}
        texts = {path.with_suffix(".txt") for path in files if path.suffix == ".ann"}
        if not (texts and self.require_entities):
            texts |= {path for path in files if path.suffix == ".txt"}
        self._note_rest(files, texts)
        for path in sorted(texts, key=_natural_order):
            yield self._record(path, self.path)

    def _note_rest(self, files: set[Path], texts: set[Path]) -> None:
        read = {path.with_suffix(suffix) for path in texts for suffix in (".txt", ".ann", META_SUFFIX)}
        rest = sorted(path for path in files - read if _OF_BRAT.fullmatch(path.name))
        names = [path.relative_to(self.path).as_posix() for path in rest[:_MAX_NAMES]]
        names += ["…"] * (len(rest) > _MAX_NAMES)
        if rest:
            self.report.notes[WITHOUT_PARTNER.format(names=", ".join(names))] += len(rest)

    @staticmethod
    def _record(path: Path, folder: Path) -> RawRecord:
        name = path.relative_to(folder).with_suffix("").as_posix()
        return RawRecord(None, unquote(name), BratFiles(path, path.with_suffix(".ann")))

    def document(self, raw: RawRecord) -> Document:
        """Parse a pair of files."""
        files: BratFiles = raw.value
        text = self._text(files)
        annotations = self._annotations(files)
        text = _with_counted_mark(files.text, text, annotations.spans.values())
        meta = _document_meta(files.text)
        if annotations.other_lines:
            self.report.notes[OTHER_LINES] += len(annotations.other_lines)
            with error_location(files.text.with_suffix(META_SUFFIX)):
                meta = merged(meta, {META_KEY: annotations.other_lines}, "in the lines of the .ann file")
        with error_location(files.annotation):
            return Document(raw.key, text, self._entities(annotations, text), meta)

    def _text(self, files: BratFiles) -> str:
        if not files.text.is_file():
            raise DataFormatError("there is no .txt file beside the .ann file", path=files.annotation)
        return TextSource(files.text, self.encoding).text()

    def _annotations(self, files: BratFiles) -> _Annotations:
        annotations = _Annotations()
        if not files.annotation.is_file():
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

    def _entities(self, annotations: _Annotations, text: str) -> tuple[Entity, ...]:
        spans = annotations.spans
        placed = self.in_characters((span.entity for span in spans.values()), text)
        for (key, span), entity in zip(spans.items(), placed, strict=True):
            with error_location(line=span.line):
                span.check(key, entity, text)
        return tuple(
            replace(entity, text=None, meta=annotations.meta(key)) for key, entity in zip(spans, placed, strict=True)
        )

    def _with_blanks_of(self, entity: Entity, text: str) -> Entity:
        """As in `SpanReader`, but without a note where brat itself records a line break as a blank."""
        surface = text[entity.start : entity.end]
        if re.search(r"[\r\n]", surface) and entity.text is not None and entity.text.split() == surface.split():
            return replace(entity, text=None)
        return super()._with_blanks_of(entity, text)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _natural_order(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _document_meta(text_path: Path) -> dict[str, Any]:
    path = text_path.with_suffix(META_SUFFIX)
    if not path.is_file():
        return {}
    with error_location(path):
        return load_meta(TextSource(path).text())


def _with_counted_mark(path: Path, text: str, spans: Iterable[_Span]) -> str:
    """Return the text with the byte order mark of its file if the spans count it as a character, as brat does."""
    spans = list(spans)
    with path.open("rb") as file:
        has_mark = file.read(3) == codecs.BOM_UTF8
    marked = f"\ufeff{text}"
    fitting = [all(span.fits(read) for span in spans) for read in (text, marked)]
    return marked if has_mark and fitting == [False, True] else text


class _Span(NamedTuple):
    """A text-bound annotation: its fragments from first to last as one entity, and the line that defines it."""

    entity: Entity
    fragments: str
    line: int

    def fits(self, text: str) -> bool:
        """Return whether the recorded text is that of the span, apart from white space."""
        return (self.entity.text or "").split() == text[self.entity.start : self.entity.end].split()

    def check(self, key: str, placed: Entity, text: str) -> None:
        """Check the recorded text of an entity with offsets in characters.

        Raises:
            DataFormatError: the text there is another, or the span is discontinuous or beyond the text.
        """
        found = text[placed.start : placed.end]
        if placed.text in (None, found):
            return
        place = f"{key} {placed.start}-{placed.end}"
        if placed.end > len(text):
            raise DataFormatError(f"{place} reaches outside the text of {len(text)} characters")
        if ";" in self.fragments:
            raise DataFormatError(f"{key} is discontinuous ({self.fragments}); entities must be contiguous")
        raise DataFormatError(
            f"{place} is recorded as {excerpt(placed.text, 5)}, but the text there is {excerpt(found, 5)}"
        )


@dataclass
class _Annotations:
    """Annotations collected from the lines of one .ann file."""

    spans: dict[str, _Span] = field(default_factory=dict)
    metas: dict[str, dict[str, Any]] = field(default_factory=dict)
    own_metas: dict[str, dict[str, Any]] = field(default_factory=dict)
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
        start, *_, end = (int(offset) for offset in re.split("[ ;]", match[2]))
        self.spans[key] = _Span(Entity(start, end, match[1], surface), match[2], number)
        return True

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
            self.own_metas[match[2]] = merged(self.own_metas.get(match[2], {}), load_meta(note), "in an earlier note")
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

    def meta(self, key: str) -> dict[str, Any]:
        """Return the `meta` of an entity.

        Raises:
            DataFormatError: a note repeats what another line says.
        """
        own, noted = {**_id_meta(key), **self.metas.get(key, {})}, self.own_metas.get(key, {})
        own = own if ASSERTION in noted else _with_assertion(own)
        own = own if CODE in noted else _with_code(own)
        return merged(own, noted, f"in a note on {key}")


def _with_assertion(meta: dict[str, Any]) -> dict[str, Any]:
    """Move the attributes of an assertion, which have no value, to a list of their own."""
    attributes = meta.get("attributes", {})
    holds = sorted(name for name, value in attributes.items() if name in ATTRIBUTES and value is True)
    if not holds:
        return meta
    rest = without(attributes, *holds)
    return {**without(meta, "attributes"), **({"attributes": rest} if rest else {}), ASSERTION: holds}


def _with_code(meta: dict[str, Any]) -> dict[str, Any]:
    """Move the attribute that is the code of an entity to a key of its own."""
    attributes = meta.get("attributes", {})
    code = attributes.get(CODE)
    if not is_code(code):
        return meta
    rest = without(attributes, CODE)
    return {**without(meta, "attributes"), **({"attributes": rest} if rest else {}), CODE: code}


def _id_meta(key: str) -> dict[str, str]:
    return {} if _GENERATED_ID.fullmatch(key) else {"id": key}


def write_brat(documents: Iterable[Document], folder: Path) -> None:
    """Write the files of each document into `folder`, named by the document's id.

    Raises:
        DataFormatError: two documents with the same id, an id too long for a file name, a label with white space, an
            empty text, an entity that begins or ends with a line break, or a `brat` entry of `meta` that is not a list
            of lines.
    """
    for document in documents:
        name = _NOT_IN_FILE_NAMES.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), document.id)
        if len(name.encode()) > _LONGEST_NAME:
            raise DataFormatError("this id is too long for the name of a file", record=document.id)
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
        if is_assertion(meta.get(ASSERTION)) and not set(meta[ASSERTION]) & set(meta.get("attributes") or ()):
            for name in meta.pop(ASSERTION):
                yield f"{self._unused_id('A')}\t{name} {key}"
        if is_code(meta.get(CODE)) and CODE not in (meta.get("attributes") or ()):
            yield f"{self._unused_id('A')}\t{CODE} {key} {meta.pop(CODE)}"
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
