"""Boundary F1: precision, recall and F1 of the starts, the ends and both edges of entities, untyped and typed.

Untyped scores ignore the label; the typed score of both edges is the strict entity F1. The difference between the two
is the cost of wrong labels alone.
"""

from collections.abc import Iterable, Iterator

import evaluate

from .inputs import SPANS, Documents, MatchCounts, SpanTuple, metric, paired_documents

EDGES = ("start", "end", "both")


def boundary_f1(predictions: Documents, references: Documents, zero_division: float = 0.0) -> dict:
    """Compute precision, recall and F1 of the boundaries of entity spans, micro-averaged over all documents.

    Every span has one start, one end and one pair of both. They are matched as multisets within a document: where two
    nested gold entities have the same start, a single predicted start there matches one of the two.

    Args:
        predictions: per document the predicted spans, `(start, end, label)` in characters with `end` exclusive, or
            mappings or objects with these fields; any iterable of iterables.
        references: per document the gold spans, likewise; may be nested.
        zero_division: 0 or 1: precision without predictions, recall without gold.

    Returns:
        `untyped` (the label is ignored) and `typed` (it must be right), each with `start`, `end` and `both`, each with
        `precision`, `recall`, `f1` in [0, 1] and the counts `correct`, `predicted`, `support`.

    Raises:
        ValueError: different numbers of documents, a malformed span, or another `zero_division`.
    """
    pairs = paired_documents(predictions, references)
    return {
        "untyped": _edge_scores(pairs, zero_division, typed=False),
        "typed": _edge_scores(pairs, zero_division, typed=True),
    }


def _edge_scores(
    pairs: Iterable[tuple[list[SpanTuple], list[SpanTuple]]], zero_division: float, typed: bool
) -> dict[str, dict[str, float]]:
    counts = MatchCounts((_edges(predicted, typed), _edges(gold, typed)) for predicted, gold in pairs)
    return {edge: counts.scores(edge, zero_division) for edge in EDGES}


def _edges(spans: Iterable[SpanTuple], typed: bool) -> Iterator[tuple[str, tuple]]:
    for start, end, label in spans:
        kind = label if typed else None
        yield from (("start", (start, kind)), ("end", (end, kind)), ("both", (start, end, kind)))


@metric(boundary_f1, predictions=SPANS, references=SPANS)
class BoundaryF1(evaluate.Metric):
    """`boundary_f1` as an `evaluate.Metric`."""
