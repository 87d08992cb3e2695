"""Strict entity F1 of BIO label sequences, equal to seqeval's strict mode, without a download.

For callers that have labels rather than spans, such as `evaluate`'s evaluators.
"""

from collections.abc import Iterable, Iterator, Sequence

import evaluate

from .entity_f1 import entity_f1
from .inputs import STRING, SpanTuple, metric


def tag_f1(
    predictions: Iterable[Sequence[str]], references: Iterable[Sequence[str]], zero_division: float = 0.0
) -> dict:
    """Compute strict entity precision, recall and F1 of BIO labels: micro, per label and macro.

    An entity is a B label and the I labels of the same type directly after it; an I label that continues nothing
    belongs to no entity (seqeval's strict mode under IOB2). Scorers that follow the rule of conlleval, such as the
    official one of IMCS and seqeval's default mode, let such an I label begin an entity: on well-formed BIO they give
    the same figures, on ill-formed BIO others (0.766 in place of 0.756 on IMCS predictions without a CRF).

    Args:
        predictions: per document the predicted labels, "O", "B-x" or "I-x", one per token.
        references: per document as many gold labels.
        zero_division: 0 or 1: precision without predictions, recall without gold.

    Returns:
        As `entity_f1`: `precision`, `recall`, `f1`, `correct`, `predicted`, `support`, `macro_f1`, `per_label`.

    Raises:
        ValueError: a label that is not BIO, or documents of different number or length.
    """
    predictions, references = list(predictions), list(references)
    for index, (predicted, gold) in enumerate(zip(predictions, references)):
        if len(predicted) != len(gold):
            raise ValueError(f"document {index} has {len(predicted)} predicted labels, but {len(gold)} gold labels")
    return entity_f1(
        [list(_spans(tags)) for tags in predictions], [list(_spans(tags)) for tags in references], zero_division
    )


def _spans(tags: Sequence[str]) -> Iterator[SpanTuple]:
    start, label = -1, ""  # of the open entity; -1: no entity is open
    for position, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if prefix not in ("B", "I") and tag != "O" or prefix in ("B", "I") and not name:
            raise ValueError(f"label {position} is {tag!r:.20}, expected O, B-x or I-x")
        if prefix == "I" and start >= 0 and name == label:
            continue
        if start >= 0:
            yield start, position, label
        start, label = (position, name) if prefix == "B" else (-1, "")


@metric(tag_f1, predictions=[STRING], references=[STRING])
class TagF1(evaluate.Metric):
    """`tag_f1` as an `evaluate.Metric`."""
