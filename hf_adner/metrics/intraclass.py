"""Intraclass correlation: the share of the variance of explanations that is between instances, not perturbations."""

from collections.abc import Sequence

import evaluate
import numpy as np

from .inputs import INTEGER, ROW, Numbers, as_matrix, as_vector, mean_or_nan, metric, same_count
from .similarity import CONSTANT_SPREAD

MIN_VIEWS = 4


def intraclass_correlation(
    values: Numbers, instances: Sequence[int], present: Numbers | None = None, min_views: int = MIN_VIEWS
) -> dict[str, float]:
    """Compute the intraclass correlation ICC(1) of explanations: variance between instances against within their views.

    ICC(1) = (MSB - MSW) / (MSB + (R - 1) MSW) of a one-way analysis of variance, clipped to [0, 1] (Shrout & Fleiss
    1979). MSB and MSW are the mean squares between instances and within their views (perturbations), pooled over the
    columns; R is the number of views, in an unbalanced table its usual mean n0. Higher is better: a constant
    explanation, or one that depends on the column alone, has no variance between instances and scores 0.

    Args:
        values: (views, columns), such as role windows, or (views,) for one number per view; on one scale for all
            instances, since scale differences between instances count as variance between them.
        instances: (views,) number of the instance of each view.
        present: (views, columns) booleans, as from `similarity.role_window`; absent values are ignored. All by default.
        min_views: instances with fewer views are left out; at least 2.

    Returns:
        `icc` (NaN with fewer than two instances), `between_mean_square`, `within_mean_square`; `instances`, `kept` and
        `coverage` = kept / instances.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, `min_views` below 2.
    """
    if min_views < 2:
        raise ValueError(f"min_views must be at least 2, found {min_views}")
    rows = _as_rows(values)
    present = np.ones(rows.shape) if present is None else as_matrix(present, "present", rows.shape)
    same_count(values=rows, instances=instances)
    _, groups, views = np.unique(as_vector(instances, "instances"), return_inverse=True, return_counts=True)
    kept = views >= min_views
    used = kept[groups]
    between, within, size = _mean_squares(rows[used], present[used] > 0, groups[used], len(views))
    rounding = (CONSTANT_SPREAD * np.abs(rows).max(initial=0.0)) ** 2
    return {
        "icc": 0.0 if between <= rounding else _correlation(between, within, size),
        "between_mean_square": between,
        "within_mean_square": within,
        "instances": len(views),
        "kept": int(kept.sum()),
        "coverage": mean_or_nan(kept),
    }


@metric(intraclass_correlation, predictions=("values", ROW), references=("instances", INTEGER))
class IntraclassCorrelation(evaluate.Metric):
    """`intraclass_correlation` as an `evaluate.Metric`: predictions are rows of views, references their instances."""


def _as_rows(values: Numbers) -> np.ndarray:
    flat = hasattr(values, "__len__") and len(values) and np.ndim(values[0]) == 0
    return as_vector(values, "values")[:, None] if flat else as_matrix(values, "values")


def _mean_squares(rows: np.ndarray, present: np.ndarray, groups: np.ndarray, number: int) -> tuple[float, float, float]:
    """Return the mean squares between and within `number` groups and the mean group size n0, pooled over columns."""
    sizes = _group_sums(present, groups, number)  # (groups, columns)
    totals = sizes.sum(axis=0)
    grand_mean = _divided(np.where(present, rows, 0.0).sum(axis=0), totals)
    centred = np.where(present, rows - grand_mean, 0.0)  # centring first keeps the squares accurate
    means = _divided(_group_sums(centred, groups, number), sizes)
    freedom_between = np.maximum((sizes > 0).sum(axis=0) - 1, 0)
    freedom_within = totals - (sizes > 0).sum(axis=0)
    squares_between = (sizes * means**2).sum()
    squares_within = (np.where(present, centred - means[groups], 0.0) ** 2).sum()
    size = (totals - _divided((sizes**2).sum(axis=0), totals)).sum()
    return (
        _ratio(squares_between, freedom_between.sum()),
        _ratio(squares_within, freedom_within.sum()),
        _ratio(size, freedom_between.sum()),
    )


def _correlation(between: float, within: float, size: float) -> float:
    if np.isnan(between) or np.isnan(within):
        return float("nan")
    total = between + (size - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 0.0


def _group_sums(rows: np.ndarray, groups: np.ndarray, number: int) -> np.ndarray:
    sums = np.zeros((number, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return sums


def _divided(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    out = np.zeros_like(numerators, dtype=np.float64)
    return np.divide(numerators, denominators, out=out, where=denominators > 0)


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")
