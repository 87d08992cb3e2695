"""Labelled spans of documents, counted as multisets: what the entity and boundary scores are made of.

A span is `(start, end, label)` in characters, `end` exclusive, or a mapping with those keys or an object with those
attributes (whatever else it carries, such as `text`, is ignored). A document may hold nested, overlapping and repeated
spans. Matching takes the intersection of two multisets, so it depends on no order, and two equal predictions are never
both right for one gold span.
"""

import operator
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import datasets
import evaluate

EntitySpan: TypeAlias = tuple[int, int, str]
SpanLike: TypeAlias = Any
Documents: TypeAlias = Iterable[Iterable[SpanLike]]

FIELDS = ("start", "end", "label")
ZERO_DIVISIONS = (0.0, 1.0)


def as_span(span: SpanLike) -> EntitySpan:
    """The plain `(start, end, label)` of one span.

    Raises:
        ValueError: the span has not the three fields, its positions are not integers with 0 <= start < end, or its
            label is not a string.
    """
    start, end, label = _fields(span)
    try:
        start, end = operator.index(start), operator.index(end)
    except TypeError:
        kinds = f"{type(start).__name__} and {type(end).__name__}"
        raise ValueError(f"span positions must be integers, found {kinds}") from None
    if not 0 <= start < end:
        raise ValueError(f"a span needs 0 <= start < end, found start={start}, end={end}")
    if not isinstance(label, str):
        raise ValueError(f"a span's label must be a string, found {type(label).__name__}")
    return start, end, label


def _fields(span: SpanLike) -> tuple[Any, Any, Any]:
    try:
        if isinstance(span, Mapping):
            return tuple(span[name] for name in FIELDS)
        if hasattr(span, "label"):
            return tuple(getattr(span, name) for name in FIELDS)
        start, end, label = span
        return start, end, label
    except (AttributeError, KeyError):
        raise ValueError(f"a span needs {', '.join(FIELDS)}; one is missing from a {type(span).__name__}") from None
    except (TypeError, ValueError):
        raise ValueError(
            f"a span must be (start, end, label) or have those names, found {type(span).__name__}"
        ) from None


def as_documents(documents: Documents, name: str = "spans") -> list[list[EntitySpan]]:
    """The plain spans of every document; an error says which document and span is at fault, `name` says of what.

    Raises:
        ValueError: a span is malformed (see `as_span`).
    """
    return [_as_document(document, f"{name}[{index}]") for index, document in enumerate(documents)]


def _as_document(document: Iterable[SpanLike], name: str) -> list[EntitySpan]:
    spans = []
    for index, span in enumerate(document):
        try:
            spans.append(as_span(span))
        except ValueError as error:
            raise ValueError(f"{name}[{index}]: {error}") from None
    return spans


def paired_documents(predictions: Documents, references: Documents) -> list[tuple[list[EntitySpan], list[EntitySpan]]]:
    """`(predicted, gold)` spans of every document.

    Raises:
        ValueError: the two have different numbers of documents, or a span is malformed.
    """
    predicted, gold = as_documents(predictions, "predictions"), as_documents(references, "references")
    if len(predicted) != len(gold):
        raise ValueError(f"predictions cover {len(predicted)} documents, references {len(gold)}; they must be the same")
    return list(zip(predicted, gold))


class MatchCounts:
    """Counts of matched, predicted and gold items per group, summed over documents.

    Args:
        pairs: `(group, item)` multisets, one `(predicted, gold)` pair per document. Items match within a document
            when group and item are equal.
    """

    def __init__(self, pairs: Iterable[tuple[Iterable[tuple[str, Hashable]], Iterable[tuple[str, Hashable]]]]):
        self.correct: Counter[str] = Counter()
        self.predicted: Counter[str] = Counter()
        self.support: Counter[str] = Counter()
        for predicted, gold in pairs:
            self._add(Counter(predicted), Counter(gold))

    def _add(self, predicted: Counter, gold: Counter) -> None:
        for total, items in ((self.correct, predicted & gold), (self.predicted, predicted), (self.support, gold)):
            for (group, _), count in items.items():
                total[group] += count

    @property
    def groups(self) -> list[str]:
        """The groups that occur in predictions or gold, sorted."""
        return sorted(self.predicted.keys() | self.support.keys())

    def scores(self, group: str, zero_division: float = 0.0) -> dict[str, float]:
        """Scores of one group, see `f1_scores`."""
        return f1_scores(self.correct[group], self.predicted[group], self.support[group], zero_division)

    def total_scores(self, zero_division: float = 0.0) -> dict[str, float]:
        """Micro-averaged scores of all groups together, see `f1_scores`."""
        return f1_scores(self.correct.total(), self.predicted.total(), self.support.total(), zero_division)


def f1_scores(correct: int, predicted: int, support: int, zero_division: float = 0.0) -> dict[str, float]:
    """Precision, recall and their harmonic mean from counts.

    Precision is `zero_division` where nothing was predicted, recall is `zero_division` where there is no gold, and F1
    is 0 where both are 0 (seqeval's and scikit-learn's rule).

    Returns:
        `precision`, `recall`, `f1` in [0, 1], and the counts `correct`, `predicted`, `support` (gold).

    Raises:
        ValueError: `zero_division` is neither 0 nor 1.
    """
    if zero_division not in ZERO_DIVISIONS:
        raise ValueError(f"zero_division must be 0 or 1, found {zero_division!r}")
    precision = correct / predicted if predicted else float(zero_division)
    recall = correct / support if support else float(zero_division)
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    counts = {"correct": correct, "predicted": predicted, "support": support}
    return {"precision": precision, "recall": recall, "f1": f1, **counts}


class SpanInputs:
    """What an `evaluate.Metric` over spans takes: per document a list of spans, in any form `as_span` takes.

    Put before `evaluate.Metric` among the bases, with `summary` and `inputs` as class attributes.
    Arrow has no tuples of mixed types, so spans travel as mappings; whatever else they carry (an entity's text, say)
    never reaches the metric's cache file.
    """

    summary: ClassVar[str]
    inputs: ClassVar[str]

    def _info(self) -> evaluate.MetricInfo:
        span = {"start": datasets.Value("int64"), "end": datasets.Value("int64"), "label": datasets.Value("string")}
        features = datasets.Features({"predictions": [span], "references": [span]})
        return evaluate.MetricInfo(
            description=self.summary, citation="", inputs_description=self.inputs, features=features
        )

    def add_batch(self, *, predictions=None, references=None, **kwargs) -> None:
        """Add several documents: `predictions` and `references` hold one list of spans per document."""
        rows = {"predictions": _as_rows(predictions, "predictions"), "references": _as_rows(references, "references")}
        super().add_batch(**rows, **kwargs)

    def add(self, *, prediction=None, reference=None, **kwargs) -> None:
        """Add one document: its predicted and its gold spans."""
        self.add_batch(predictions=[prediction], references=[reference], **kwargs)


def _as_rows(documents: Documents, name: str) -> list[list[dict[str, Any]]]:
    return [[dict(zip(FIELDS, span)) for span in document] for document in as_documents(documents, name)]
