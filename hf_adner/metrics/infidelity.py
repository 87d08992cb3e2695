"""Infidelity: how far an attribution is from predicting what random perturbations do to the explained score."""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, NumberInputs, Numbers, Vector, as_vector, mean_or_nan, same_count

SUMMARY = "Infidelity of attributions at their optimal scale, normalised by the variance of the score's changes."
INPUTS = """
Args:
    predictions: per entity, for each drawn perturbation I, the predicted change I . attribution.
    references: per entity, for each drawn perturbation, the measured change f(x) - f(x - I).
Returns:
    infidelity, normalised_infidelity, change_variance, entities, per_entity.
"""


def infidelity(predicted: Sequence[Numbers], measured: Sequence[Numbers]) -> dict[str, Any]:
    """E_I [(b I . Phi - (f(x) - f(x - I)))^2] with the optimal scale b, per entity and over them (Yeh et al. 2019).

    b = sum(I . Phi df) / sum((I . Phi)^2) per entity, 0 where the attribution predicts no change at all; so the scale
    of an attribution does not count. The explained score has a scale of its own: the normalised form divides by the
    variance of df over all draws and entities and can be compared between models.

    Args:
        predicted: per entity I . Phi for each draw.
        measured: per entity df = f(x) - f(x - I) for the same draws.

    Returns:
        `infidelity` and `normalised_infidelity`, means over entities in [0, inf), lower is better, NaN without
        entities; where df never varies the normalised form is 0 if it was predicted exactly, else infinite.
        `change_variance` = Var(df), `entities`, and `per_entity`, the infidelity of each before normalisation.

    Raises:
        ValueError: columns or rows of different lengths, an entity without draws, or numbers that are not finite.
    """
    same_count(predicted=predicted, measured=measured)
    changes, errors = [], []
    for index, (mine, found) in enumerate(zip(predicted, measured)):
        found = as_vector(found, f"measured[{index}]")
        if not found.size:
            raise ValueError(f"measured[{index}] must hold at least one draw, found none")
        changes.append(found)
        errors.append(_squared_error(as_vector(mine, f"predicted[{index}]", found.size), found))
    variance = float(np.concatenate(changes).var()) if changes else float("nan")
    mean = mean_or_nan(errors)
    return {
        "infidelity": mean,
        "normalised_infidelity": mean / variance if variance else (float("inf") if mean else 0.0),
        "change_variance": variance,
        "entities": len(errors),
        "per_entity": errors,
    }


def _squared_error(predicted: Vector, measured: Vector) -> float:
    """Mean squared error of the multiple of `predicted` that comes closest to `measured`."""
    if predicted.any():
        predicted = predicted / np.abs(predicted).max()  # squares must neither overflow nor vanish
        predicted = predicted @ measured / (predicted @ predicted) * predicted
    return float(np.mean((predicted - measured) ** 2))


class Infidelity(NumberInputs, evaluate.Metric):
    """`infidelity` as an `evaluate.Metric`: predicted changes as predictions, measured ones as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": ROW, "references": ROW}

    def _compute(self, predictions, references) -> dict[str, Any]:
        return infidelity(predictions, references)
