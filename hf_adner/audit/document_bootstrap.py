"""Means over entities with intervals over documents: entities of one document are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_adner.metrics.significance import LEVEL, bootstrap_statistic

RESAMPLES = 2000


def mean_over_entities(
    values: Sequence[float | None] | np.ndarray,
    documents: Sequence[int],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The mean of the values that there are, with the percentile interval from resampled documents.

    Args:
        values: (entities,) numbers; None or NaN where there is none.
        documents: (entities,) the document of each.
        level: of the interval.
        resamples: how many.
        seed: of the resampling.

    Returns:
        `mean`, `low`, `high`, and `entities`, how many there are; the first three None without any.
    """
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        return {"mean": None, "low": None, "high": None, "entities": 0}
    _, group = np.unique(np.asarray(documents)[known], return_inverse=True)
    sums, counts = np.bincount(group, numbers[known]), np.bincount(group)

    def mean(drawn: np.ndarray) -> float:
        return sums[drawn].sum() / counts[drawn].sum()

    found = bootstrap_statistic(len(sums), mean, level, resamples, seed)
    return {"mean": found["value"], "low": found["low"], "high": found["high"], "entities": int(known.sum())}
