"""Monotonicity of explanations: does every character, added from the least to the most important, help?"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, as_vector, mean_or_nan, metric


def monotonicity(curves: Sequence[Numbers]) -> dict[str, Any]:
    """Compute the share of entities whose probability never falls while the text is restored (Arya et al. 2019).

    Arya et al. (arXiv 1909.03012) restore the features of an empty input in the order of increasing
    importance; the probability of the class should rise with each, or at least not fall.

    Args:
        curves: per entity the probabilities after each step, from the step that restores the least important characters
            to the whole text, (steps,).

    Returns:
        `monotonicity`, the share of entities without any fall, in [0, 1], higher is better; `rising`, the mean share of
        steps that are no fall, in [0, 1] (1 for a curve of one step); both NaN without entities. `entities`;
        `per_entity`, whether there is no fall, 1 or 0.

    Raises:
        ValueError: a curve that is empty or not a finite vector.
    """
    rises = [_rises(as_vector(values, f"curves[{index}]"), index) for index, values in enumerate(curves)]
    scores = [float(rise.all()) for rise in rises]
    shares = [float(rise.mean()) if rise.size else 1.0 for rise in rises]
    return {
        "monotonicity": mean_or_nan(scores),
        "rising": mean_or_nan(shares),
        "entities": len(scores),
        "per_entity": scores,
    }


@metric(monotonicity, predictions=("curves", ROW))
class Monotonicity(evaluate.Metric):
    """`monotonicity` as an `evaluate.Metric`: predictions are curves of probabilities."""


def _rises(curve: np.ndarray, index: int) -> np.ndarray:
    """Return whether each step from a value of the curve to the next is no fall, (steps - 1,)."""
    if not curve.size:
        raise ValueError(f"curves[{index}] must hold at least one number, found none")
    return np.diff(curve) >= 0
