"""brat standoff: `name.txt`, `name.ann` and, for a document's `meta`, `name.meta.json`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.readers.brat import KEPT_LINES, META_NOTE, META_SUFFIX
from hf_adner.data.records import Document, Entity
from hf_adner.data.writers.json_text import json_text

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
