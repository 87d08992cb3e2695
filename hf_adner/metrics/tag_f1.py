"""Strict entity F1 of label sequences, as `seqeval` scores them, without a download.

For whatever speaks BIO labels rather than spans, such as `evaluate`'s evaluators.
"""

from collections.abc import Iterable, Iterator, Sequence

import evaluate

from .entity_f1 import entity_f1
from .inputs import WORD, NumberInputs
from .spans import EntitySpan

SUMMARY = "Strict entity precision, recall and F1 of BIO label sequences, micro, per label and macro."
INPUTS = """
Args:
    predictions: per document its predicted labels, "O", "B-x" or "I-x", one per token.
    references: the gold labels, likewise.
    zero_division: 0 or 1, precision without predictions and recall without gold (default 0).
Returns:
    precision, recall, f1, correct, predicted, support; macro_f1; per_label: label -> the same six.
"""


def tag_f1(
    predictions: Iterable[Sequence[str]], references: Iterable[Sequence[str]], zero_division: float = 0.0
) -> dict:
    """`entity_f1` of the entities in BIO labels.

    An entity is a B label and the I labels of the same type right behind it; an I label that continues nothing belongs
    to no entity (`seqeval`'s strict mode under IOB2).

    Args:
        predictions: per document the predicted labels.
        references: per document as many gold labels.
        zero_division: see `entity_f1`.

    Raises:
        ValueError: a label that is not BIO, or documents of different number or length.
    """
    predictions, references = list(predictions), list(references)
    for index, (predicted, gold) in enumerate(zip(predictions, references)):
        if len(predicted) != len(gold):
            raise ValueError(f"document {index} has {len(predicted)} predicted labels, but {len(gold)} gold ones")
    return entity_f1(
        [list(_spans(one)) for one in predictions], [list(_spans(one)) for one in references], zero_division
    )


def _spans(tags: Sequence[str]) -> Iterator[EntitySpan]:
    start, label = -1, ""  # of the open entity; -1: none is open
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if prefix not in ("B", "I") and tag != "O" or prefix in ("B", "I") and not name:
            raise ValueError(f"label {place} is {tag!r:.20}, expected O, B-x or I-x")
        if prefix == "I" and start >= 0 and name == label:
            continue
        if start >= 0:
            yield start, place, label
        start, label = (place, name) if prefix == "B" else (-1, "")


class TagF1(NumberInputs, evaluate.Metric):
    """`tag_f1` as an `evaluate.Metric`."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": [WORD], "references": [WORD]}

    def _compute(self, predictions, references, zero_division: float = 0.0) -> dict:
        return tag_f1(predictions, references, zero_division)
