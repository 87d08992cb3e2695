"""Soft faithfulness: comprehensiveness and sufficiency with embeddings masked in proportion to importance.

Every dimension of a character's embedding is kept with a probability equal to the character's importance (sufficiency)
or its complement (comprehensiveness), so that no top share has to be chosen (Zhao & Aletras, ACL 2023).
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import NUMBER, ROW, Numbers, Vector, as_probabilities, mean_or_nan, metric, same_count


def soft_faithfulness(
    full: Numbers, empty: Numbers, softly_removed: Sequence[Numbers], softly_kept: Sequence[Numbers]
) -> dict[str, Any]:
    """Compute mean soft normalised comprehensiveness and sufficiency (Soft-NC, Soft-NS) over entities.

    With S = 1 - max(0, p(x) - p(x')) averaged over the draws and S0 that of the zero input (Carton et al., EMNLP
    2020): Soft-NS = (S_kept - S0) / (1 - S0) and Soft-NC = (1 - S_removed) / (1 - S0), both clipped to [0, 1], higher
    is better. Where the zero input is as probable as x, or more, 1 - S0 is 0 and nothing can be lost: both score 0 and
    the entity does not count as defined.

    Args:
        full: (entities,) p(x).
        empty: (entities,) p of the zero input.
        softly_removed: per entity p of the draws (10 or more) that keep each dimension with probability
            1 - importance / max.
        softly_kept: per entity p of the draws that keep each dimension with probability importance / max.

    Returns:
        `soft_comprehensiveness`, `soft_sufficiency` (NaN without entities); `entities`, `defined` and `coverage` =
        defined / entities; `per_entity`, (Soft-NC, Soft-NS) of each.

    Raises:
        ValueError: columns of different lengths, no draws, or not probabilities.
    """
    same_count(full=full, empty=empty, softly_removed=softly_removed, softly_kept=softly_kept)
    full, empty = as_probabilities(full, "full"), as_probabilities(empty, "empty")
    scale = np.maximum(0.0, full - empty)  # 1 - S0
    removed = _mean_losses(full, softly_removed, "softly_removed")
    kept = _mean_losses(full, softly_kept, "softly_kept")
    comprehensiveness, sufficiency = _clipped_ratio(removed, scale), _clipped_ratio(scale - kept, scale)
    return {
        "soft_comprehensiveness": mean_or_nan(comprehensiveness),
        "soft_sufficiency": mean_or_nan(sufficiency),
        "entities": full.size,
        "defined": int(np.sum(scale > 0)),
        "coverage": mean_or_nan(scale > 0),
        "per_entity": list(zip(comprehensiveness.tolist(), sufficiency.tolist())),
    }


def _mean_losses(full: Vector, draws: Sequence[Numbers], name: str) -> Vector:
    """Return (entities,) 1 - S: the mean over the draws of max(0, p(x) - p(x'))."""
    losses = np.zeros(full.size)
    for index, row in enumerate(draws):
        row = as_probabilities(row, f"{name}[{index}]")
        if not row.size:
            raise ValueError(f"{name}[{index}] must hold at least one draw, found none")
        losses[index] = np.maximum(0.0, full[index] - row).mean()
    return losses


def _clipped_ratio(parts: Vector, wholes: Vector) -> Vector:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0).clip(0, 1)


@metric(
    soft_faithfulness, predictions=("full", NUMBER), references=("empty", NUMBER), softly_removed=ROW, softly_kept=ROW
)
class SoftFaithfulness(evaluate.Metric):
    """`soft_faithfulness` as an `evaluate.Metric`: predictions are p of whole inputs, references p of zero inputs."""
