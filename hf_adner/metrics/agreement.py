"""Agreement of two annotators on the same texts: entity F1, boundary F1 and Cohen's kappa over characters.

The F1 of two annotators is the same whichever of them is taken as the reference, and with few entities in much text it
is what a chance-corrected measure over entities tends to (Hripcsak and Rothschild 2005).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER, SPANS, Documents, Numbers, SpanTuple, metric, paired_documents, same_count
from .significance import bootstrap_statistic, micro_f1

LEVEL = 0.95
RESAMPLES = 1000
MEASURES = ("entity_f1", "start_f1", "end_f1", "boundary_f1", "kappa")

Pair = tuple[list[SpanTuple], list[SpanTuple]]


def agreement(
    predictions: Documents,
    references: Documents,
    lengths: Sequence[int],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute how far two annotators agree, over all labels and per label, with bootstrap intervals over documents.

    Args:
        predictions: per document the spans of the first annotator, `(start, end, label)` in characters with `end`
            exclusive, or mappings or objects with these fields; may be nested.
        references: per document those of the second.
        lengths: per document the characters of its text.
        level: of the percentile intervals.
        resamples: number of resamples.
        seed: of the random numbers.

    Returns:
        `documents`, `characters`, and `all` and `per_label` (labels sorted) with `first` and `second`, the numbers of
        entities, and `entity_f1`, `start_f1`, `end_f1`, `boundary_f1` (both edges; over all labels the label is ignored
        in these three) and `kappa`, each with `value`, `low`, `high` (F1 in [0, 1], kappa in [-1, 1]), `level`
        and `resamples`. Kappa is Cohen's (1960) over characters; the category of a character is the set of labels that
        cover it, and for one label whether that does. Two annotators who find nothing agree: all measures are 1 then,
        also of draws without an entity of a label.

    Raises:
        ValueError: no document, different numbers of documents, a malformed span, or one outside its text.
    """
    pairs, lengths = paired_documents(predictions, references), [int(length) for length in lengths]
    same_count(predictions=pairs, lengths=lengths)
    _check_inside(pairs, lengths)
    labels = sorted({span[2] for pair in pairs for spans in pair for span in spans})
    settings = {"level": level, "resamples": resamples, "seed": seed}
    return {
        "documents": len(pairs),
        "characters": sum(lengths),
        "all": _measures(pairs, lengths, None, settings),
        "per_label": {label: _measures(_of_label(pairs, label), lengths, label, settings) for label in labels},
    }


def _check_inside(pairs: Iterable[Pair], lengths: Iterable[int]) -> None:
    for number, (pair, length) in enumerate(zip(pairs, lengths)):
        for start, end, _ in (span for spans in pair for span in spans):
            if end > length:
                raise ValueError(f"document {number}: span {start}-{end} is outside the text of {length} characters")


def _of_label(pairs: Iterable[Pair], label: str) -> list[Pair]:
    return [([span for span in first if span[2] == label], [span for span in second if span[2] == label])
            for first, second in pairs]  # fmt: skip


def _measures(
    pairs: Sequence[Pair], lengths: Sequence[int], label: str | None, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the measures of all labels (None), or of one, to which the pairs are limited."""
    items: dict[str, Callable[[SpanTuple], tuple]] = {
        "entity_f1": lambda span: span,
        "start_f1": lambda span: (span[0],),
        "end_f1": lambda span: (span[1],),
        "boundary_f1": lambda span: span[:2],
    }
    found: dict[str, Any] = {"first": sum(len(first) for first, _ in pairs)}
    found["second"] = sum(len(second) for _, second in pairs)
    for name, item in items.items():
        counts = np.array([_matches(first, second, item) for first, second in pairs])  # (documents, 3)
        found[name] = _interval(counts, _f1, settings)
    tables = character_tables(pairs, lengths)
    size = round(tables.shape[1] ** 0.5)
    found["kappa"] = _interval(tables, lambda summed: cohen_kappa(summed.reshape(size, size)), settings)
    return found


def _f1(counts: np.ndarray) -> float:
    return float(micro_f1(counts)) if counts[1:].any() else 1.0


def _interval(counts: np.ndarray, statistic: Callable[[np.ndarray], float], settings: dict[str, Any]) -> dict[str, Any]:
    return bootstrap_statistic(len(counts), lambda drawn: statistic(counts[drawn].sum(0)), **settings)


def _matches(
    first: Iterable[SpanTuple], second: Iterable[SpanTuple], item: Callable[[SpanTuple], tuple]
) -> tuple[int, int, int]:
    one, other = Counter(map(item, first)), Counter(map(item, second))
    return (one & other).total(), one.total(), other.total()


def character_tables(pairs: Sequence[Pair], lengths: Sequence[int]) -> np.ndarray:
    """Return the characters of each document by their category for either annotator, (documents, categories ** 2).

    Row `first * categories + second` counts them; categories are sets of labels.
    """
    rows = []
    numbers: dict[frozenset[str], int] = {frozenset(): 0}
    for (first, second), length in zip(pairs, lengths):
        chosen = [
            [numbers.setdefault(labels, len(numbers)) for labels in _categories(spans, length)]
            for spans in (first, second)
        ]
        rows.append(Counter(zip(*chosen)))
    tables = np.zeros((len(rows), len(numbers), len(numbers)))
    for table, row in zip(tables, rows):
        for place, count in row.items():
            table[place] = count
    return tables.reshape(len(rows), -1)


def _categories(spans: Iterable[SpanTuple], length: int) -> list[frozenset[str]]:
    labels: list[frozenset[str]] = [frozenset()] * length
    for start, end, label in spans:
        for place in range(start, end):
            labels[place] |= {label}
    return labels


def cohen_kappa(table: Numbers) -> float:
    """Compute Cohen's kappa (1960): (observed - expected) / (1 - expected) agreement.

    Args:
        table: (categories, categories) counts of items by both annotators' choices.

    Returns:
        In [-1, 1]; 1 where both chose one and the same category throughout, or there is no item.
    """
    table = np.asarray(table, dtype=np.float64)
    total = table.sum()
    if not total:
        return 1.0
    observed = np.trace(table) / total
    expected = table.sum(0) @ table.sum(1) / total**2
    return 1.0 if expected == 1 else float((observed - expected) / (1 - expected))


@metric(agreement, predictions=SPANS, references=SPANS, lengths=INTEGER)
class Agreement(evaluate.Metric):
    """`agreement` as an `evaluate.Metric`: predictions are spans of the first annotator, references of the second."""
