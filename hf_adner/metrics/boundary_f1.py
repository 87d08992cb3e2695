"""Boundary F1: how well the starts, the ends and both edges of entities are found, with and without the label.

The untyped scores say whether the tagger finds where entities lie; the typed ones ask for the label too, and the typed
score of both edges is the strict entity F1. The gap between the two is what labelling alone costs.
"""

from collections.abc import Iterable, Iterator

import evaluate

from .spans import Documents, EntitySpan, MatchCounts, SpanInputs, paired_documents

SUMMARY = "Precision, recall and F1 of entity starts, ends and both edges, untyped and typed, over labelled spans."
INPUTS = """
Args:
    predictions: per document a list of spans, each {"start", "end", "label"} or (start, end, label), end exclusive.
    references: the gold spans, likewise.
    zero_division: 0 or 1, precision without predictions and recall without gold (default 0).
Returns:
    untyped and typed, each: start, end and both, each: precision, recall, f1, correct, predicted, support.
"""

EDGES = ("start", "end", "both")


def boundary_f1(predictions: Documents, references: Documents, zero_division: float = 0.0) -> dict:
    """Precision, recall and F1 of the boundaries of entity spans, micro-averaged over all documents.

    Every span has one start, one end and one pair of both. They are matched as multisets within a document: where two
    nested gold entities start at one character, a single predicted start there finds one of the two.

    Args:
        predictions: per document the predicted spans, `(start, end, label)` in characters with `end` exclusive, or
            mappings or objects with those names; any iterable of iterables.
        references: per document the gold spans, likewise; may be nested.
        zero_division: 0 or 1: precision where nothing was predicted, recall where there is no gold.

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
    pairs: Iterable[tuple[list[EntitySpan], list[EntitySpan]]], zero_division: float, typed: bool
) -> dict[str, dict[str, float]]:
    counts = MatchCounts((_edges(predicted, typed), _edges(gold, typed)) for predicted, gold in pairs)
    return {edge: counts.scores(edge, zero_division) for edge in EDGES}


def _edges(spans: Iterable[EntitySpan], typed: bool) -> Iterator[tuple[str, tuple]]:
    for start, end, label in spans:
        kind = label if typed else None
        yield from (("start", (start, kind)), ("end", (end, kind)), ("both", (start, end, kind)))


class BoundaryF1(SpanInputs, evaluate.Metric):
    """`boundary_f1` as an `evaluate.Metric`."""

    summary = SUMMARY
    inputs = INPUTS

    def _compute(self, predictions: Documents, references: Documents, zero_division: float = 0.0) -> dict:
        return boundary_f1(predictions, references, zero_division)
