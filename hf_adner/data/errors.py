"""`DataFormatError`, raised for data that cannot be read or written, with the location of the fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXCERPT = 8
"""Number of characters of a record that an error message may show: records may be clinical notes."""


class DataFormatError(ValueError):
    """A record or file that violates its format.

    Attributes:
        reason: what was found and what was expected, without the location.
        path: the file, if known.
        line: line of the file, from 1, if known.
        record: id, key or index of the record, if known.
    """

    def __init__(
        self, reason: str, *, path: str | Path | None = None, line: int | None = None, record: str | None = None
    ):
        self.reason, self.path, self.line, self.record = reason, path, line, record
        super().__init__(": ".join(filter(None, [self.place, reason])))

    @property
    def place(self) -> str:
        """File, line and record, as far as known."""
        parts = [
            str(self.path) if self.path is not None else "",
            f"line {self.line}" if self.line is not None else "",
            f"record {excerpt(self.record, 40)}" if self.record is not None else "",
        ]
        return ", ".join(filter(None, parts))

    def located(
        self, path: str | Path | None = None, line: int | None = None, record: str | None = None
    ) -> DataFormatError:
        """Return the error with the unknown parts of its location filled in."""
        return DataFormatError(
            self.reason,
            path=self.path if self.path is not None else path,
            line=self.line if self.line is not None else line,
            record=self.record if self.record is not None else record,
        )

    def renamed(self, path: Path, name: Path) -> DataFormatError:
        """Return the error with `name` in place of the file `path`, which is a copy of it."""
        if path == name or self.path != path:
            return self
        return DataFormatError(self.reason, path=name, line=self.line, record=self.record)

    def __reduce__(self):
        return _rebuild, (self.reason, self.path, self.line, self.record)


def _rebuild(reason: str, path: str | Path | None, line: int | None, record: str | None) -> DataFormatError:
    return DataFormatError(reason, path=path, line=line, record=record)


@contextmanager
def error_location(
    path: str | Path | None = None, line: int | None = None, record: str | None = None
) -> Iterator[None]:
    """Fill in the location of a `DataFormatError` raised in the block."""
    try:
        yield
    except DataFormatError as error:
        raise error.located(path, line, record) from None


def excerpt(value: object, limit: int = EXCERPT) -> str:
    """Return `repr` of the value, cut to `limit` characters, for an error message."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
