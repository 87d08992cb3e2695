"""Complexity of explanations: the entropy of the shares that the characters have in a map.

It describes over how many characters an explanation spreads, not whether they are the right ones.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, as_vector, mean_or_nan, metric


def complexity(maps: Sequence[Numbers]) -> dict[str, Any]:
    """Compute the mean entropy of maps (Bhatt, Weller & Moura, IJCAI 2020), in nats.

    With the shares p_t = |a_t| / sum of |a| that is -(sum over t of p_t ln p_t). Range [0, ln L]: 0 for a map that
    names one character, ln L for a constant map, and for one of zeros, which names none above the others.

    Args:
        maps: per entity its map, (L,).

    Returns:
        `complexity`, the mean over entities, NaN without any; `entities`; `per_entity`.

    Raises:
        ValueError: a map that is empty or not a finite vector.
    """
    scores = [_entropy(np.abs(as_vector(values, f"maps[{index}]")), index) for index, values in enumerate(maps)]
    return {"complexity": mean_or_nan(scores), "entities": len(scores), "per_entity": scores}


@metric(complexity, predictions=("maps", ROW))
class Complexity(evaluate.Metric):
    """`complexity` as an `evaluate.Metric`: predictions are maps."""


def _entropy(magnitudes: np.ndarray, index: int) -> float:
    if not magnitudes.size:
        raise ValueError(f"maps[{index}] must hold at least one number, found none")
    largest = magnitudes.max()
    scaled = magnitudes / largest if largest else np.ones_like(magnitudes)  # sums of large numbers must not overflow
    shares = scaled[scaled > 0] / scaled.sum()
    shares = shares[shares > 0]  # the smallest may vanish
    return float(-(shares @ np.log(shares))) + 0.0  # no -0.0
