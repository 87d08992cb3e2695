"""Infidelity: how well an attribution predicts the changes of the explained score under random perturbations."""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, Vector, as_vector, mean_or_nan, metric, same_count


def infidelity(predicted: Sequence[Numbers], measured: Sequence[Numbers]) -> dict[str, Any]:
    """Compute the infidelity of attributions at their optimal scale, plain and divided by the variance of the changes.

    Infidelity is E_I [(b I . Phi - (f(x) - f(x - I)))^2] (Yeh et al. 2019) with the optimal scale
    b = sum(I . Phi df) / sum((I . Phi)^2) per entity, 0 where the attribution predicts no change at all; so the scale
    of an attribution does not matter. The explained score has a scale of its own: the normalised form divides by the
    variance of df over all draws and entities and can be compared between models.

    Args:
        predicted: per entity, for each drawn perturbation I, the predicted change I . Phi.
        measured: per entity, for the same draws, the measured change df = f(x) - f(x - I).

    Returns:
        `infidelity` and `normalised_infidelity`, means over entities in [0, inf), lower is better, NaN without
        entities; where df never varies the normalised form is 0 if it was predicted exactly, otherwise infinite.
        `change_variance` = Var(df), `entities`, and `per_entity`, the infidelity of each before normalisation.

    Raises:
        ValueError: columns or rows of different lengths, an entity without draws, or numbers that are not finite.
    """
    same_count(predicted=predicted, measured=measured)
    changes, errors = [], []
    for index, (predicted_row, measured_row) in enumerate(zip(predicted, measured)):
        measured_row = as_vector(measured_row, f"measured[{index}]")
        if not measured_row.size:
            raise ValueError(f"measured[{index}] must hold at least one draw, found none")
        predicted_row = as_vector(predicted_row, f"predicted[{index}]", measured_row.size)
        changes.append(measured_row)
        errors.append(_squared_error(predicted_row, measured_row))
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
    """Return the mean squared error of the multiple of `predicted` that is closest to `measured`."""
    if predicted.any():
        predicted = predicted / np.abs(predicted).max()  # squares must neither overflow nor vanish
        predicted = predicted @ measured / (predicted @ predicted) * predicted
    return float(np.mean((predicted - measured) ** 2))


@metric(infidelity, predictions=("predicted", ROW), references=("measured", ROW))
class Infidelity(evaluate.Metric):
    """`infidelity` as an `evaluate.Metric`: predictions are the predicted changes, references the measured changes."""
