"""Inputs of metrics: checks of numbers and spans, counts of matching spans, and the decorator of metric classes.

Numbers may be in lists, tuples, arrays or CPU tensors; spans may be tuples, mappings or objects. Everything else raises
a `ValueError` that names the argument. No message contains an attribution or a probability, so that no explanation of a
note leaks into a log.
"""

import inspect
import operator
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import datasets
import evaluate
import numpy as np

Numbers: TypeAlias = Any
Vector: TypeAlias = np.ndarray
SpanTuple: TypeAlias = tuple[int, int, str]
Documents: TypeAlias = Iterable[Iterable[Any]]
"""Per document its spans, in any form that `as_span` accepts."""

# Features of metric columns, see `metric`.
NUMBER = datasets.Value("float64")
INTEGER = datasets.Value("int64")
STRING = datasets.Value("string")
ROW = [NUMBER]
INTEGER_ROW = [INTEGER]
# Arrow has no tuples of mixed types.
SPANS = [{"start": INTEGER, "end": INTEGER, "label": STRING}]

SPAN_FIELDS = ("start", "end", "label")
ZERO_DIVISIONS = (0.0, 1.0)


def metric(function: Callable[..., dict], **columns: Any) -> Callable[[type[evaluate.Metric]], type[evaluate.Metric]]:
    """Decorate an empty subclass of `evaluate.Metric` so that it computes `function`.

    The first paragraph of the function's docstring becomes the description of the metric, the rest that of its inputs.

    Args:
        function: takes the columns, and further settings as keyword arguments of `compute`.
        columns: per column its feature, or (argument of the function, feature) if the column has another name.
    """
    pairs = {name: column if isinstance(column, tuple) else (name, column) for name, column in columns.items()}

    def decorate(metric_class: type[evaluate.Metric]) -> type[evaluate.Metric]:
        members = {
            "function": staticmethod(function),
            "arguments": {name: argument for name, (argument, _) in pairs.items()},
            "column_features": {name: feature for name, (_, feature) in pairs.items()},
            "__doc__": metric_class.__doc__,
            "__module__": metric_class.__module__,
        }
        return type(metric_class.__name__, (_FunctionMetric, metric_class), members)

    return decorate


class _FunctionMetric:
    """Methods that `metric` adds to a class.

    Not itself an `evaluate.Metric`: `evaluate.load` would take it for the metric of the file.
    """

    function: ClassVar[Callable[..., dict]]
    arguments: ClassVar[dict[str, str]]
    column_features: ClassVar[dict[str, Any]]

    def _info(self) -> evaluate.MetricInfo:
        summary, _, details = (inspect.getdoc(self.function) or "").partition("\n\n")
        renamed = [f"`{column}`: the argument `{name}`." for column, name in self.arguments.items() if column != name]
        return evaluate.MetricInfo(
            description=" ".join(summary.split()),
            citation="",
            inputs_description="\n".join(["", *renamed, "", details, ""]),
            features=datasets.Features(self.column_features),
        )

    def add_batch(self, **columns: Any) -> None:
        """Add several items, one entry per item in each column. Spans may carry more fields, which are not stored."""
        super().add_batch(**{name: self._storable(name, column) for name, column in columns.items()})

    def add(self, *, prediction: Any = None, reference: Any = None, **columns: Any) -> None:
        """Add one item, its entry in each column. Spans may carry more fields, which are not stored."""
        others = {name: [entry] for name, entry in columns.items()}
        self.add_batch(predictions=[prediction], references=[reference], **others)

    def _storable(self, name: str, column: Any) -> Any:
        if self.column_features.get(name) is SPANS:
            documents = as_documents(column, name)
            return [[dict(zip(SPAN_FIELDS, span)) for span in document] for document in documents]
        return _as_lists(column)

    def _compute(self, **inputs: Any) -> dict[str, Any]:
        return self.function(**{self.arguments.get(name, name): value for name, value in inputs.items()})


def _as_lists(values: Any) -> Any:
    """Convert arrays, tensors and tuples to lists, at any depth."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (list, tuple)):
        return [_as_lists(value) for value in values]
    return values


def as_vector(values: Numbers, name: str = "values", size: int | None = None) -> Vector:
    """Return `values` as a float64 vector.

    Args:
        values: a list, tuple, array or CPU tensor of numbers.
        name: their name in error messages.
        size: the required length, if any.

    Raises:
        ValueError: not numbers, not one-dimensional, not finite, or of another size.
    """
    vector = _as_floats(values, name)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be one row of numbers, found {vector.ndim} dimensions")
    if size is not None and vector.size != size:
        raise ValueError(f"{name} must hold {size} numbers, found {vector.size}")
    return vector


def as_matrix(values: Numbers, name: str = "values", shape: tuple[int | None, int | None] = (None, None)) -> np.ndarray:
    """Return `values` as a float64 matrix. `None` in `shape` allows any size.

    Raises:
        ValueError: not numbers in rows of equal length, not finite, or of another shape.
    """
    matrix = _as_floats(values, name)
    if matrix.size == 0 and matrix.ndim < 2:
        matrix = matrix.reshape(0, shape[1] or 0)
    if matrix.ndim != 2:
        raise ValueError(f"{name} must be rows of numbers, found {matrix.ndim} dimensions")
    if any(required not in (None, size) for required, size in zip(shape, matrix.shape)):
        required = " x ".join("any" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} must have the shape {required}, found {matrix.shape[0]} x {matrix.shape[1]}")
    return matrix


def _as_floats(values: Numbers, name: str) -> np.ndarray:
    try:
        array = np.asarray(values if hasattr(values, "__array__") else list(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must hold numbers in rows of equal length, found {type(values).__name__} of something else"
        ) from None
    infinite = int(np.sum(~np.isfinite(array)))
    if infinite:
        raise ValueError(f"{name} must be finite, found {infinite} NaN or infinite of {array.size}")
    return array


def as_probabilities(values: Numbers, name: str = "probabilities", size: int | None = None) -> Vector:
    """Return `values` as a float64 vector of numbers in [0, 1].

    Raises:
        ValueError: some are outside [0, 1], or as `as_vector`.
    """
    return _in_unit_interval(as_vector(values, name, size), name)


def as_probability_matrix(
    values: Numbers, name: str = "probabilities", shape: tuple[int | None, int | None] = (None, None)
) -> np.ndarray:
    """Return `values` as a float64 matrix of numbers in [0, 1]. `None` in `shape` allows any size.

    Raises:
        ValueError: some are outside [0, 1], or as `as_matrix`.
    """
    return _in_unit_interval(as_matrix(values, name, shape), name)


def _in_unit_interval(values: np.ndarray, name: str) -> np.ndarray:
    outside = int(np.sum((values < 0) | (values > 1)))
    if outside:
        raise ValueError(f"{name} must lie in [0, 1], found {outside} of {values.size} outside")
    return values


def as_flags(values: Numbers, name: str = "flags", size: int | None = None) -> np.ndarray:
    """Return booleans, or numbers 0 and 1, as a vector of booleans.

    Raises:
        ValueError: another value, not one-dimensional, or of another size.
    """
    vector = as_vector(values, name, size)
    others = int(np.sum((vector != 0) & (vector != 1)))
    if others:
        raise ValueError(f"{name} must be true or false, found {others} other values")
    return vector == 1


def as_range(span: Sequence[int], length: int, name: str = "span") -> tuple[int, int]:
    """Return the `(start, end)` of an entity in a text of `length` characters, `end` exclusive, as integers.

    Raises:
        ValueError: not two whole numbers with 0 <= start < end <= length.
    """
    bounds = as_vector(span, name, 2)
    start, end = int(bounds[0]), int(bounds[1])
    if (start, end) != tuple(bounds) or not 0 <= start < end <= length:
        raise ValueError(f"{name} needs whole 0 <= start < end <= {length}, found {bounds[0]:g} and {bounds[1]:g}")
    return start, end


def same_count(**columns: Sequence | None) -> int:
    """Return the number of items in the columns, which must be the same for all. `None` columns are ignored.

    Raises:
        ValueError: the numbers differ.
    """
    counts = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"all columns must have the same number of items, found {listed}")
    return next(iter(counts.values()))


def mean_or_nan(values: Numbers) -> float:
    """Return the mean of `values`, NaN if there are none."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.mean()) if values.size else float("nan")


def as_span(span: Any) -> SpanTuple:
    """Return a span as `(start, end, label)`, in characters with `end` exclusive.

    Args:
        span: a triple, or a mapping or object with these fields; other fields, such as `text`, are ignored.

    Raises:
        ValueError: a field is missing, the positions are not integers with 0 <= start < end, or the label is not a
            string.
    """
    start, end, label = _span_fields(span)
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


def _span_fields(span: Any) -> tuple[Any, Any, Any]:
    try:
        if isinstance(span, Mapping):
            return tuple(span[name] for name in SPAN_FIELDS)
        if hasattr(span, "label"):
            return tuple(getattr(span, name) for name in SPAN_FIELDS)
        start, end, label = span
        return start, end, label
    except (AttributeError, KeyError):
        raise ValueError(
            f"a span needs {', '.join(SPAN_FIELDS)}; a field is missing from a {type(span).__name__}"
        ) from None
    except (TypeError, ValueError):
        raise ValueError(
            f"a span must be (start, end, label) or have fields of these names, found {type(span).__name__}"
        ) from None


def as_documents(documents: Documents, name: str = "spans") -> list[list[SpanTuple]]:
    """Return the spans of every document as `(start, end, label)`.

    Raises:
        ValueError: a span is malformed (see `as_span`); the message has its position, as in `name[document][span]`.
    """
    return [_as_document(document, f"{name}[{index}]") for index, document in enumerate(documents)]


def _as_document(document: Iterable[Any], name: str) -> list[SpanTuple]:
    spans = []
    for index, span in enumerate(document):
        try:
            spans.append(as_span(span))
        except ValueError as error:
            raise ValueError(f"{name}[{index}]: {error}") from None
    return spans


def paired_documents(predictions: Documents, references: Documents) -> list[tuple[list[SpanTuple], list[SpanTuple]]]:
    """Return the `(predicted, gold)` spans of every document.

    Raises:
        ValueError: different numbers of documents, or a malformed span.
    """
    predicted, gold = as_documents(predictions, "predictions"), as_documents(references, "references")
    if len(predicted) != len(gold):
        raise ValueError(f"predictions cover {len(predicted)} documents, references {len(gold)}; they must be the same")
    return list(zip(predicted, gold))


class MatchCounts:
    """Counts of matched, predicted and gold items per group, summed over documents.

    Items match within a document where group and item are equal. Matching is the intersection of two multisets: it does
    not depend on the order, and two equal predictions never both match one gold item.

    Args:
        pairs: per document the predicted and the gold `(group, item)`.
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
        """The groups in predictions or gold, sorted."""
        return sorted(self.predicted.keys() | self.support.keys())

    def scores(self, group: str, zero_division: float = 0.0) -> dict[str, float]:
        """Return the `f1_scores` of one group."""
        return f1_scores(self.correct[group], self.predicted[group], self.support[group], zero_division)

    def total_scores(self, zero_division: float = 0.0) -> dict[str, float]:
        """Return the micro-averaged `f1_scores` over all groups."""
        return f1_scores(self.correct.total(), self.predicted.total(), self.support.total(), zero_division)


def f1_scores(correct: int, predicted: int, support: int, zero_division: float = 0.0) -> dict[str, float]:
    """Compute precision, recall and F1 from counts.

    Precision is `zero_division` without predictions, recall is `zero_division` without gold, and F1 is 0 where both are
    0, as in seqeval and scikit-learn.

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
