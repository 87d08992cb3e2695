"""Sensitivity: change of an explanation relative to the change of its input. Lower is better; a constant scores 0.

Both measures take the worst of several perturbations of an instance, so they grow with the number of draws: compare
only at the same number and the same radius (as a share of the embeddings' root mean square, so that models are
comparable).
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, Numbers, Vector, as_vector, mean_or_nan, metric, same_count


def sensitivity(
    distances: Sequence[Numbers], input_distances: Sequence[Numbers], norms: Numbers | None = None
) -> dict[str, Any]:
    """Summarise the local Lipschitz constant and, with norms, the max-sensitivity of explanations.

    Args:
        distances: per instance the distances between its explanation and those of its perturbed inputs.
        input_distances: per instance the distances between its input and the perturbed inputs.
        norms: (instances,) norms of the explanations, for the max-sensitivity.

    Returns:
        `local_lipschitz` and, with norms, `max_sensitivity`, each with `mean`, `median` and `max` over instances, NaN
        without any; `instances`.

    Raises:
        ValueError: as `local_lipschitz` and `max_sensitivity`.
    """
    scores: dict[str, Any] = {"local_lipschitz": _summary(local_lipschitz(distances, input_distances))}
    if norms is not None:
        scores["max_sensitivity"] = _summary(max_sensitivity(distances, norms))
    return {**scores, "instances": len(distances)}


def _summary(values: Vector) -> dict[str, float]:
    if not values.size:
        return dict.fromkeys(("mean", "median", "max"), float("nan"))
    return {"mean": mean_or_nan(values), "median": float(np.median(values)), "max": float(values.max())}


@metric(sensitivity, predictions=("distances", ROW), references=("input_distances", ROW))
class Sensitivity(evaluate.Metric):
    """`sensitivity` as an `evaluate.Metric`: predictions are distances of explanations, references those of inputs."""


def max_sensitivity(distances: Sequence[Numbers], norms: Numbers) -> Vector:
    """Compute max over draws ||Phi(x + d) - Phi(x)|| / ||Phi(x)||, per instance (Yeh et al., NeurIPS 2019).

    Args:
        distances: per instance the distances between its explanation and those of the drawn inputs, at least one.
        norms: (instances,) norms of the explanations.

    Returns:
        (instances,) in [0, inf), lower is better; for a zero explanation 0 if it stays zero, otherwise infinite.

    Raises:
        ValueError: a negative or missing distance or norm, or columns of different lengths.
    """
    same_count(distances=distances, norms=norms)
    norms = _as_distances(norms, "norms")
    largest = [_as_distances(row, f"distances[{index}]", 1).max() for index, row in enumerate(distances)]
    return _ratios(np.array(largest), norms)


def local_lipschitz(distances: Sequence[Numbers], input_distances: Sequence[Numbers]) -> Vector:
    """Compute max over draws ||Phi(x) - Phi(x_j)|| / ||E(x) - E(x_j)||, per instance (Alvarez-Melis & Jaakkola 2018).

    Args:
        distances: per instance the distances between its explanation and those of its perturbed inputs, at least one.
        input_distances: the distances between the inputs; for text those of hidden states, or edit distances.

    Returns:
        (instances,) in [0, inf), lower is better; infinite where the explanation changed and the input did not.

    Raises:
        ValueError: a negative or missing distance, or rows of different lengths.
    """
    same_count(distances=distances, input_distances=input_distances)
    values = []
    for index, (explanation_row, input_row) in enumerate(zip(distances, input_distances)):
        explanation_row = _as_distances(explanation_row, f"distances[{index}]", 1)
        input_row = as_vector(input_row, f"input_distances[{index}]", explanation_row.size)
        values.append(_ratios(explanation_row, _as_distances(input_row, f"input_distances[{index}]")).max())
    return np.array(values)


def _as_distances(values: Numbers, name: str, least: int = 0) -> Vector:
    """Return a vector of `least` or more numbers >= 0."""
    distances = as_vector(values, name)
    negative = int(np.sum(distances < 0))
    if negative or distances.size < least:
        required = f"at least {least} " if least else ""
        raise ValueError(f"{name} must be {required}numbers >= 0, found {distances.size}, {negative} of them negative")
    return distances


def _ratios(changes: Vector, scales: Vector) -> Vector:
    """Divide; by zero, 0 where nothing changed and otherwise infinite."""
    return np.divide(changes, scales, out=np.where(changes > 0, np.inf, 0.0), where=scales > 0)
