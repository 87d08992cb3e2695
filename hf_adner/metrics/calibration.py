"""Calibration: does a confidence of 0.9 mean right nine times in ten, and does the unsure tenth hold the errors?

Over predicted entities, with the posterior of the span as confidence. Predictions of equal confidence are taken
together, so that no number depends on the order in which they come.
"""

from typing import Any

import evaluate
import numpy as np

from .inputs import NUMBER, NumberInputs, Numbers, Vector, as_flags, as_probabilities, as_vector, mean_or_nan

SUMMARY = "Entity ECE over equal-mass bins with its reliability table, Brier score, risk-coverage curve and AURC."
INPUTS = """
Args:
    predictions: per predicted entity its confidence in [0, 1].
    references: per predicted entity whether it is right.
    bins: how many bins of equal mass (default 15).
Returns:
    ece, brier, aurc, accuracy, mean_confidence, entities, reliability (a row per bin).
"""

BINS = 15


def calibration(confidences: Numbers, correct: Numbers, bins: int = BINS) -> dict[str, Any]:
    """Expected calibration error, Brier score and area under the risk-coverage curve of predicted entities.

    Args:
        confidences: (entities,) in [0, 1].
        correct: (entities,) booleans.
        bins: number of equal-mass bins, at most one per entity.

    Returns:
        `ece` = sum over bins of share |accuracy - mean confidence| (Naeini et al. 2015, with bins of equal mass),
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


def reliability_table(confidences: Numbers, correct: Numbers, bins: int = BINS) -> list[dict[str, float]]:
    """Bins of equal mass, from the least to the most confident: `lowest` and `highest` confidence in the bin, the mean
    `confidence`, `accuracy` and `count`.

    Sizes differ by one at most. Where one confidence reaches over several bins, each has the accuracy that is expected
    when its members are dealt out by lot.

    Raises:
        ValueError: as `calibration`.
    """
    confidences, correct = _checked(confidences, correct)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, found {bins}")
    order = np.argsort(confidences, kind="stable")
    confidences, outcomes = confidences[order], _expected_outcomes(confidences, correct)[order]
    parts = [part for part in np.array_split(np.arange(correct.size), bins) if part.size]
    return [
        {
            "lowest": float(confidences[part[0]]),
            "highest": float(confidences[part[-1]]),
            "confidence": float(confidences[part].mean()),
            "accuracy": float(outcomes[part].mean()),
            "count": part.size,
        }
        for part in parts
    ]


def risk_coverage(confidences: Numbers, correct: Numbers) -> dict[str, Any]:
    """The share of errors among the most confident predictions, for every number of predictions kept.

    Returns:
        `coverage` and `risk`, lists of equal length, coverage 1/n, 2/n .. 1, risk in [0, 1], expected where ties are
        broken by lot; `aurc`, the mean risk over these coverages (Geifman & El-Yaniv 2017), in [0, 1], lower is
        better, NaN without predictions; `best_aurc`, what the same errors would give in the best order.

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
    confidences = as_probabilities(as_vector(confidences, "confidences"), "confidences")
    return confidences, as_flags(correct, "correct", confidences.size)


def _expected_outcomes(confidences: Vector, correct: np.ndarray) -> Vector:
    """Each outcome replaced by the mean of those of equal confidence."""
    _, group, sizes = np.unique(confidences, return_inverse=True, return_counts=True)
    return (np.bincount(group, weights=correct, minlength=sizes.size) / sizes)[group]


class Calibration(NumberInputs, evaluate.Metric):
    """`calibration` as an `evaluate.Metric`: confidences as predictions, whether they were right as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": NUMBER, "references": NUMBER}

    def _compute(self, predictions, references, bins=BINS) -> dict[str, Any]:
        return calibration(predictions, references, bins)
