"""The error of data that cannot be read, and how much of a text it may show."""

from __future__ import annotations

from pathlib import Path

EXCERPT = 8
"""Most characters of a record's text that a message shows: records may be clinical notes."""


class DataFormatError(ValueError):
    """A record or file that is not what its format says.

    Attributes:
        reason: what was found and what was expected, without the place.
        path: the file, where known.
        line: line in that file, from 1, where known.
        record: id, key or index of the record, where known.
    """

    def __init__(
        self, reason: str, *, path: str | Path | None = None, line: int | None = None, record: str | None = None
    ):
        self.reason, self.path, self.line, self.record = reason, path, line, record
        super().__init__(": ".join(filter(None, [self.place, reason])))

    @property
    def place(self) -> str:
        """File, line and record, as far as they are known."""
        parts = [
            str(self.path) if self.path is not None else "",
            f"line {self.line}" if self.line is not None else "",
            f"record {excerpt(self.record, 40)}" if self.record is not None else "",
        ]
        return ", ".join(filter(None, parts))

    def located(
        self, path: str | Path | None = None, line: int | None = None, record: str | None = None
    ) -> DataFormatError:
        """The same error with what was not known about its place filled in."""
        return DataFormatError(
            self.reason,
            path=self.path if self.path is not None else path,
            line=self.line if self.line is not None else line,
            record=self.record if self.record is not None else record,
        )

    def __reduce__(self):
        return _rebuild, (self.reason, self.path, self.line, self.record)


def _rebuild(reason: str, path: str | Path | None, line: int | None, record: str | None) -> DataFormatError:
    return DataFormatError(reason, path=path, line=line, record=record)


def excerpt(value: object, limit: int = EXCERPT) -> str:
    """The value as a message may show it: quoted, cut to `limit` characters."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
