"""The formats that can be written, and how a path's format is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hf_adner.data.formats.brat import write_brat
from hf_adner.data.formats.conll import conll_text
from hf_adner.data.formats.doccano import doccano_text
from hf_adner.data.formats.html import html_text
from hf_adner.data.formats.jsonl import jsonl_text
from hf_adner.data.formats.label_studio import label_studio_text
from hf_adner.data.formats.table import csv_text, tsv_text
from hf_adner.data.records import Document
from hf_adner.files import write_file, write_folder


class TextWriter(NamedTuple):
    """Makes the text of a file, piece by piece."""

    text: Callable[..., Iterator[str]]
    encoding: str = "utf-8"


class FolderWriter(NamedTuple):
    """Fills a folder."""

    fill: Callable[..., None]


WRITERS: dict[str, TextWriter | FolderWriter] = {
    "brat": FolderWriter(write_brat),
    "conll": TextWriter(conll_text),
    "csv": TextWriter(csv_text, "utf-8-sig"),
    "doccano": TextWriter(doccano_text),
    "html": TextWriter(html_text),
    "jsonl": TextWriter(jsonl_text),
    "label-studio": TextWriter(label_studio_text),
    "tsv": TextWriter(tsv_text, "utf-8-sig"),
}
"""Writer of each format."""

SCHEMES = ("bio", "bmes", "bioes", "bilou")
SUFFIXES = {
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".html": "html", ".htm": "html"},
    **{".conll": "conll", **{f".{scheme}": scheme for scheme in SCHEMES}},
}


def resolve_writer(path: Path, format: str | None) -> tuple[TextWriter | FolderWriter, dict[str, Any]]:
    """The writer that a format's name, or else the path's suffix, asks for, and the options an alias stands for.

    Raises:
        ValueError: unknown format, or a suffix that tells none.
    """
    name = (format or SUFFIXES.get(path.suffix.lower(), "")).lower().replace("_", "-")
    scheme = name.removeprefix("conll-")
    if scheme in SCHEMES:
        return WRITERS["conll"], {"scheme": scheme}
    if name not in WRITERS:
        known = ", ".join([*sorted(WRITERS), *(f"conll-{scheme}" for scheme in SCHEMES)])
        asked = f"format {format!r} is unknown" if format else f"the name {path.name!r} tells no format; give format="
        raise ValueError(f"{asked}; known: {known}")
    return WRITERS[name], {}


def write_documents(documents: Iterable[Document], path: str | Path, format: str | None = None, **options: Any) -> int:
    """Write documents in a format, one after the other; the file appears whole or not at all.

    Args:
        documents: any iterable; only one document is held at a time.
        path: the file (replaced if it is there), for brat the folder (which must be new or empty).
        format: name of the format; None takes it from the suffix.
        options: of the format: `scheme` and `comments` of CoNLL, `title` of HTML.

    Returns:
        How many documents were written.

    Raises:
        DataFormatError: a document that the format cannot hold without loss, named by its id.
        FileExistsError: the brat folder is not empty.
        ValueError: unknown format.
    """
    path = Path(path)
    writer, implied = resolve_writer(path, format)
    counted = _Counted(documents)
    if isinstance(writer, FolderWriter):
        write_folder(path, partial(writer.fill, counted, **implied, **options))
    else:
        write_file(path, writer.text(counted, **{**implied, **options}), writer.encoding)
    return counted.number


class _Counted(Iterator[Document]):
    """Passes documents on and counts them."""

    def __init__(self, documents: Iterable[Document]):
        self._documents = iter(documents)
        self.number = 0

    def __next__(self) -> Document:
        document = next(self._documents)
        self.number += 1
        return document
