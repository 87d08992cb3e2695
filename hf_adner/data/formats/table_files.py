"""Files of tables: the rows of CSV, TSV and Excel files."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from typing import Any

from hf_adner.data.errors import DataFormatError, excerpt
from hf_adner.data.formats.source import TextSource
from hf_adner.data.formats.table import INTEGER, TableReader, is_missing

NEEDLESS_QUOTES = (
    "texts in quotes that they would not need, read without them; "
    "quoting='none' (--quoting none) keeps quotes as characters"
)
_ESCAPED = re.compile("_x(000D|005F(?=_x[0-9A-Fa-f]{4}_))_")
"""How Excel stores a carriage return and the underscore of a text that looks so; openpyxl leaves it."""
OTHER_SHEETS = "sheets of the workbook that were not read; sheet= (--sheet) names one"


class CsvReader(TableReader):
    """Reader of CSV; cells in quotes may contain line breaks.

    Args:
        args: of `TableReader`.
        quoting: `csv` for cells in quotes as spreadsheets write them, `none` if quotes are characters of the text
            (`--quoting`); None is as `csv`, but refuses a cell in quotes over several lines that are rows by
            themselves.
        options: of `TableReader`.

    Raises:
        ValueError: `quoting` has another value.
    """

    delimiter = ","
    """Between two cells; if the header does not have it, a semicolon (European Excel) or bar that the header has."""

    def __init__(self, *args: Any, quoting: str | None = None, **options: Any):
        super().__init__(*args, **options)
        if quoting not in ("csv", "none", None):
            raise ValueError(f"quoting (--quoting) must be 'csv', 'none' or None, found {quoting!r}")
        self._quoting = quoting

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield rows, numbered by the line on which they begin."""
        csv.field_size_limit(sys.maxsize)  # a cell may be a whole note; the default is 131,072 characters
        source = TextSource(self.path, self.encoding)
        lines = _Lines(source)
        quoting = csv.QUOTE_NONE if self._quoting == "none" else csv.QUOTE_MINIMAL
        self.delimiter, has_blanks = _layout(source, self.delimiter)
        reader = csv.reader(lines, delimiter=self.delimiter, quoting=quoting, strict=True, skipinitialspace=has_blanks)
        needless = bare = 0
        while True:
            number = reader.line_num + 1
            lines.latest.clear()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataFormatError(_fault(error), path=self.path, line=number) from None
            if cells is None:
                break
            if self._quoting is None and self.header.width > 1:
                self._check_quotes(lines.latest, number)
                is_quoted = self._has_quoted_text(lines.latest)
                needless, bare = needless + (is_quoted is True), bare + (is_quoted is False)
            yield number, cells
        if needless and bare:
            self.report.notes[NEEDLESS_QUOTES] += needless

    def _check_quotes(self, lines: list[str], number: int) -> None:
        """Refuse a row of several lines each of which has all columns of a row: quotes were meant as characters."""
        tells = self.delimiter == "\t" or self.header.has_entity_rows
        if len(lines) > 1 and tells and all(self._is_row(self._split(line)) for line in lines):
            raise DataFormatError(
                f"a cell in quotes takes up {len(lines)} lines that each have the {self.header.width} columns of a "
                "row; quoting='none' (--quoting none) reads quotes as characters, quoting='csv' (--quoting csv) reads "
                "the lines as one cell",
                path=self.path,
                line=number,
            )

    def _split(self, line: str) -> list[str]:
        return line.rstrip("\r\n").split(self.delimiter)

    def _is_row(self, cells: list[str]) -> bool:
        offsets = [index for name, index in self.header.own.items() if name in ("start", "end")]
        return len(cells) == self.header.width and all(
            is_missing(cells[index]) or INTEGER.fullmatch(cells[index].strip()) for index in offsets
        )

    def _has_quoted_text(self, lines: list[str]) -> bool | None:
        """Return whether the text of a row stands in quotes that it does not need, None if it needs them."""
        cells = self._split(lines[0])
        if len(lines) > 1 or len(cells) != self.header.width:
            return None
        text = cells[self.header.own["text"]]
        if not text.startswith('"'):
            return False if text else None
        return None if '"' in text[1:-1] else True


class TsvReader(CsvReader):
    """Reader of TSV; as of CSV."""

    delimiter = "\t"


class _Lines(Iterator[str]):
    """Lines of a file with their ends; `latest` has those since it was cleared."""

    def __init__(self, source: TextSource):
        self._lines = _lines_with_ends(source)
        self.latest: list[str] = []

    def __next__(self) -> str:
        line = next(self._lines)
        self.latest.append(line)
        return line


def _lines_with_ends(source: TextSource) -> Iterator[str]:
    rest = ""
    for chunk in source.chunks():
        *lines, rest = (rest + chunk).split("\n")
        yield from (f"{line}\n" for line in lines)
    if rest:
        yield rest


def _layout(source: TextSource, usual: str) -> tuple[str, bool]:
    """Return the delimiter of the header, and whether a blank follows each, and so those of the rows, too."""
    header = next(source.lines(), (1, ""))[1]
    delimiter = next((each for each in (usual, ";", "|") if each in header), usual)
    names = header.split(delimiter)[1:]
    return delimiter, bool(names) and all(name.startswith(" ") for name in names)


def _fault(error: csv.Error) -> str:
    if "new-line character" in str(error):
        return "a carriage return outside quotes; expected line feeds at line ends, and a line break within quotes"
    return f"broken quotes: {error}; quoting='none' (--quoting none) reads quotes as characters"


class ExcelReader(TableReader):
    """Reader of the first sheet, or `sheet` (`--sheet`), of an Excel workbook; needs openpyxl."""

    def __init__(self, *args: Any, sheet: str | None = None, **options: Any):
        super().__init__(*args, **options)
        self._sheet = sheet

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the rows of the sheet, with empty strings for empty cells."""
        workbook = _open_workbook(self.path)
        try:
            yield from self._rows(workbook.worksheets)
        except DataFormatError:
            raise
        except Exception as error:  # zipfile, XML and openpyxl all raise errors of their own
            raise DataFormatError(f"the sheet cannot be read: {type(error).__name__}", path=self.path) from None
        finally:
            workbook.close()

    def _rows(self, sheets: list[Any]) -> Iterator[tuple[int, list[Any]]]:
        chosen = sheets[:1] if self._sheet is None else [sheet for sheet in sheets if sheet.title == self._sheet]
        if not chosen:
            what = "a sheet with cells" if self._sheet is None else f"a sheet {excerpt(self._sheet, 30)}"
            raise DataFormatError(f"the workbook does not have {what}", path=self.path)
        if self._sheet is None and len(sheets) > 1:
            self.report.notes[OTHER_SHEETS] += len(sheets) - 1
        for number, cells in enumerate(chosen[0].iter_rows(values_only=True), 1):
            yield number, [_cell_value(cell) for cell in cells]


def _cell_value(cell: Any) -> str | int | float:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), cell)
    return cell if isinstance(cell, (int, float)) else str(cell)  # such as dates


def _open_workbook(path: Any) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise ImportError("Excel files need openpyxl (pip install openpyxl), or save the sheet as CSV") from None
    try:
        return openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zipfile, XML and openpyxl all raise errors of their own
        raise DataFormatError(f"not an Excel workbook: {type(error).__name__}", path=path) from None
