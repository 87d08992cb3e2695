"""Sensitivity: how far explanations move, against how far their inputs do. Lower is better, a constant one is at 0.

All three look at the worst of several perturbations of an instance, so they grow with their number: compare only at the
same number of draws and the same radius (as a share of the embeddings' root mean square, or models are not comparable).
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import ROW, NumberInputs, Numbers, Vector, as_vector, mean_or_nan, same_count

SUMMARY = "Local Lipschitz constant and, with norms, max-sensitivity of explanations from given distances."
INPUTS = """
Args:
    predictions: per instance the distances of its explanation from those of its perturbed inputs.
    references: per instance the distances of its input from the perturbed inputs.
    norms: per instance the norm of its explanation; adds max_sensitivity.
Returns:
    local_lipschitz and max_sensitivity, each: mean, median, max over instances; instances.
"""

FLOOR = 1e-3
LEAST_CHANGE = 1e-6
LEAST_STABILITY = 1e-12


def max_sensitivity(distances: Sequence[Numbers], norms: Numbers) -> Vector:
    """max over draws ||Phi(x + d) - Phi(x)|| / ||Phi(x)||, per instance (Yeh et al., NeurIPS 2019).

    Args:
        distances: per instance the distances of its explanation from those of the drawn inputs, at least one.
        norms: (instances,) norms of the explanations.

    Returns:
        (instances,) in [0, inf), lower is better; where the explanation is zero: 0 if it stays so, else infinite.

    Raises:
        ValueError: a negative or missing distance or norm, or columns of different lengths.
    """
    same_count(distances=distances, norms=norms)
    norms = _as_distances(norms, "norms")
    largest = [_as_distances(row, f"distances[{index}]", 1).max() for index, row in enumerate(distances)]
    return _ratios(np.array(largest), norms)


def local_lipschitz(distances: Sequence[Numbers], input_distances: Sequence[Numbers]) -> Vector:
    """max over draws ||Phi(x) - Phi(x_j)|| / ||E(x) - E(x_j)||, per instance (Alvarez-Melis & Jaakkola 2018).

    Args:
        distances: per instance the distances of its explanation from those of its perturbed inputs, at least one.
        input_distances: the distances of the inputs themselves; for text of hidden states, or edit distances.

    Returns:
        (instances,) in [0, inf), lower is better; infinite where the explanation moved and the input did not.

    Raises:
        ValueError: a negative or missing distance, or rows of different lengths.
    """
    same_count(distances=distances, input_distances=input_distances)
    values = []
    for index, (moved, by) in enumerate(zip(distances, input_distances)):
        moved = _as_distances(moved, f"distances[{index}]", 1)
        by = as_vector(by, f"input_distances[{index}]", moved.size)
        values.append(_ratios(moved, _as_distances(by, f"input_distances[{index}]")).max())
    return np.array(values)


def relative_change(values: Numbers, changed: Numbers, floor: float = FLOOR, order: float = 2) -> float:
    """||(v - v') / v||_p, the elementwise division by no less than `floor` in magnitude.

    Raises:
        ValueError: not finite vectors of one length, or a `floor` that is not positive.
    """
    values = as_vector(values, "values")
    changed = as_vector(changed, "changed values", values.size)
    if not floor > 0:
        raise ValueError(f"floor must be positive, found {floor}")
    return float(np.linalg.norm((values - changed) / np.maximum(np.abs(values), floor), order)) if values.size else 0.0


def relative_stability(
    maps: Sequence[Numbers],
    views: Sequence[Sequence[Numbers]],
    changes: Sequence[Numbers],
    least_change: float = LEAST_CHANGE,
    order: float = 2,
) -> dict[str, Any]:
    """max over views ||(e - e') / e||_p / max(change, eps): relative input stability (RIS) and its kin.

    With `relative_change`s of the input as `changes` this is RIS, with those of hidden states RRS, with distances of
    logits ROS (Agarwal et al. 2022, arXiv 2203.06877; ROS rewards logits that move a lot). Maps are made to sum to 1 in
    magnitude and raised by 1e-3, since the division explodes near 0; read the median of log10.

    Args:
        maps: per instance its map, (L,).
        views: per instance the maps of its perturbed inputs on the original's characters, (L,) each, at least one.
        changes: per instance and view how far the input changed, >= 0.
        least_change: eps, the smallest divisor.
        order: p of the norm of the explanations' change.

    Returns:
        `median_log10` and `median` over instances, lower is better, NaN without any; `per_instance`, each in [0, inf);
        the logarithm takes values as no less than 1e-12.

    Raises:
        ValueError: columns or rows of different lengths, numbers that are not finite, a negative change.
    """
    same_count(maps=maps, views=views, changes=changes)
    values = []
    for index, (original, others, by) in enumerate(zip(maps, views, changes)):
        by = _as_distances(as_vector(by, f"changes[{index}]", len(others)), f"changes[{index}]", 1)
        base = _raised(original, f"maps[{index}]")
        moved = [relative_change(base, _raised(other, f"views[{index}]"), FLOOR, order) for other in others]
        values.append(float(np.max(np.array(moved) / np.maximum(by, least_change))))
    logarithms = np.log10(np.maximum(values, LEAST_STABILITY))
    medians = [float(np.median(column)) if values else float("nan") for column in (logarithms, values)]
    return {"median_log10": medians[0], "median": medians[1], "per_instance": values}


def _raised(values: Numbers, name: str) -> Vector:
    magnitudes = np.abs(as_vector(values, name))
    total = magnitudes.sum()
    return (magnitudes / total if total else magnitudes) + FLOOR


def _as_distances(values: Numbers, name: str, least: int = 0) -> Vector:
    distances = as_vector(values, name)
    negative = int(np.sum(distances < 0))
    if negative or distances.size < least:
        wanted = f"at least {least} " if least else ""
        raise ValueError(f"{name} must be {wanted}numbers >= 0, found {distances.size}, {negative} of them negative")
    return distances


def _ratios(moved: Vector, by: Vector) -> Vector:
    infinite = np.where(moved > 0, np.inf, 0.0)
    return np.divide(moved, by, out=infinite, where=by > 0)


def _over_instances(values: Vector) -> dict[str, float]:
    if not values.size:
        return dict.fromkeys(("mean", "median", "max"), float("nan"))
    return {"mean": mean_or_nan(values), "median": float(np.median(values)), "max": float(values.max())}


class Sensitivity(NumberInputs, evaluate.Metric):
    """`local_lipschitz` and `max_sensitivity` as an `evaluate.Metric`, with mean, median and maximum over instances."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": ROW, "references": ROW}

    def _compute(self, predictions, references, norms=None) -> dict[str, Any]:
        scores = {"local_lipschitz": _over_instances(local_lipschitz(predictions, references))}
        if norms is not None:
            scores["max_sensitivity"] = _over_instances(max_sensitivity(predictions, norms))
        return {**scores, "instances": len(predictions)}
