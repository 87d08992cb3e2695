"""Randomisation check: an explanation of a model must change when the model's weights are thrown away.

An explanation that survives depends on the text alone, however stable and plausible it is (Adebayo et al., NeurIPS
2018).
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, NumberInputs, Numbers, as_vector, mean_or_nan, same_count
from .similarity import is_constant, spearman, top_k_jaccard

SUMMARY = "Rank agreement of attribution maps of a trained model with those of the same model with random weights."
INPUTS = """
Args:
    predictions: per entity its map by the randomised model, one number per character.
    references: per entity its map by the trained model.
    k: size of the top sets (default max(3, a tenth of the text)).
Returns:
    rank_agreement, absolute_rank_agreement, top_k_jaccard, chance_jaccard, constant, entities, per_entity.
"""


def randomisation(trained: Sequence[Numbers], randomised: Sequence[Numbers], k: int | None = None) -> dict[str, Any]:
    """Agreement of the maps of a trained and a weight-randomised model, entity by entity.

    Args:
        trained: per entity the map of the trained model, (L,).
        randomised: per entity the map of the randomised model for the same entity of the same text, (L,).
        k: size of the top sets; `similarity.default_top` by default.

    Returns:
        `rank_agreement`, mean Spearman in [-1, 1], and `absolute_rank_agreement`, mean of its magnitude in [0, 1]: a
        map of the model should be near 0 in the first, and in the second near what chance gives at that length.
        `top_k_jaccard` [0, 1] beside `chance_jaccard`, k / (2 L - k) on average. `constant`, the share of entities
        where either map is constant: these score 0 without passing anything. `entities`; `per_entity`, Spearman of
        each. NaN without entities.

    Raises:
        ValueError: different numbers of maps, maps of one entity of different lengths, or numbers that are not finite.
    """
    same_count(trained=trained, randomised=randomised)
    rows = []
    for index, (mine, other) in enumerate(zip(trained, randomised)):
        mine = as_vector(mine, f"trained[{index}]")
        other = as_vector(other, f"randomised[{index}]", mine.size)
        overlap = top_k_jaccard(mine, other, k)
        chance = top_k_jaccard(np.ones(mine.size), np.arange(mine.size), k)
        rows.append((spearman(mine, other), overlap, chance, is_constant(mine) or is_constant(other)))
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


class Randomisation(NumberInputs, evaluate.Metric):
    """`randomisation` as an `evaluate.Metric`: maps of the randomised model as predictions."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": ROW, "references": ROW}

    def _compute(self, predictions, references, k=None) -> dict[str, Any]:
        return randomisation(references, predictions, k)
