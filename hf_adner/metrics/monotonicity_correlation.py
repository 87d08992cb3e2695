"""Monotonicity correlation: are the characters with high scores those whose random replacement changes the model?"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, as_matrix, as_vector, mean_or_nan, metric, same_count
from .similarity import is_constant, spearman


def monotonicity_correlation(maps: Sequence[Numbers], changes: Sequence[Numbers]) -> dict[str, Any]:
    """Compute the mean rank correlation of maps with the mean squared change under random replacements.

    For each character that is the Spearman correlation of |a_t| with the mean over draws of (f(x) - f(x'))^2, where x'
    has the character replaced (Nguyen & Martinez, arXiv 2007.07584). They divide by f(x)^2,
    which changes no rank. It is over the whole text, where much of the agreement is nearness to the entity.

    Args:
        maps: per entity its map, (L,).
        changes: per entity the changes of the prediction, (draws, L), one draw at least.

    Returns:
        `monotonicity_correlation`, the mean over entities in [-1, 1], higher is better, NaN without any; `constant`,
        the share of rank correlations that were undefined and count 0; `entities`; `per_entity`.

    Raises:
        ValueError: columns of different lengths, no draw, or rows that do not fit their map or are not finite.
    """
    same_count(maps=maps, changes=changes)
    pairs = [_pair(index, *row) for index, row in enumerate(zip(maps, changes))]
    scores = [spearman(*pair) for pair in pairs]
    return {
        "monotonicity_correlation": mean_or_nan(scores),
        "constant": mean_or_nan([any(map(is_constant, pair)) for pair in pairs]),
        "entities": len(scores),
        "per_entity": scores,
    }


@metric(monotonicity_correlation, predictions=("maps", ROW), references=("changes", [ROW]))
class MonotonicityCorrelation(evaluate.Metric):
    """`monotonicity_correlation` as an `evaluate.Metric`: predictions are maps, references changes."""


def _pair(index: int, values: Numbers, changes: Numbers) -> tuple[np.ndarray, np.ndarray]:
    values = np.abs(as_vector(values, f"maps[{index}]"))
    changes = as_matrix(changes, f"changes[{index}]", (None, values.size))
    if not len(changes):
        raise ValueError(f"changes[{index}] must hold at least one draw, found none")
    return values, (changes**2).mean(axis=0)
