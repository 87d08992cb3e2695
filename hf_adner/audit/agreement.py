"""Agreement of two annotations of the same documents: measures with intervals, and the documents that differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_adner.data.differences import KINDS, Difference, differences, paired
from hf_adner.data.records import Document
from hf_adner.metrics.agreement import LEVEL, MEASURES, RESAMPLES, agreement
from hf_adner.reporting import escape_markdown, markdown_table, plain
from hf_adner.view.differences import ComparedNote, compared_page

TITLES = ("entity F1", "start F1", "end F1", "boundary F1", "κ of characters")


@dataclass(frozen=True)
class AgreementReport:
    """How far two annotations agree.

    Attributes:
        names: of the annotations.
        pairs: the documents of both.
        measures: `hf_adner.metrics.agreement.agreement`.
        found: per document what differs.
    """

    names: tuple[str, str]
    pairs: Sequence[tuple[Document, Document]]
    measures: Mapping[str, Any]
    found: Sequence[Sequence[Difference]]

    @property
    def counts(self) -> dict[str, int]:
        """Number of differences of each kind."""
        kinds = [difference.kind for ones in self.found for difference in ones]
        return {kind: kinds.count(kind) for kind in KINDS}

    def to_dict(self) -> dict[str, Any]:
        """Return names, measures and numbers of differences as JSON values; no text of the documents."""
        return plain({"names": self.names, **self.measures, "differences": self.counts})

    def to_markdown(self) -> str:
        """Return the measures as a table with intervals, and the numbers of differences."""
        rows = {**{escape_markdown(label): row for label, row in self.measures["per_label"].items()}}
        rows["**all**"] = self.measures["all"]
        lines = [
            (name, row["first"], row["second"], *(_with_interval(row[measure]) for measure in MEASURES))
            for name, row in rows.items()
        ]
        level = self.measures["all"]["kappa"]["level"]
        head = (
            f"{self.measures['documents']:,} documents, {self.measures['characters']:,} characters; intervals of "
            f"{level:.0%} from drawing documents. Start, end and boundary of **all** are without the label.\n"
        )
        table = markdown_table(("label", *map(escape_markdown, self.names), *TITLES), lines)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        return f"{head}\n{table}\n\nWhat the first has against the second: {kinds}.\n"

    def page(self, labels: Iterable[str] = ()) -> Iterator[str]:
        """Yield a page of the documents that differ, both annotations beside each other.

        Args:
            labels: in the order that gives them their colours; others follow sorted.
        """
        notes = [
            ComparedNote(first.id, first.text, first.spans, second.spans, ones)
            for (first, second), ones in zip(self.pairs, self.found)
            if ones
        ]
        title = f"{len(notes)} of {len(self.pairs)} documents differ"
        return compared_page(notes, self.names, title=title, labels=labels)


def compare_annotations(
    first: Iterable[Document],
    second: Iterable[Document],
    names: tuple[str, str] = ("first", "second"),
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> AgreementReport:
    """Compare two annotations of the same documents, which are paired by their ids.

    Args:
        first, second: documents with entities, which may be nested.
        names: of the annotations.
        level, resamples, seed: of the bootstrap intervals.

    Raises:
        DataFormatError: as `hf_adner.data.differences.paired`.
        ValueError: there is no document.
    """
    pairs = paired(first, second, names)
    if not pairs:
        raise ValueError(f"{names[0]} has no documents")
    spans = [[document.spans for document in side] for side in zip(*pairs)]
    lengths = [len(document.text) for document, _ in pairs]
    measures = agreement(*spans, lengths, level=level, resamples=resamples, seed=seed)
    return AgreementReport(names, pairs, measures, [differences(*both) for both in zip(*spans)])


def _with_interval(row: Mapping[str, float]) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
