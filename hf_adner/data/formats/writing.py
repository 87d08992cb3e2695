"""`write_documents`: write documents in a format given by name or by the suffix of the path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hf_adner.data.formats.brat import write_brat
from hf_adner.data.formats.conll import conll_text
from hf_adner.data.formats.corpora import CMEEE_EDITIONS
from hf_adner.data.formats.doccano import doccano_text
from hf_adner.data.formats.html import html_text
from hf_adner.data.formats.jsonl import jsonl_text
from hf_adner.data.formats.label_studio import label_studio_text
from hf_adner.data.formats.reader import check_options
from hf_adner.data.formats.submission import cmeee_text, imcs_text
from hf_adner.data.formats.table import csv_text, tsv_text
from hf_adner.data.records import Document
from hf_adner.files import check_output, check_output_folder, write_file, write_folder


class TextWriter(NamedTuple):
    """Writer of a format with one file: `text` yields its text in pieces."""

    text: Callable[..., Iterator[str]]
    encoding: str = "utf-8"


class FolderWriter(NamedTuple):
    """Writer of a format with a folder: `fill` writes the files into it."""

    fill: Callable[..., None]


WRITERS: dict[str, TextWriter | FolderWriter] = {
    "brat": FolderWriter(write_brat),
    "cmeee": TextWriter(cmeee_text),
    "conll": TextWriter(conll_text),
    "csv": TextWriter(csv_text, "utf-8-sig"),
    "doccano": TextWriter(doccano_text),
    "html": TextWriter(html_text),
    "imcs": TextWriter(imcs_text),
    "jsonl": TextWriter(jsonl_text),
    "label-studio": TextWriter(label_studio_text),
    "tsv": TextWriter(tsv_text, "utf-8-sig"),
}
"""Writer of each format; tables begin with a byte order mark, by which Excel recognises UTF-8."""

SCHEMES = ("bio", "bmes", "bioes", "bilou")
ALIASES: dict[str, tuple[str, dict[str, str]]] = {
    **{name: ("conll", {"scheme": scheme}) for scheme in SCHEMES for name in (scheme, f"conll-{scheme}")},
    **{f"cmeee-{edition}": ("cmeee", {"edition": edition}) for edition in CMEEE_EDITIONS},
}
"""Other names: the format they stand for, and its options."""
SUFFIXES = {
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".html": "html", ".htm": "html"},
    **{".conll": "conll", **{f".{scheme}": scheme for scheme in SCHEMES}},
}


def resolve_writer(path: Path, format: str | None) -> tuple[TextWriter | FolderWriter, dict[str, Any]]:
    """Return the writer of a format, by default that of the path's suffix, and the options that an alias stands for.

    Raises:
        ValueError: the format is unknown, or the suffix has no format.
    """
    name = (format or SUFFIXES.get(path.suffix.lower(), "")).lower().replace("_", "-")
    if name in ALIASES:
        format_name, options = ALIASES[name]
        return WRITERS[format_name], dict(options)
    if name not in WRITERS:
        known = ", ".join([*sorted(WRITERS), *ALIASES])
        unknown = f"format {format!r} is unknown" if format else f"{path.name!r} has no known suffix"
        raise ValueError(f"{unknown}; set format= (--output-format) to one of {known}")
    return WRITERS[name], {}


def keeps_meta(path: str | Path, format: str | None = None) -> bool:
    """Return whether a file, in a format or that of its suffix, keeps the `meta` of documents whatever it is.

    Raises:
        ValueError: as `write_documents`.
    """
    return resolve_writer(Path(path), format)[0] is WRITERS["jsonl"]


def write_documents(documents: Iterable[Document], path: str | Path, format: str | None = None, **options: Any) -> int:
    """Write documents in a format, one at a time; the file is written completely or not at all.

    Args:
        documents: any iterable; only one document is held at a time.
        path: the file (replaced if it exists), or for brat the folder (which must be new or empty).
        format: name of the format; None takes it from the suffix.
        options: options of the format: `scheme` and `comments` of CoNLL, `edition` of CMeEE, `title` and `labels` of
            HTML, `escape_formulas` of CSV and TSV.

    Returns:
        Number of documents written.

    Raises:
        DataFormatError: the format cannot hold a document without loss; names its id.
        FileExistsError: the brat folder is not empty.
        OSError: the file cannot be written, see `hf_adner.files.output_file`.
        ValueError: the format is unknown, or has no such option.
    """
    path = Path(path)
    check_written_path(path, format, **options)
    writer, alias_options = resolve_writer(path, format)
    counter = _CountingIterator(documents)
    if isinstance(writer, FolderWriter):
        write_folder(path, partial(writer.fill, counter, **alias_options, **options))
    else:
        write_file(path, writer.text(counter, **{**alias_options, **options}), writer.encoding)
    return counter.number


def takes_labels(path: str | Path, format: str | None = None) -> bool:
    """Return whether a file, in a format or that of its suffix, is coloured by labels (option ``labels``).

    Raises:
        ValueError: as `write_documents`.
    """
    return resolve_writer(Path(path), format)[0] is WRITERS["html"]


def check_written_path(path: str | Path, format: str | None = None, **options: Any) -> None:
    """Check that `write_documents` can write a format to a path, without writing; for use before long work.

    Raises:
        FileExistsError: the brat folder is not empty.
        OSError: the path cannot be written, see `hf_adner.files.check_output`.
        ValueError: the format is unknown, or has no such option.
    """
    writer, _ = resolve_writer(Path(path), format)
    check_options(f"format {format or Path(path).suffix!r}", options, writer[0])
    (check_output_folder if isinstance(writer, FolderWriter) else check_output)(path)


class _CountingIterator(Iterator[Document]):
    """Iterator that counts the documents it has returned."""

    def __init__(self, documents: Iterable[Document]):
        self._documents = iter(documents)
        self.number = 0

    def __next__(self) -> Document:
        document = next(self._documents)
        self.number += 1
        return document
