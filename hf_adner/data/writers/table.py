"""CSV and TSV with one row per entity; the text stands on the first row of its document only.

The file begins with a byte order mark, without which Excel takes Chinese for another encoding.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from hf_adner.data.readers.table import COLUMNS
from hf_adner.data.records import Document, Entity
from hf_adner.data.rows import dump_meta


def csv_text(documents: Iterable[Document], delimiter: str = ",") -> Iterator[str]:
    """The header, then one row per entity; a document without entities has one row."""
    yield _line(COLUMNS, delimiter)
    for document in documents:
        yield "".join(_line(row, delimiter) for row in _rows(document))


def tsv_text(documents: Iterable[Document]) -> Iterator[str]:
    """The same with tabs."""
    return csv_text(documents, "\t")


def _rows(document: Document) -> Iterator[list[Any]]:
    text, meta = document.text, _meta_cell(document.meta)
    for entity in document.entities or (None,):
        yield [document.id, text, *_cells(entity), meta]
        text = meta = ""


def _cells(entity: Entity | None) -> list[Any]:
    if entity is None:
        return [""] * 5
    return [entity.start, entity.end, entity.label, entity.text, _meta_cell(entity.meta)]


def _meta_cell(meta: Any) -> str:
    return dump_meta(meta) if meta else ""


def _line(cells: Iterable[Any], delimiter: str) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
