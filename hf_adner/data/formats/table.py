"""Tables: their rows as documents and documents as rows, in two layouts, of which the first is written.

* One row per entity, with columns `id`, `text`, `start`, `end`, `label` and optionally `entity` (its characters),
  `entity_meta` and `meta` (JSON). The rows of a document are consecutive; `text` may be blank on all but the first; a
  document without entities has one row with blank `start`, `end` and `label`.
* One row per document, with columns `id`, `text`, `entities`: a JSON list of objects as in JSONL or of `[start, end,
  label]`; without `entities`, texts to be tagged.

In the first layout, consecutive rows without `id` that have the same text or none belong to one document, unless a
blank row parts them or none of them has an entity. A column with another name becomes `meta` of the document if its
rows agree, else of the entity; a column without a name is not read.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.jsonl import entity_of
from hf_adner.data.formats.offsets import SpanReader
from hf_adner.data.formats.reader import RawRecord, merged
from hf_adner.data.formats.source import parse_line
from hf_adner.data.records import Document, Entity, dump_meta, load_meta

COLUMNS = ("id", "text", "start", "end", "label", "entity", "entity_meta", "meta")
"""Columns of the layout with one row per entity."""
NAMES = (*COLUMNS, "entities")
"""All columns that have a meaning."""

WITHOUT_NAME = "cells of columns without a name, which were not read"

_SPAN = {"start", "end", "label"}
_DOCUMENT_COLUMNS = ("id", "text", "entities", "meta")
_ANY_CASE = ("id", "text", "start", "end", "label", "entity", "entities")
INTEGER = re.compile(r"[+-]?\d{1,18}(\.0*)?")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Cells = dict[str, Any]


class Header(NamedTuple):
    """Index of each column that has a meaning in the layout (`own`), of the others with a name, and of the rest."""

    own: dict[str, int]
    others: dict[str, int]
    unnamed: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.own) + len(self.others) + len(self.unnamed)

    @property
    def has_entity_rows(self) -> bool:
        """Whether the table has one row per entity."""
        return "start" in self.own


@dataclass
class NumberedRow:
    """A row: its number, its cells by column as in `Header`, and what is wrong with it."""

    number: int
    own: Cells
    others: Cells
    fault: DataFormatError | None = None

    @property
    def id(self) -> str:
        """The id, blank if there is none; 0, False and the word NaN are ids."""
        cell = self.own.get("id", "")
        return "" if cell != cell or not str(cell).strip() else _as_text(cell)

    @property
    def text(self) -> str:
        """The text, blank if there is none."""
        return _as_text(self.own.get("text", ""))

    @property
    def has_entity(self) -> bool:
        """Whether one of the cells for an entity is filled."""
        return not all(is_missing(self.own.get(name, "")) for name in COLUMNS[2:7])


def is_missing(cell: Any) -> bool:
    """Return whether a cell is blank; pandas may write NaN for it."""
    return cell.strip() in ("", "NaN", "nan") if isinstance(cell, str) else cell != cell


def _as_text(cell: Any) -> str:
    """Return a cell as text; Excel stores integers as floats too."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


class TableReader(SpanReader):
    """Base class of the table readers.

    Args:
        args: of `SpanReader`.
        columns: column of the file for each of `NAMES` that is named otherwise there (`--columns NAME=COLUMN`).
        text_column: the same for `text` only (`--text-column`).
        options: of `SpanReader`.

    Raises:
        ValueError: `columns` has another key, or both name a column for the text.
    """

    def __init__(
        self, *args: Any, columns: Mapping[str, str] | None = None, text_column: str | None = None, **options: Any
    ):
        super().__init__(*args, **options)
        self._columns = dict(columns or {})
        unknown = sorted(set(self._columns) - set(NAMES))
        if unknown:
            raise ValueError(f"columns (--columns) has the keys {unknown}, expected keys among {', '.join(NAMES)}")
        if text_column is not None and self._columns.setdefault("text", text_column) != text_column:
            raise ValueError("columns (--columns) and text_column (--text-column) name different columns for the text")
        self.header = Header({}, {}, ())

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield numbered rows, the header first."""
        raise NotImplementedError

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per document: its rows."""
        rows = self.rows()
        first = next(rows, None)
        if first is None:
            raise DataFormatError("the table has no header", path=self.path)
        with error_location(self.path, first[0]):
            self.header = self._header([str(cell).strip() for cell in first[1]])
        named = (self._named(number, cells) for number, cells in rows)
        for index, document in enumerate(_documents(named, self.header.has_entity_rows)):
            yield RawRecord(document[0].number, str(index), document)

    def _header(self, names: list[str]) -> Header:
        twice = next((name for name, number in Counter(names).items() if name and number > 1), None)
        if twice:
            raise DataFormatError(f"column {excerpt(twice, 12)} occurs twice")
        own = self._own_columns({name: index for index, name in enumerate(names) if name})
        if "entities" in own and _SPAN <= own.keys():
            raise DataFormatError("the header has both entities and start, end, label; expected one of them")
        needed = ["text"]
        if self.require_entities:
            needed += ["entities"] if "entities" in own else ["start", "end", "label"]
        missing = [name for name in needed if name not in own]
        if missing:
            shown = ", ".join(excerpt(name, 12) for name in names[:8])
            raise DataFormatError(
                f"column {', '.join(missing)} is missing; the header has {shown}; "
                f"columns={{{missing[0]!r}: …}} (--columns {missing[0]}=…) names a column"
            )
        layout = COLUMNS if _SPAN <= own.keys() else _DOCUMENT_COLUMNS
        own = {name: index for name, index in own.items() if name in layout}
        rest = {index: name for index, name in enumerate(names) if index not in own.values()}
        return Header(
            own, {name: index for index, name in rest.items() if name}, tuple(i for i, name in rest.items() if not name)
        )

    def _own_columns(self, indices: Mapping[str, int]) -> dict[str, int]:
        """Return the index of each of `NAMES` in the file: of the column named for it, or of its name in any case."""
        in_any_case: dict[str, list[str]] = {}
        for column in indices.keys() - set(self._columns.values()):
            in_any_case.setdefault(column.lower(), []).append(column)
        own: dict[str, int] = {}
        for name in NAMES:
            alike = in_any_case.get(name, []) if name in _ANY_CASE else []
            column = self._columns.get(name) or (alike[0] if len(alike) == 1 else name)
            if column in indices:
                own[name] = indices[column]
            elif name in self._columns:
                raise DataFormatError(f"the header has no column {excerpt(column, 20)}, which was named for {name}")
        return own

    def _named(self, number: int, cells: list[Any]) -> NumberedRow:
        header, width = self.header, self.header.width
        fault = None
        if any(cell != "" for cell in cells[width:]) or len(cells) < width and any(cell != "" for cell in cells):
            fault = DataFormatError(f"the row has {len(cells)} cells, the header {width}", line=number)
        elif unnamed := sum(cells[index] != "" for index in header.unnamed if index < len(cells)):
            self.report.notes[WITHOUT_NAME] += unnamed
        own, others = (
            {name: cells[index] for name, index in part.items() if index < len(cells)}
            for part in (header.own, header.others)
        )
        return NumberedRow(number, own, others, fault)

    def document(self, raw: RawRecord) -> Document:
        """Parse the rows of a document."""
        rows: list[NumberedRow] = raw.value
        for row in rows:
            if row.fault:
                raise row.fault
        first = rows[0]
        _check_text(rows)
        shared = _shared_columns(rows)
        if self.header.has_entity_rows:
            entities = self._entities(rows, shared)
        else:
            entities = _json_entities(first.own.get("entities", ""))
        meta = _meta(shared, _meta_cell_of(rows), "meta")
        return Document(first.id or self.default_id(raw), first.text, self.in_characters(entities, first.text), meta)

    def _entities(self, rows: list[NumberedRow], shared: Mapping[str, Any]) -> tuple[Entity, ...]:
        entities = []
        for row in rows:
            with error_location(line=row.number):
                entity = _entity(row, len(rows), shared)
            entities += [entity] if entity else []
        return tuple(entities)


def _documents(rows: Iterable[NumberedRow], has_entity_rows: bool) -> Iterator[list[NumberedRow]]:
    """Yield the rows of each document."""
    for _, group in groupby(_with_document_keys(rows, has_entity_rows), key=lambda item: item[0]):
        document = [row for _, row in group]
        if any(row.id or row.has_entity or row.fault or not row.text for row in document):
            yield document
        else:  # equal texts without entities
            yield from ([row] for row in document)


def _with_document_keys(rows: Iterable[NumberedRow], has_entity_rows: bool) -> Iterator[tuple[Any, NumberedRow]]:
    """Add a key of its document to each row that is not blank: the id, or else the number of the first row."""
    key: Any = None
    text = ""
    for row in rows:
        if not row.fault and all(cell == "" for cell in (*row.own.values(), *row.others.values())):
            key = None
            continue
        if not has_entity_rows or not (row.id or (key is not None and row.text in ("", text))):
            key, text = row.number, ""
        elif row.id and row.id != key:
            key, text = row.id, ""
        text = row.text or text
        if not (row.id or text or row.fault):
            row.fault = DataFormatError("the row has neither id nor text", line=row.number)
        yield key, row


def _check_text(rows: list[NumberedRow]) -> None:
    for row in rows:
        if row.text not in ("", rows[0].text):
            raise DataFormatError("the text differs from the first row of the document", line=row.number)


def _shared_columns(rows: list[NumberedRow]) -> Cells:
    """Return the columns for `meta` on which all rows of a document agree."""
    first = rows[0].others
    return {
        name: cell for name, cell in first.items() if cell != "" and all(row.others[name] == cell for row in rows[1:])
    }


def _meta_cell_of(rows: list[NumberedRow]) -> Any:
    """Return the cell with the document's `meta`, which is on one of its rows or the same on several."""
    cells = {row.own.get("meta", ""): row.number for row in reversed(rows) if not is_missing(row.own.get("meta", ""))}
    if len(cells) > 1:
        raise DataFormatError("the rows of the document have different meta", line=max(cells.values()))
    return next(iter(cells), "")


def _meta(columns: Mapping[str, Any], cell: Any, name: str) -> Cells:
    """Return the columns and the JSON object of a cell as one `meta`."""
    return merged(columns, {} if is_missing(cell) else load_meta(str(cell)), f"in its column {name}")


def _entity(row: NumberedRow, rows: int, shared: Mapping[str, Any]) -> Entity | None:
    if not row.has_entity:
        if rows > 1:
            raise DataFormatError("start, end and label are blank, but the document has several rows")
        return None
    own = {name: cell for name, cell in row.others.items() if name not in shared and cell != ""}
    surface = row.own.get("entity", "")
    return Entity(
        _integer(row.own["start"], "start"),
        _integer(row.own["end"], "end"),
        "" if is_missing(row.own["label"]) else _as_text(row.own["label"]),
        None if is_missing(surface) else _as_text(surface),
        _meta(own, row.own.get("entity_meta", ""), "entity_meta"),
    )


def _integer(cell: Any, name: str) -> int:
    """Return an offset; pandas and Excel store integers as floats where some are missing."""
    text = _as_text(cell).strip()
    if isinstance(cell, bool) or not INTEGER.fullmatch(text):
        raise DataFormatError(f"{name} must be an integer, found {excerpt(cell)}")
    return int(text.partition(".")[0])


def _json_entities(cell: Any) -> tuple[Entity, ...]:
    if is_missing(cell):
        return ()
    values = parse_line(str(cell))
    if isinstance(values, DataFormatError):
        raise DataFormatError(f"column entities: {values.reason}")
    if not isinstance(values, list):
        raise DataFormatError(f"column entities must hold a JSON list, found {type(values).__name__}")
    return tuple(
        Entity(*value) if isinstance(value, list) and len(value) == 3 else entity_of(value) for value in values
    )


def csv_text(documents: Iterable[Document], delimiter: str = ",", escape_formulas: bool = False) -> Iterator[str]:
    """Yield the header and the rows of each document; the text is only on the first row of a document.

    Args:
        documents: any iterable.
        delimiter: between two cells.
        escape_formulas: write an apostrophe before cells that a spreadsheet would run as formulas, those that begin
            with ``= + - @``, a tab or a carriage return. Such a table is for reading by people: the apostrophes are not
            taken away when it is read again.
    """
    yield _csv_line(COLUMNS, delimiter)
    for document in documents:
        rows = _rows(document)
        rows = (list(map(_without_formula, row)) for row in rows) if escape_formulas else rows
        yield "".join(_csv_line(row, delimiter) for row in rows)


def tsv_text(documents: Iterable[Document], escape_formulas: bool = False) -> Iterator[str]:
    """Yield the same as `csv_text`, separated by tabs."""
    return csv_text(documents, "\t", escape_formulas)


def _without_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _rows(document: Document) -> Iterator[list[Any]]:
    text, meta = document.text, _meta_cell(document.meta)
    for entity in document.entities or (None,):
        yield [document.id, text, *_entity_cells(entity), meta]
        text = meta = ""


def _entity_cells(entity: Entity | None) -> list[Any]:
    if entity is None:
        return [""] * 5
    return [entity.start, entity.end, entity.label, entity.text, _meta_cell(entity.meta)]


def _meta_cell(meta: Any) -> str:
    return dump_meta(meta) if meta else ""


def _csv_line(cells: Iterable[Any], delimiter: str) -> str:
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
