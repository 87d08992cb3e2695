"""Tables (CSV, TSV, Excel) in two layouts; the first is also written, as CSV and TSV.

* One row per entity, with columns `id`, `text`, `start`, `end`, `label` and optionally `entity` (its characters),
  `entity_meta` and `meta` (JSON). The rows of a document are consecutive; `text` may be blank on all but the first; a
  document without entities has one row with blank `start`, `end` and `label`.
* One row per document, with columns `id`, `text`, `entities`: a JSON list of objects as in JSONL or of `[start, end,
  label]`.

Without `id`, consecutive rows with the same text are one document. A column with another name becomes `meta` of the
document if its rows agree, else of the entity.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.formats.jsonl import entity_of
from hf_adner.data.formats.offsets import SpanReader
from hf_adner.data.formats.reader import RawRecord
from hf_adner.data.formats.source import TextSource, parse_line
from hf_adner.data.records import Document, Entity, dump_meta, load_meta

COLUMNS = ("id", "text", "start", "end", "label", "entity", "entity_meta", "meta")
"""Columns of the layout with one row per entity."""

Row = dict[str, Any]
_INTEGER = re.compile(r"[+-]?\d+")


class TableReader(SpanReader):
    """Base class of the table readers; `columns` maps the names above to those of the file."""

    def __init__(self, *args: Any, columns: Mapping[str, str] | None = None, **options: Any):
        super().__init__(*args, **options)
        self._names = {column: name for name, column in (columns or {}).items()}
        unknown = sorted(set(columns or ()) - {*COLUMNS, "entities"})
        if unknown:
            raise ValueError(f"columns has the keys {unknown}, expected keys among {', '.join((*COLUMNS, 'entities'))}")

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield numbered rows, the header first."""
        raise NotImplementedError

    def records(self) -> Iterator[RawRecord]:
        """Yield one raw record per document: its numbered rows."""
        rows = self.rows()
        header = self._header(next(rows, None))
        named = (self._named(header, number, cells) for number, cells in rows if any(cell != "" for cell in cells))
        for index, (_, group) in enumerate(groupby(_with_document_keys(named), key=lambda item: item[0])):
            numbered = [(number, row) for _, number, row in group]
            yield RawRecord(numbered[0][0], str(index), numbered)

    def _header(self, first: tuple[int, list[Any]] | None) -> list[str]:
        if first is None:
            raise DataFormatError("the table has no header", path=self.path)
        header = [self._names.get(str(cell).strip(), str(cell).strip()) for cell in first[1]]
        duplicates = sorted({name for name in header if header.count(name) > 1})
        if duplicates:
            raise DataFormatError(f"column {excerpt(duplicates[0], 12)} occurs twice", path=self.path, line=first[0])
        needed = ["text"]
        if self.require_entities:
            needed += ["entities"] if "entities" in header else ["start", "end", "label"]
        missing = [name for name in needed if name not in header]
        if missing:
            names = ", ".join(excerpt(name, 12) for name in header[:8])
            raise DataFormatError(
                f"column {', '.join(missing)} is missing; the header has {names} (columns= renames)",
                path=self.path,
                line=first[0],
            )
        return header

    @staticmethod
    def _named(header: Sequence[str], number: int, cells: list[Any]) -> tuple[int, Row | DataFormatError]:
        if len(cells) != len(header):
            return number, DataFormatError(f"the row has {len(cells)} cells, the header {len(header)}", line=number)
        return number, dict(zip(header, cells))

    def document(self, raw: RawRecord) -> Document:
        """Parse the rows of a document."""
        for _, row in raw.value:
            if isinstance(row, DataFormatError):
                raise row
        rows: list[tuple[int, Row]] = raw.value
        first = rows[0][1]
        _check_text(rows)
        shared = _shared_columns([row for _, row in rows])
        entities = _json_entities(first) if "entities" in first else self._entities(rows, shared)
        meta = {**shared, **load_meta(first.get("meta") or None)}
        text = str(first["text"])
        return Document(str(first.get("id") or self.default_id(raw)), text, self.in_characters(entities, text), meta)

    def _entities(self, rows: list[tuple[int, Row]], shared: Mapping[str, Any]) -> tuple[Entity, ...]:
        entities = []
        for number, row in rows:
            with error_location(line=number):
                entity = _entity(row, len(rows), shared)
            entities += [entity] if entity else []
        return tuple(entities)


def _with_document_keys(
    rows: Iterator[tuple[int, Row | DataFormatError]],
) -> Iterator[tuple[Any, int, Row | DataFormatError]]:
    """Add a key of its document to each row: the id, or else the text, or else the key of the row above."""
    key: Any = None
    for number, row in rows:
        if isinstance(row, DataFormatError):
            yield number, number, row
            continue
        if row.get("id", "") != "":
            key = ("id", row["id"])
        elif row["text"] != "":
            key = ("text", row["text"])
        yield key, number, row


def _check_text(rows: list[tuple[int, Row]]) -> None:
    for number, row in rows:
        if row["text"] not in ("", rows[0][1]["text"]):
            raise DataFormatError("the text differs from the first row of the document", line=number)


def _shared_columns(rows: list[Row]) -> dict[str, Any]:
    """Return the columns for `meta` on which all rows of a document agree."""
    extra = [name for name in rows[0] if name not in (*COLUMNS, "entities")]
    return {name: rows[0][name] for name in extra if rows[0][name] != "" and len({row[name] for row in rows}) == 1}


def _entity(row: Row, rows: int, shared: Mapping[str, Any]) -> Entity | None:
    cells = [row.get(name, "") for name in ("start", "end", "label")]
    if all(cell == "" for cell in cells):
        if rows > 1:
            raise DataFormatError("start, end and label are blank, but the document has several rows")
        return None
    own = {name: value for name, value in row.items() if name not in (*COLUMNS, *shared) and value != ""}
    return Entity(
        _integer(cells[0], "start"),
        _integer(cells[1], "end"),
        str(cells[2]),
        None if row.get("entity", "") == "" else str(row["entity"]),
        {**own, **load_meta(row.get("entity_meta") or None)},
    )


def _integer(cell: Any, name: str) -> int:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)  # Excel stores integers as floats
    if isinstance(cell, str) and _INTEGER.fullmatch(cell.strip()):
        return int(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    raise DataFormatError(f"{name} must be an integer, found {excerpt(cell)}")


def _json_entities(row: Row) -> tuple[Entity, ...]:
    if row["entities"] == "":
        return ()
    values = parse_line(str(row["entities"]))
    if isinstance(values, DataFormatError):
        raise DataFormatError(f"column entities: {values.reason}")
    if not isinstance(values, list):
        raise DataFormatError(f"column entities must hold a JSON list, found {type(values).__name__}")
    return tuple(
        Entity(*value) if isinstance(value, list) and len(value) == 3 else entity_of(value) for value in values
    )


class CsvReader(TableReader):
    """Reader of CSV with the quoting of spreadsheets; cells may contain line breaks."""

    delimiter: ClassVar[str] = ","

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield rows, numbered by the line on which they end."""
        csv.field_size_limit(sys.maxsize)  # a cell may be a whole note; the default is 131,072 characters
        reader = csv.reader(
            _lines_with_ends(TextSource(self.path, self.encoding)), delimiter=self.delimiter, strict=True
        )
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataFormatError(f"broken quotes: {error}", path=self.path, line=reader.line_num) from None
            if cells is None:
                return
            yield reader.line_num, cells


class TsvReader(CsvReader):
    """Reader of TSV."""

    delimiter = "\t"


def _lines_with_ends(source: TextSource) -> Iterator[str]:
    rest = ""
    for chunk in source.chunks():
        *lines, rest = (rest + chunk).split("\n")
        yield from (f"{line}\n" for line in lines)
    if rest:
        yield rest


class ExcelReader(TableReader):
    """Reader of the first sheet, or `sheet`, of an Excel workbook; needs openpyxl."""

    def __init__(self, *args: Any, sheet: str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._sheet = sheet

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the rows of the sheet, with empty strings for empty cells."""
        workbook = _open_workbook(self.path)
        try:
            if self._sheet is not None and self._sheet not in workbook.sheetnames:
                raise DataFormatError(f"the workbook has no sheet {excerpt(self._sheet, 30)}", path=self.path)
            sheet = workbook[self._sheet] if self._sheet else workbook.worksheets[0]
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                yield number, [_cell_value(cell) for cell in cells]
        finally:
            workbook.close()


def _cell_value(cell: Any) -> str | int | float:
    if cell is None:
        return ""
    return cell if isinstance(cell, (str, int, float)) else str(cell)  # such as dates


def _open_workbook(path: Any) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise ImportError("Excel files need openpyxl (pip install openpyxl), or save the sheet as CSV") from None
    try:
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zipfile, XML and openpyxl all raise errors of their own
        raise DataFormatError(f"not an Excel workbook: {type(error).__name__}", path=path) from None


def csv_text(documents: Iterable[Document], delimiter: str = ",") -> Iterator[str]:
    """Yield the header and the rows of each document; the text is only on the first row of a document."""
    yield _csv_line(COLUMNS, delimiter)
    for document in documents:
        yield "".join(_csv_line(row, delimiter) for row in _rows(document))


def tsv_text(documents: Iterable[Document]) -> Iterator[str]:
    """Yield the same as `csv_text`, separated by tabs."""
    return csv_text(documents, "\t")


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
