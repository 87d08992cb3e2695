"""F1 of the attributes of entities: negated, uncertain, someone else's and so on, each a yes/no question."""

from collections.abc import Iterable, Sequence

import evaluate

from .inputs import STRING, MatchCounts, f1_scores, metric


def assertion_f1(
    predictions: Iterable[Sequence[str]],
    references: Iterable[Sequence[str]],
    labels: Iterable[str] | None = None,
    zero_division: float = 0.0,
) -> dict:
    """Compute precision, recall and F1 of attributes of the same entities, per attribute and micro-averaged.

    An attribute counts as found where it is predicted of the entity; entities to which none applies count in `exact`
    only. As in the i2b2 2010 task, entities are given: those that the tagger missed or invented are not part of it.

    Args:
        predictions: per entity the attributes that are predicted to hold.
        references: per entity those that do.
        labels: the label of each entity, for `per_label`; by default that is empty.
        zero_division: 0 or 1: precision without predictions, recall without gold.

    Returns:
        `precision`, `recall`, `f1` in [0, 1] and the counts `correct`, `predicted`, `support` over all attributes;
        `macro_f1`, the mean F1 over the attributes in predictions or gold (`zero_division` without any); `exact`, the
        share of entities all of whose attributes are right (1 without entities); `entities`, their number;
        `per_attribute` and `per_label`, the first six for each.

    Raises:
        ValueError: different numbers of entities, a repeated attribute, or another `zero_division`.
    """
    rows = [(list(predicted), list(gold)) for predicted, gold in _paired(predictions, references)]
    for number, sides in enumerate(rows):
        if any(len(set(side)) < len(side) for side in sides):
            raise ValueError(f"entity {number} has an attribute twice")
    counts = MatchCounts(([(name, 0) for name in side] for side in sides) for sides in rows)
    per_attribute = {name: counts.scores(name, zero_division) for name in counts.groups}
    macro_f1 = sum(scores["f1"] for scores in per_attribute.values()) / len(per_attribute) if per_attribute else None
    exact = sum(set(predicted) == set(gold) for predicted, gold in rows)
    return {
        **counts.total_scores(zero_division),
        "macro_f1": float(zero_division) if macro_f1 is None else macro_f1,
        "exact": exact / len(rows) if rows else 1.0,
        "entities": len(rows),
        "per_attribute": per_attribute,
        "per_label": _per_label(rows, labels, zero_division),
    }


def _paired(predictions: Iterable[Sequence[str]], references: Iterable[Sequence[str]]) -> list[tuple]:
    predictions, references = list(predictions), list(references)
    if len(predictions) != len(references):
        raise ValueError(
            f"predictions cover {len(predictions)} entities, references {len(references)}; they must be the same"
        )
    return list(zip(predictions, references))


def _per_label(rows: list[tuple[list, list]], labels: Iterable[str] | None, zero_division: float) -> dict:
    labels = [] if labels is None else list(labels)
    if labels and len(labels) != len(rows):
        raise ValueError(f"there are {len(labels)} labels for {len(rows)} entities")
    scores = {}
    for label in sorted(set(labels)):
        own = [row for row, name in zip(rows, labels) if name == label]
        correct = sum(len(set(predicted) & set(gold)) for predicted, gold in own)
        found, support = (sum(len(row[side]) for row in own) for side in range(2))
        scores[label] = f1_scores(correct, found, support, zero_division)
    return scores


@metric(assertion_f1, predictions=[STRING], references=[STRING])
class AssertionF1(evaluate.Metric):
    """`assertion_f1` as an `evaluate.Metric`."""
