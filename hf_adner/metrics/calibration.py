"""Calibration of entity confidences: expected calibration error, Brier score and risk-coverage curve.

Over predicted entities, with the posterior of the span as confidence. Predictions of equal confidence are treated
alike, so that no number depends on their order.
"""

from typing import Any

import evaluate
import numpy as np

from .inputs import NUMBER, Numbers, Vector, as_flags, as_probabilities, mean_or_nan, metric

BINS = 15


def calibration(confidences: Numbers, correct: Numbers, bins: int = BINS) -> dict[str, Any]:
    """Compute expected calibration error, Brier score and area under the risk-coverage curve of predicted entities.

    Args:
        confidences: (entities,) confidence of each predicted entity, in [0, 1].
        correct: (entities,) booleans, whether it is correct.
        bins: number of equal-mass bins, at most one per entity.

    Returns:
        `ece` = sum over bins of share * |accuracy - mean confidence| (Naeini et al. 2015, with bins of equal mass),
        `brier` = mean (confidence - correct)^2, `aurc` (see `risk_coverage`), all in [0, 1], lower is better;
        `accuracy`, `mean_confidence`, `entities`; `reliability`, see `reliability_table`. Without entities the numbers
        are NaN and the table is empty.

    Raises:
        ValueError: different numbers of confidences and outcomes, confidences outside [0, 1], or `bins` below 1.
    """
    confidences, correct = _checked(confidences, correct)
    table = reliability_table(confidences, correct, bins)
    gaps = [row["count"] * abs(row["accuracy"] - row["confidence"]) for row in table]
    return {
        "ece": sum(gaps) / correct.size if correct.size else float("nan"),
        "brier": mean_or_nan((confidences - correct) ** 2),
        "aurc": risk_coverage(confidences, correct)["aurc"],
        "accuracy": mean_or_nan(correct),
        "mean_confidence": mean_or_nan(confidences),
        "entities": correct.size,
        "reliability": table,
    }


@metric(calibration, predictions=("confidences", NUMBER), references=("correct", NUMBER))
class Calibration(evaluate.Metric):
    """`calibration` as an `evaluate.Metric`: predictions are confidences, references whether they were correct."""


def reliability_table(confidences: Numbers, correct: Numbers, bins: int = BINS) -> list[dict[str, float]]:
    """Compute the reliability table over bins of equal mass, from the least to the most confident.

    Bin sizes differ by one at most. Where equal confidences span several bins, each bin has the accuracy expected if
    these entities are assigned at random.

    Returns:
        Per bin the `lowest` and `highest` confidence, the mean `confidence`, `accuracy` and `count`.

    Raises:
        ValueError: as `calibration`.
    """
    confidences, correct = _checked(confidences, correct)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, found {bins}")
    order = np.argsort(confidences, kind="stable")
    confidences, outcomes = confidences[order], _expected_outcomes(confidences, correct)[order]
    members = [indices for indices in np.array_split(np.arange(correct.size), bins) if indices.size]
    return [
        {
            "lowest": float(confidences[indices[0]]),
            "highest": float(confidences[indices[-1]]),
            "confidence": float(confidences[indices].mean()),
            "accuracy": float(outcomes[indices].mean()),
            "count": indices.size,
        }
        for indices in members
    ]


def risk_coverage(confidences: Numbers, correct: Numbers) -> dict[str, Any]:
    """Compute the share of errors among the most confident predictions, for every number of predictions kept.

    Returns:
        `coverage` and `risk`, lists of equal length, coverage 1/n, 2/n .. 1, risk in [0, 1], its expectation if ties
        are broken at random; `aurc`, the mean risk over these coverages (Geifman & El-Yaniv 2017), in [0, 1], lower is
        better, NaN without predictions; `best_aurc`, the AURC of the same errors in the best order.

    Raises:
        ValueError: as `calibration`.
    """
    confidences, correct = _checked(confidences, correct)
    kept = np.arange(1, correct.size + 1)
    order = np.argsort(-confidences, kind="stable")
    risk = np.cumsum(1 - _expected_outcomes(confidences, correct)[order]) / kept
    best = np.cumsum(np.sort(~correct)) / kept
    return {
        "coverage": (kept / max(1, correct.size)).tolist(),
        "risk": risk.tolist(),
        "aurc": mean_or_nan(risk),
        "best_aurc": mean_or_nan(best),
    }


def _checked(confidences: Numbers, correct: Numbers) -> tuple[Vector, np.ndarray]:
    confidences = as_probabilities(confidences, "confidences")
    return confidences, as_flags(correct, "correct", confidences.size)


def _expected_outcomes(confidences: Vector, correct: np.ndarray) -> Vector:
    """Replace each outcome by the mean over equal confidences."""
    _, group, sizes = np.unique(confidences, return_inverse=True, return_counts=True)
    return (np.bincount(group, weights=correct, minlength=sizes.size) / sizes)[group]
