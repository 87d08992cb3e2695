"""`ReadingArguments`: options of the readers, the same for every command that reads documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from hf_adner.data.formats.offsets import OFFSET_UNITS
from hf_adner.data.formats.reading import OVERLAPS
from hf_adner.data.formats.writing import SCHEMES


@dataclass(kw_only=True)
class ReadingArguments:
    """Options of reading documents.

    Raises:
        ValueError: `columns` has an item that is not NAME=COLUMN, or a name twice.
    """

    format: str | None = field(default=None, metadata={"help": "format of the files (default: detected)"})
    encoding: str | None = field(default=None, metadata={"help": "text encoding (default: UTF-8, then GB18030)"})
    skip_invalid: bool = field(default=False, metadata={"help": "skip and list invalid records instead of stopping"})
    overlaps: str | None = field(
        default=None,
        metadata={"help": "overlaps of entities to accept (default: those of the format)", "choices": list(OVERLAPS)},
    )
    annotator: str | None = field(
        default=None, metadata={"help": "Label Studio: annotator to read where a task has several annotations"}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "column of a table or dataset, or key of a JSON record, that holds the text"}
    )
    columns: list[str] = field(
        default_factory=list,
        metadata={"help": "columns of a table or dataset with other names, such as text=note label=type"},
    )
    control_tag: str | None = field(
        default=None, metadata={"help": "Label Studio: name of the labelling control to read (from_name)"}
    )
    offset_unit: str | None = field(
        default=None,
        metadata={"help": "unit of offsets (default: told by the entities' text)", "choices": list(OFFSET_UNITS)},
    )
    scheme: str | None = field(
        default=None, metadata={"help": "CoNLL and datasets: tag scheme (default: detected)", "choices": list(SCHEMES)}
    )
    quoting: str | None = field(
        default=None,
        metadata={"help": "CSV and TSV: none if quotes are characters of the text", "choices": ["csv", "none"]},
    )
    sheet: str | None = field(default=None, metadata={"help": "Excel: name of the sheet (default: the first)"})

    def __post_init__(self) -> None:
        _column_names(self.columns)

    def reading_options(self) -> dict[str, Any]:
        """Return the options that were given, as keyword arguments of `read_documents` and `load_ner_dataset`."""
        given = {option.name: getattr(self, option.name) for option in fields(ReadingArguments)}
        given["columns"] = _column_names(self.columns)
        return {name: value for name, value in given.items() if value not in (None, False, {})}


def _column_names(pairs: Iterable[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not (name and equals and column) or name in names:
            fault = "names a column twice" if name in names else "is not NAME=COLUMN"
            raise ValueError(f"columns (--columns): {pair!r} {fault}; expected pairs such as text=note label=type")
        names[name] = column
    return names
