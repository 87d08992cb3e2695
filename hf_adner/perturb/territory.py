"""Which characters of a document, and which gaps between them, an edit may touch."""

from __future__ import annotations

from collections.abc import Iterable

from hf_adner.data.records import Document
from hf_adner.perturb.protected import protected_spans


class Territory:
    """Spans that are closed to edits: their characters may not be replaced, and nothing may come in between them.

    Args:
        length: characters of the text.
        spans: (start, end) of what is closed; they may overlap.
    """

    def __init__(self, length: int, spans: Iterable[tuple[int, int]]) -> None:
        self._characters = bytearray(length)
        self._gaps = bytearray(length + 1)  # gap i lies before character i
        for start, end in spans:
            self._characters[start:end] = b"\1" * (end - start)
            self._gaps[start + 1 : end] = b"\1" * (end - start - 1)

    @classmethod
    def of_entities(cls, document: Document) -> Territory:
        """Entities are closed."""
        return cls(len(document.text), ((one.start, one.end) for one in document.entities))

    @classmethod
    def of_protected(cls, document: Document) -> Territory:
        """Protected words and figures are closed."""
        return cls(len(document.text), protected_spans(document.text))

    @classmethod
    def of_context(cls, document: Document) -> Territory:
        """Entities and protected words and figures are closed: the rest is context."""
        entities = ((one.start, one.end) for one in document.entities)
        return cls(len(document.text), (*entities, *protected_spans(document.text)))

    def is_open(self, start: int, end: int) -> bool:
        """Whether the span may be replaced; for an empty one, whether something may be inserted there."""
        if start == end:
            return not self._gaps[start]
        return 1 not in self._characters[start:end]
