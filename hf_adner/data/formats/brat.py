"""brat standoff: a folder of `name.txt` and `name.ann` (or one such pair).

An entity's id, attributes, note and normalisations are kept in its `meta` (`id`, `attributes`, `note`,
`normalizations`); relations, events and equivalences, word for word, in the document's (`brat`). Ids with a leading
zero (`T01`) are those that our writer had to make up, and are not kept. A span that brat cut at line ends is one
entity; any other discontinuous span is refused.

brat standoff: `name.txt`, `name.ann` and, for a document's `meta`, `name.meta.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.jsonl import json_text
from hf_adner.data.formats.reader import RawRecord, Reader
from hf_adner.data.formats.source import TextSource
from hf_adner.data.records import Document, Entity, load_meta

KEPT_LINES = "brat"
META_NOTE = "Meta"
"""Type of the notes with which our writer keeps what brat has no place for."""
META_SUFFIX = ".meta.json"
OTHER_LINES = "brat relations, events and other lines, kept in the document's meta"

_SPAN = re.compile(r"(\S+) (\d+ \d+(?:;\d+ \d+)*)")
_ATTRIBUTE = re.compile(r"(\S+) (T\d+)(?: (.+))?")
_TARGET = re.compile(r"(\S+) (T\d+)(?: .*)?")
_OWN_ID = re.compile(r"T0\d*")


class BratFiles(NamedTuple):
    """The two files of a document."""

    text: Path
    annotation: Path


class BratReader(Reader):
    """Reads brat standoff."""

    def records(self) -> Iterator[RawRecord]:
        """One raw record per pair of files, in the order of their names (numbers in them by size)."""
        if not self.path.is_dir():
            yield self._record(self.path.with_suffix(".txt"), self.path.parent)
            return
        texts = {path.with_suffix(".txt") for suffix in ("*.txt", "*.ann") for path in self.path.rglob(suffix)}
        for path in sorted(texts, key=_by_name):
            yield self._record(path, self.path)

    @staticmethod
    def _record(path: Path, folder: Path) -> RawRecord:
        name = path.relative_to(folder).with_suffix("").as_posix()
        return RawRecord(None, unquote(name), BratFiles(path, path.with_suffix(".ann")))

    def document(self, raw: RawRecord) -> Document:
        """The document of a pair of files."""
        files: BratFiles = raw.value
        text = self._text(files)
        annotations = self._annotations(files, text)
        meta = _document_meta(files.text)
        if annotations.kept:
            self.report.notes[OTHER_LINES] += len(annotations.kept)
            meta[KEPT_LINES] = annotations.kept
        return _at(files.annotation, None, lambda: Document(raw.key, text, annotations.entities(), meta))

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
                    _at(files.annotation, number, lambda line=line, number=number: annotations.add(line, number))
        for target, number in annotations.unknown_targets():
            raise DataFormatError(f"{target} is referred to, but never given", path=files.annotation, line=number)
        return annotations


def _by_name(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _at(path: Path, line: int | None, action: Any) -> Any:
    try:
        return action()
    except DataFormatError as error:
        raise error.located(path, line) from None


def _document_meta(text_path: Path) -> dict[str, Any]:
    path = text_path.with_suffix(META_SUFFIX)
    return _at(path, None, lambda: load_meta(path.read_text(encoding="utf-8"))) if path.exists() else {}


@dataclass
class _Annotations:
    """What the lines of one .ann file have said so far."""

    text: str
    spans: dict[str, Entity] = field(default_factory=dict)
    metas: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def add(self, line: str, number: int) -> None:
        """Take in one line."""
        key, tab, body = line.partition("\t")
        if not tab or not re.fullmatch(r"[TREAMN]\d+|#\d*|\*", key):
            raise DataFormatError(f"a line must begin with an id (T1, R1, A1, …) and a tab, found {excerpt(key)}")
        handlers = {
            **{"T": self._span, "A": self._attribute, "M": self._attribute},
            **{"N": self._normalization, "#": self._note},
        }
        if not handlers.get(key[0], _decline)(key, body, number):
            self.kept.append(line)

    def _span(self, key: str, body: str, number: int) -> bool:
        head, tab, surface = body.partition("\t")
        match = _SPAN.fullmatch(head)
        if not match or not tab:
            raise DataFormatError(f"{key} must have the form 'T1<tab>Label start end<tab>text'")
        if key in self.spans:
            raise DataFormatError(f"{key} is given twice")
        fragments = [tuple(map(int, part.split(" "))) for part in match[2].split(";")]
        start, end = self._joined(key, fragments)
        found = " ".join(self.text[first:last] for first, last in fragments)
        if end > len(self.text):
            raise DataFormatError(f"{key} {start}-{end} reaches outside the text of {len(self.text)} characters")
        if surface not in (found, found.removesuffix("\r")):
            raise DataFormatError(
                f"{key} {start}-{end} is recorded as {excerpt(surface, 5)}, but the text there is {excerpt(found, 5)}"
            )
        self.spans[key] = Entity(start, end, match[1])
        return True

    def _joined(self, key: str, fragments: list[tuple[int, int]]) -> tuple[int, int]:
        for (_, end), (start, _) in zip(fragments, fragments[1:]):
            if start <= end or self.text[end:start].strip("\r\n"):
                raise DataFormatError(f"{key} is discontinuous ({end}…{start}); entities are contiguous here")
        return fragments[0][0], fragments[-1][1]

    def _attribute(self, key: str, body: str, number: int) -> bool:
        match = _ATTRIBUTE.fullmatch(body)
        if not match:
            return False
        name, target, value = match.groups()
        attributes = self._meta_of(target, number).setdefault("attributes", {})
        if name in attributes:
            raise DataFormatError(f"attribute {excerpt(name, 20)} is given to {target} twice")
        attributes[name] = value if value is not None else True
        return True

    def _normalization(self, key: str, body: str, number: int) -> bool:
        match = _TARGET.fullmatch(body.partition("\t")[0])
        if not match:
            return False
        self._meta_of(match[2], number).setdefault("normalizations", []).append(f"{key}\t{body}")
        return True

    def _note(self, key: str, body: str, number: int) -> bool:
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
        """Entities that are referred to but not given, and the line that does."""
        return [(target, number) for target, number in self.targets.items() if target not in self.spans]

    def entities(self) -> tuple[Entity, ...]:
        """The entities with everything said about them."""
        return tuple(
            Entity(one.start, one.end, one.label, None, {**_id_of(key), **self.metas.get(key, {})})
            for key, one in self.spans.items()
        )


def _decline(key: str, body: str, number: int) -> bool:
    return False


def _id_of(key: str) -> dict[str, str]:
    return {} if _OWN_ID.fullmatch(key) else {"id": key}


_NO_FILE_NAME = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^[.\s]|[.\s]$')
_LINE = re.compile(r"[^\r\n]+")
_SPAN_ID = re.compile(r"T[1-9]\d*")
_NAME = re.compile(r"\S+")
_ONE_LINE = re.compile(r"[^\t\r\n]+")
_NORMALIZATION = re.compile(r"(N\d+)\t(\S+) T\d+( [^\r\n]*)")


def write_brat(documents: Iterable[Document], folder: Path) -> None:
    """Write each document's files into `folder`, named by its id.

    Raises:
        DataFormatError: two documents of one id, a label with white space, an empty text, an entity that begins or ends
            with a line break, or ids and kept lines that do not fit together.
    """
    for document in documents:
        name = _NO_FILE_NAME.sub(lambda match: f"%{ord(match[0]):02X}", document.id)
        path = folder / f"{name}.txt"
        if path.exists():
            raise DataFormatError("two documents have this id", record=document.id)
        if not document.text:
            raise DataFormatError("brat has no documents without text", record=document.id)
        _write(path, document.text)
        _write(folder / f"{name}.ann", _AnnFile(document).text())
        meta = {key: value for key, value in document.meta.items() if key != KEPT_LINES}
        if meta:
            _write(folder / f"{name}{META_SUFFIX}", json_text(meta, document.id))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


class _AnnFile:
    """The lines of one .ann file."""

    def __init__(self, document: Document):
        self._document = document
        self._kept = _kept_lines(document)
        used = {line.split("\t")[0] for line in self._kept}
        self._used = used | {str(entity.meta.get("id")) for entity in document.entities}
        self._used |= {one.split("\t")[0] for entity in document.entities for one in _normalizations(entity)}
        self._counters = {kind: count(1) for kind in "A#N"}
        self._spans = count(1)

    def text(self) -> str:
        """All lines: entities with what belongs to them, then the lines kept from where the document came from."""
        try:
            lines = [line for entity in self._document.entities for line in self._lines(entity)]
        except DataFormatError as error:
            raise error.located(record=self._document.id) from None
        return "".join(f"{line}\n" for line in [*lines, *self._kept])

    def _free(self, kind: str) -> str:
        return next(name for number in self._counters[kind] if (name := f"{kind}{number}") not in self._used)

    def _lines(self, entity: Entity) -> Iterator[str]:
        meta = dict(entity.meta)
        key = meta.get("id")
        if isinstance(key, str) and _SPAN_ID.fullmatch(key):
            del meta["id"]
        else:
            key = f"T0{next(self._spans)}"  # the zero marks an id that the document did not have
        yield f"{key}\t{_span(entity)}"
        if _fit_attributes(meta.get("attributes")):
            for name, value in meta.pop("attributes").items():
                yield f"{self._free('A')}\t{name} {key}" + ("" if value is True else f" {value}")
        normalizations = _normalizations(entity)
        if normalizations:
            del meta["normalizations"]
        for line in normalizations:
            own_id, kind, rest = _NORMALIZATION.fullmatch(line).groups()
            yield f"{own_id}\t{kind} {key}{rest}"
        if isinstance(meta.get("note"), str) and _ONE_LINE.fullmatch(meta["note"]):
            yield f"{self._free('#')}\tAnnotatorNotes {key}\t{meta.pop('note')}"
        if meta:
            yield f"{self._free('#')}\t{META_NOTE} {key}\t{json_text(meta, self._document.id)}"


def _kept_lines(document: Document) -> list[str]:
    lines = document.meta.get(KEPT_LINES, [])
    if not isinstance(lines, list) or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise DataFormatError(f"meta key {KEPT_LINES!r} must be a list of lines", record=document.id)
    return lines


def _span(entity: Entity) -> str:
    if not _NAME.fullmatch(entity.label):
        raise DataFormatError(f"label {excerpt(entity.label, 20)} has white space, which brat does not allow")
    pieces = list(_LINE.finditer(entity.text))
    if not pieces or pieces[0].start() > 0 or pieces[-1].end() < len(entity.text):
        raise DataFormatError(f"entity {entity.start}-{entity.end} begins or ends with a line break")
    offsets = ";".join(f"{entity.start + piece.start()} {entity.start + piece.end()}" for piece in pieces)
    return f"{entity.label} {offsets}\t{' '.join(piece[0] for piece in pieces)}"


def _fit_attributes(attributes: Any) -> bool:
    """Whether brat can express them: names without white space, values of one line or True."""
    return (
        isinstance(attributes, Mapping)
        and bool(attributes)
        and all(isinstance(name, str) and _NAME.fullmatch(name) for name in attributes)
        and all(
            value is True or (isinstance(value, str) and _ONE_LINE.fullmatch(value)) for value in attributes.values()
        )
    )


def _normalizations(entity: Entity) -> list[str]:
    lines = entity.meta.get("normalizations")
    fit = isinstance(lines, list) and all(isinstance(line, str) and _NORMALIZATION.fullmatch(line) for line in lines)
    return lines if fit else []
