"""Randomisation check: an explanation of a model must change when the model's weights are randomised.

An explanation that does not change depends on the text alone, however stable and plausible it is (Adebayo et al.,
NeurIPS 2018).
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, as_vector, mean_or_nan, metric, same_count
from .similarity import is_constant, spearman, top_k_jaccard


def randomisation(trained: Sequence[Numbers], randomised: Sequence[Numbers], k: int | None = None) -> dict[str, Any]:
    """Compute the rank agreement of attribution maps of a trained model and of the same model with random weights.

    Args:
        trained: per entity the map of the trained model, (L,).
        randomised: per entity the map of the randomised model for the same entity of the same text, (L,).
        k: size of the top sets; `similarity.top_size` by default.

    Returns:
        `rank_agreement`, mean Spearman in [-1, 1], and `absolute_rank_agreement`, mean of its magnitude in [0, 1]: for
        an explanation that depends on the model, the first is near 0 and the second near its chance level at that
        length. `top_k_jaccard` [0, 1] and `chance_jaccard`, k / (2 L - k) on average. `constant`, the share of entities
        where either map is constant: these score 0 without passing anything. `entities`; `per_entity`, Spearman of
        each. NaN without entities.

    Raises:
        ValueError: different numbers of maps, maps of one entity of different lengths, or numbers that are not finite.
    """
    same_count(trained=trained, randomised=randomised)
    rows = []
    for index, (first, second) in enumerate(zip(trained, randomised)):
        first = as_vector(first, f"trained[{index}]")
        second = as_vector(second, f"randomised[{index}]", first.size)
        overlap = top_k_jaccard(first, second, k)
        chance = top_k_jaccard(np.ones(first.size), np.arange(first.size), k)
        rows.append((spearman(first, second), overlap, chance, is_constant(first) or is_constant(second)))
    ranks, overlaps, chances, constant = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return {
        "rank_agreement": mean_or_nan(ranks),
        "absolute_rank_agreement": mean_or_nan(np.abs(ranks)),
        "top_k_jaccard": mean_or_nan(overlaps),
        "chance_jaccard": mean_or_nan(chances),
        "constant": mean_or_nan(constant),
        "entities": len(rows),
        "per_entity": ranks.tolist(),
    }


@metric(randomisation, predictions=("randomised", ROW), references=("trained", ROW))
class Randomisation(evaluate.Metric):
    """`randomisation` as an `evaluate.Metric`: predictions are maps of the randomised model."""
