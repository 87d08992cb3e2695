"""Intraclass correlation: how much of the variance of explanations lies between instances rather than perturbations."""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import INTEGER, ROW, NumberInputs, Numbers, as_matrix, as_vector, same_count
from .similarity import CONSTANT_SPREAD

SUMMARY = "Intraclass correlation ICC(1) of explanations: variance between instances against within perturbations."
INPUTS = """
Args:
    predictions: per view one row of numbers, all rows of one length (an explanation in role cells, say).
    references: per view the number of the instance it is a view of.
    present: per view which of its numbers exist (default all).
    min_views: instances with fewer views are left out (default 4).
Returns:
    icc, between_mean_square, within_mean_square, instances, kept, coverage.
"""

MIN_VIEWS = 4


def intraclass_correlation(
    values: Numbers, instances: Sequence[int], present: Numbers | None = None, min_views: int = MIN_VIEWS
) -> dict[str, float]:
    """(MSB - MSW) / (MSB + (R - 1) MSW) of a one-way analysis of variance, clipped to [0, 1].

    MSB and MSW are the mean squares between instances and within their views, pooled over the cells of a row; R is the
    number of views, in an unbalanced table its usual mean n0 (Shrout & Fleiss 1979, ICC(1)). Higher is better: a
    constant explanation, or one that depends on the cell alone, has no variance between instances and scores 0.

    Args:
        values: (views, cells), or (views,) for one number per view; of one scale for all instances, since
            scale differences between instances count as variance between them.
        instances: (views,) the instance each is a view of.
        present: (views, cells) booleans, as from `role_windows.role_window`; an absent value counts nowhere.
        min_views: instances with fewer views are left out, at least 2.

    Returns:
        `icc` (NaN with fewer than two instances), `between_mean_square`, `within_mean_square`; `instances`, `kept` and
        `coverage` = kept / instances.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, `min_views` below 2.
    """
    if min_views < 2:
        raise ValueError(f"min_views must be at least 2, found {min_views}")
    rows = _as_rows(values)
    there = np.ones(rows.shape) if present is None else as_matrix(present, "present", rows.shape)
    same_count(values=rows, instances=instances)
    _, groups, views = np.unique(as_vector(instances, "instances"), return_inverse=True, return_counts=True)
    kept = views >= min_views
    chosen = kept[groups]
    between, within, size = _mean_squares(rows[chosen], there[chosen] > 0, groups[chosen], len(views))
    rounding = (CONSTANT_SPREAD * np.abs(rows).max(initial=0.0)) ** 2
    return {
        "icc": 0.0 if between <= rounding else _correlation(between, within, size),
        "between_mean_square": between,
        "within_mean_square": within,
        "instances": len(views),
        "kept": int(kept.sum()),
        "coverage": float(kept.mean()) if len(views) else float("nan"),
    }


def _as_rows(values: Numbers) -> np.ndarray:
    flat = hasattr(values, "__len__") and len(values) and np.ndim(values[0]) == 0
    return as_vector(values, "values")[:, None] if flat else as_matrix(values, "values")


def _mean_squares(rows: np.ndarray, there: np.ndarray, groups: np.ndarray, number: int) -> tuple[float, float, float]:
    """Mean square between and within groups and the mean group size n0, pooled over cells."""
    sizes = _group_sums(there, groups, number)  # (groups, cells)
    totals = sizes.sum(axis=0)
    grand = _divided(np.where(there, rows, 0.0).sum(axis=0), totals)
    centred = np.where(there, rows - grand, 0.0)  # centring first keeps the squares accurate
    means = _divided(_group_sums(centred, groups, number), sizes)
    free_between = np.maximum((sizes > 0).sum(axis=0) - 1, 0)
    free_within = totals - (sizes > 0).sum(axis=0)
    squares_between = (sizes * means**2).sum()
    squares_within = (np.where(there, centred - means[groups], 0.0) ** 2).sum()
    size = (totals - _divided((sizes**2).sum(axis=0), totals)).sum()
    return (
        _ratio(squares_between, free_between.sum()),
        _ratio(squares_within, free_within.sum()),
        _ratio(size, free_between.sum()),
    )


def _correlation(between: float, within: float, size: float) -> float:
    if np.isnan(between) or np.isnan(within):
        return float("nan")
    whole = between + (size - 1) * within
    return float(np.clip((between - within) / whole, 0, 1)) if whole > 0 else 0.0


def _group_sums(rows: np.ndarray, groups: np.ndarray, number: int) -> np.ndarray:
    sums = np.zeros((number, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return sums


def _divided(numbers: np.ndarray, by: np.ndarray) -> np.ndarray:
    return np.divide(numbers, by, out=np.zeros_like(numbers, dtype=np.float64), where=by > 0)


def _ratio(number: float, by: float) -> float:
    return float(number / by) if by > 0 else float("nan")


class IntraclassCorrelation(NumberInputs, evaluate.Metric):
    """`intraclass_correlation` as an `evaluate.Metric`: rows of views as predictions, instances as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": ROW, "references": INTEGER}

    def _compute(self, predictions, references, present=None, min_views=MIN_VIEWS) -> dict[str, Any]:
        return intraclass_correlation(predictions, references, present, min_views)
