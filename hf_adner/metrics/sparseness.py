"""Sparseness of explanations: the Gini index of the magnitudes of a map.

It describes how few characters an explanation names, not whether they are the right ones: a map that names one
character at random is as sparse as a map can be.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, as_vector, mean_or_nan, metric


def sparseness(maps: Sequence[Numbers]) -> dict[str, Any]:
    """Compute the mean Gini index of the magnitudes of maps (Chalasani et al., ICML 2020).

    With the magnitudes of a map sorted, v_1 <= ... <= v_L, that is sum over k of (2 k - L - 1) v_k / (L sum of v).
    Range [0, 1 - 1 / L], 0 for a constant map (and one of zeros), 1 - 1 / L for a map that names one character.

    Args:
        maps: per entity its map, (L,).

    Returns:
        `sparseness`, the mean over entities, NaN without any; `entities`; `per_entity`.

    Raises:
        ValueError: a map that is not a finite vector.
    """
    scores = [_gini(np.abs(as_vector(values, f"maps[{index}]"))) for index, values in enumerate(maps)]
    return {"sparseness": mean_or_nan(scores), "entities": len(scores), "per_entity": scores}


@metric(sparseness, predictions=("maps", ROW))
class Sparseness(evaluate.Metric):
    """`sparseness` as an `evaluate.Metric`: predictions are maps."""


def _gini(magnitudes: np.ndarray) -> float:
    largest = magnitudes.max(initial=0.0)
    if not largest:
        return 0.0
    shares = np.sort(magnitudes / largest)  # sums of large numbers must not overflow
    weights = 2 * np.arange(1, shares.size + 1) - shares.size - 1
    return float(weights @ shares / (shares.size * shares.sum()))
