"""Strict entity F1: start, end and label must all be right.

Equal to seqeval's strict mode on flat data. On nested gold every gold span counts by itself.
"""

import evaluate

from .inputs import SPANS, Documents, MatchCounts, SpanTuple, metric, paired_documents


def entity_f1(predictions: Documents, references: Documents, zero_division: float = 0.0) -> dict:
    """Compute strict precision, recall and F1 of entity spans, micro-averaged over all documents, and per label.

    Args:
        predictions: per document the predicted spans, `(start, end, label)` in characters with `end` exclusive, or
            mappings or objects with these fields; any iterable of iterables.
        references: per document the gold spans; nested, overlapping and repeated spans each count by themselves.
        zero_division: 0 or 1: precision without predictions, recall without gold.

    Returns:
        `precision`, `recall`, `f1` in [0, 1] and the counts `correct`, `predicted`, `support` over all labels;
        `macro_f1`, the mean F1 over the labels in predictions or gold (`zero_division` if there are none); `per_label`,
        the first six per label, labels sorted.

    Raises:
        ValueError: different numbers of documents, a malformed span, or another `zero_division`.
    """
    pairs = paired_documents(predictions, references)
    counts = MatchCounts((map(_by_label, predicted), map(_by_label, gold)) for predicted, gold in pairs)
    per_label = {label: counts.scores(label, zero_division) for label in counts.groups}
    macro_f1 = sum(scores["f1"] for scores in per_label.values()) / len(per_label) if per_label else zero_division
    return {**counts.total_scores(zero_division), "macro_f1": float(macro_f1), "per_label": per_label}


def _by_label(span: SpanTuple) -> tuple[str, tuple[int, int]]:
    start, end, label = span
    return label, (start, end)


@metric(entity_f1, predictions=SPANS, references=SPANS)
class EntityF1(evaluate.Metric):
    """`entity_f1` as an `evaluate.Metric`."""
