"""Vectors of numbers as metrics take them: float64, finite, of the shape that was asked for.

Everything else is refused with an error that names the argument and says what was found. Numbers themselves appear in
no message, so that no explanation of a note leaks into a log.

What an `evaluate.Metric` over numbers takes: columns of numbers and of rows of numbers, one entry per entity.

Lists, tuples, arrays and tensors will do. An entry may be `None` where a metric says what that means.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import datasets
import evaluate
import numpy as np

Numbers: TypeAlias = Any
Vector: TypeAlias = np.ndarray


def as_vector(values: Numbers, name: str = "values", size: int | None = None) -> Vector:
    """`values` as a float64 vector.

    Args:
        values: a list, tuple, array or CPU tensor of numbers.
        name: what an error calls them.
        size: how many there must be, if that is known.

    Raises:
        ValueError: not numbers, not one-dimensional, not finite, or another size.
    """
    vector = _as_floats(values, name)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be one row of numbers, found {vector.ndim} dimensions")
    if size is not None and vector.size != size:
        raise ValueError(f"{name} must hold {size} numbers, found {vector.size}")
    return vector


def as_matrix(values: Numbers, name: str = "values", shape: tuple[int | None, int | None] = (None, None)) -> np.ndarray:
    """`values` as a float64 matrix; `None` in `shape` leaves that side open.

    Raises:
        ValueError: not numbers in rows of equal length, not finite, or another shape.
    """
    matrix = _as_floats(values, name)
    if matrix.size == 0 and matrix.ndim < 2:
        matrix = matrix.reshape(0, shape[1] or 0)
    if matrix.ndim != 2:
        raise ValueError(f"{name} must be rows of numbers, found {matrix.ndim} dimensions")
    if any(wanted is not None and wanted != found for wanted, found in zip(shape, matrix.shape)):
        wanted = " x ".join("any" if side is None else str(side) for side in shape)
        raise ValueError(f"{name} must have the shape {wanted}, found {matrix.shape[0]} x {matrix.shape[1]}")
    return matrix


def as_vectors(rows: Sequence[Numbers], name: str = "rows") -> list[Vector]:
    """Rows of numbers, each of its own length.

    Raises:
        ValueError: a row is no finite vector; the error says which.
    """
    return [as_vector(row, f"{name}[{index}]") for index, row in enumerate(rows)]


def as_probabilities(values: np.ndarray, name: str = "probabilities") -> np.ndarray:
    """`values` unchanged, an array of any shape, once they are known to lie in [0, 1].

    Raises:
        ValueError: some lie outside.
    """
    outside = int(np.sum((values < 0) | (values > 1)))
    if outside:
        raise ValueError(f"{name} must lie in [0, 1], found {outside} of {values.size} outside")
    return values


def as_flags(values: Numbers, name: str = "flags", size: int | None = None) -> np.ndarray:
    """`values` as a vector of booleans; 0 and 1 will do.

    Raises:
        ValueError: another value, not one-dimensional, or another size.
    """
    vector = as_vector(values, name, size)
    others = int(np.sum((vector != 0) & (vector != 1)))
    if others:
        raise ValueError(f"{name} must be true or false, found {others} other values")
    return vector == 1


def as_range(span: Sequence[int], length: int, name: str = "span") -> tuple[int, int]:
    """The `(start, end)` of an entity in a text of `length` characters, `end` exclusive.

    Raises:
        ValueError: not two whole numbers with 0 <= start < end <= length.
    """
    bounds = as_vector(span, name, 2)
    start, end = int(bounds[0]), int(bounds[1])
    if (start, end) != tuple(bounds) or not 0 <= start < end <= length:
        raise ValueError(f"{name} needs whole 0 <= start < end <= {length}, found {bounds[0]:g} and {bounds[1]:g}")
    return start, end


def same_count(**columns: Sequence | None) -> int:
    """How many items the columns hold, which must be the same for all; those that are `None` do not count.

    Raises:
        ValueError: they differ; the error names all with their counts.
    """
    counts = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"one item per entity is needed in each, found {found}")
    return next(iter(counts.values()))


def mean_or_nan(values: Numbers) -> float:
    """The plain mean; NaN, the number that says there is none, where there are no values."""
    values = np.asarray(values, dtype=np.float64)
    return float(values.mean()) if values.size else float("nan")


def _as_floats(values: Numbers, name: str) -> np.ndarray:
    try:
        array = np.asarray(values if hasattr(values, "__array__") else list(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must hold numbers in rows of equal length, found {type(values).__name__} of something else"
        ) from None
    strange = int(np.sum(~np.isfinite(array)))
    if strange:
        raise ValueError(f"{name} must be finite, found {strange} NaN or infinite of {array.size}")
    return array


NUMBER = datasets.Value("float64")
INTEGER = datasets.Value("int64")
WORD = datasets.Value("string")
ROW = [NUMBER]
INTEGER_ROW = [INTEGER]
ROWS = [[NUMBER]]


class NumberInputs:
    """Columns of an `evaluate.Metric`, as `columns`: name -> feature.

    Put before `evaluate.Metric` among the bases, with `summary`, `inputs` and `columns` as class attributes.
    """

    summary: ClassVar[str]
    inputs: ClassVar[str]
    columns: ClassVar[dict[str, Any]]

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.summary,
            citation="",
            inputs_description=self.inputs,
            features=datasets.Features(self.columns),
        )

    def add_batch(self, **columns) -> None:
        """Add several entities: one entry of every column for each."""
        super().add_batch(**{name: plain(column) for name, column in columns.items()})


def plain(values: Any) -> Any:
    """Arrays, tensors and tuples as lists, to any depth; everything else as it is."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    return values
