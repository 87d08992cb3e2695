"""Strict entity F1: an entity counts only if start, end and label are all right.

Equal to seqeval's strict mode on flat data, and right on nested gold, where every gold span counts by itself.
"""

import evaluate

from .spans import Documents, EntitySpan, MatchCounts, SpanInputs, paired_documents

SUMMARY = (
    "Strict entity precision, recall and F1 (micro), per label, and macro F1, over (start, end, label) spans; "
    "nested and overlapping spans are allowed and their order does not matter."
)
INPUTS = """
Args:
    predictions: per document a list of spans, each {"start", "end", "label"} or (start, end, label), end exclusive.
    references: the gold spans, likewise.
    zero_division: 0 or 1, precision without predictions and recall without gold (default 0).
Returns:
    precision, recall, f1, correct, predicted, support; macro_f1; per_label: label -> the same six.
"""


def entity_f1(predictions: Documents, references: Documents, zero_division: float = 0.0) -> dict:
    """Strict precision, recall and F1 of entity spans, micro-averaged over all documents, and per label.

    Args:
        predictions: per document the predicted spans, `(start, end, label)` in characters with `end` exclusive, or
            mappings or objects with those names; any iterable of iterables.
        references: per document the gold spans; nested, overlapping and repeated spans each count by themselves.
        zero_division: 0 or 1: precision where nothing was predicted, recall where there is no gold.

    Returns:
        `precision`, `recall`, `f1` in [0, 1] and the counts `correct`, `predicted`, `support` over all labels;
        `macro_f1`, the plain mean of F1 over the labels that occur in predictions or gold (`zero_division` if none
        does); `per_label`, the first six per label, labels sorted.

    Raises:
        ValueError: different numbers of documents, a malformed span, or another `zero_division`.
    """
    pairs = paired_documents(predictions, references)
    counts = MatchCounts((map(_labelled, predicted), map(_labelled, gold)) for predicted, gold in pairs)
    per_label = {label: counts.scores(label, zero_division) for label in counts.groups}
    macro_f1 = sum(scores["f1"] for scores in per_label.values()) / len(per_label) if per_label else zero_division
    return {**counts.total_scores(zero_division), "macro_f1": float(macro_f1), "per_label": per_label}


def _labelled(span: EntitySpan) -> tuple[str, tuple[int, int]]:
    start, end, label = span
    return label, (start, end)


class EntityF1(SpanInputs, evaluate.Metric):
    """`entity_f1` as an `evaluate.Metric`."""

    summary = SUMMARY
    inputs = INPUTS

    def _compute(self, predictions: Documents, references: Documents, zero_division: float = 0.0) -> dict:
        return entity_f1(predictions, references, zero_division)
