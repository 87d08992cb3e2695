"""Plain text without entities: a file as one document, or a document a line."""

from __future__ import annotations

from collections.abc import Iterator

from hf_adner.data.readers.reader import RawRecord, Reader
from hf_adner.data.readers.source import TextSource
from hf_adner.data.records import Document


class TextReader(Reader):
    """Reads a file as one document, named like the file."""

    def records(self) -> Iterator[RawRecord]:
        """The one raw record."""
        yield RawRecord(1, self.stem, TextSource(self.path, self.encoding).text())

    def document(self, raw: RawRecord) -> Document:
        """The document of the file."""
        return Document(self.stem, raw.value)


class LinesReader(Reader):
    """Reads every line that is not blank as a document."""

    def records(self) -> Iterator[RawRecord]:
        """One raw record a line."""
        for number, line in TextSource(self.path, self.encoding).lines():
            if line.strip():
                yield RawRecord(number, str(number - 1), line)

    def document(self, raw: RawRecord) -> Document:
        """The document of a line."""
        return Document(self.default_id(raw), raw.value)
