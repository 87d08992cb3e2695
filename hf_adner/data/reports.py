"""What a reader met on its way: how much it read, what it repaired, noted and skipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from hf_adner.data.errors import DataFormatError
from hf_adner.data.records import Document, flatten


class SkippedRecord(NamedTuple):
    """A record that was left out because it is broken."""

    file: str
    line: int | None
    record: str | None
    reason: str

    def __str__(self) -> str:
        return str(DataFormatError(self.reason, path=self.file, line=self.line, record=self.record))


@dataclass
class ReadReport:
    """Counts and a list of what was skipped, filled while documents are read.

    Attributes:
        documents: documents delivered.
        entities: their entities.
        not_flat: entities among them that a flat tagger has to leave out, because they lie in or across a longer one.
        repaired: how often each kind of small fault was mended (an I- tag without its B-, say).
        notes: how often something was met that no document can hold, or that is kept in `meta`.
        skipped: the records left out, in file order.
    """

    documents: int = 0
    entities: int = 0
    not_flat: int = 0
    repaired: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    skipped: list[SkippedRecord] = field(default_factory=list)

    def count(self, document: Document) -> None:
        """Count a delivered document."""
        self.documents += 1
        self.entities += len(document.entities)
        if document.has_overlaps:
            self.not_flat += len(flatten(document.entities).left_out)

    def skip(self, error: DataFormatError) -> None:
        """List a record that was left out."""
        self.skipped.append(SkippedRecord(str(error.path), error.line, error.record, error.reason))

    def warnings(self, most: int = 20) -> list[str]:
        """One line per thing a user should know; at most `most` skipped records are spelt out."""
        lines = [f"{count} × repaired: {kind}" for kind, count in self.repaired.items() if count]
        lines += [f"{count} × {kind}" for kind, count in self.notes.items() if count]
        if self.not_flat:
            lines.append(
                f"{self.not_flat} of {self.entities} entities overlap a longer one: "
                "kept in the records, left out where a flat tagger is trained"
            )
        if self.skipped:
            lines.append(f"{len(self.skipped)} invalid records were skipped:")
            lines += [f"  {record}" for record in self.skipped[:most]]
            lines += [f"  … and {len(self.skipped) - most} more"] if len(self.skipped) > most else []
        return lines
