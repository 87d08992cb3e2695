"""Robustness: what is left of the F1 on each family of perturbations, and of the recall on entities never seen."""

from collections.abc import Mapping
from typing import Any

import evaluate
import numpy as np

from .inputs import NUMBER, WORD, NumberInputs, Numbers, as_flags, as_probabilities, as_vector, mean_or_nan

SUMMARY = "Relative loss of F1 on each family of perturbations, its mean, and the worst family."
INPUTS = """
Args:
    predictions: per family the F1 on the perturbed documents.
    references: per family the F1 on the same documents unperturbed.
    families: per family its name.
Returns:
    families (name -> f1, clean_f1, degradation), mean_degradation, worst_family, worst_degradation, worst_f1.
"""


def robustness(perturbed: Mapping[str, float], clean: Mapping[str, float] | float) -> dict[str, Any]:
    """Relative degradation RD = (F1 - F1') / F1 of each family, and the worst.

    Args:
        perturbed: family -> F1' on its perturbed documents, in [0, 1].
        clean: F1 on the unperturbed documents, one for all or family -> F1.

    Returns:
        `families`: name -> `f1`, `clean_f1` and `degradation` (at most 1, negative where the perturbation helped; lower
        is better; NaN where the clean F1 is 0 and nothing could be lost); `mean_degradation` over the families where
        it is defined; `worst_family` with `worst_degradation`, the highest, and its `worst_f1`: None and NaN without a
        family.

    Raises:
        ValueError: an F1 outside [0, 1], or clean F1s for other families.
    """
    names = list(perturbed)
    if isinstance(clean, Mapping) and set(clean) != set(names):
        raise ValueError(f"clean F1 is needed for the families {sorted(names)}, found {sorted(clean)}")
    whole = [clean[name] for name in names] if isinstance(clean, Mapping) else [clean] * len(names)
    left = as_probabilities(as_vector(list(perturbed.values()), "perturbed F1"), "perturbed F1")
    whole = as_probabilities(as_vector(whole, "clean F1"), "clean F1")
    lost = np.divide(whole - left, whole, out=np.full_like(whole, np.nan), where=whole > 0)
    table = {
        name: {"f1": float(f1), "clean_f1": float(clean_f1), "degradation": float(degradation)}
        for name, f1, clean_f1, degradation in zip(names, left, whole, lost)
    }
    return {"families": table, "mean_degradation": mean_or_nan(lost[np.isfinite(lost)]), **_worst(names, left, lost)}


def _worst(names: list[str], left: np.ndarray, lost: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(lost).any():
        return {"worst_family": None, "worst_degradation": float("nan"), "worst_f1": float("nan")}
    worst = int(np.nanargmax(lost))
    return {
        "worst_family": names[worst],
        "worst_degradation": float(lost[worst]),
        "worst_f1": float(left[worst]),
    }


def seen_unseen_recall(found: Numbers, seen: Numbers) -> dict[str, float]:
    """Recall of gold entities whose surface form occurs in the training documents, and of those it does not.

    Args:
        found: (gold entities,) booleans, whether each was predicted exactly.
        seen: (gold entities,) booleans, whether its surface form, with its label, was seen in training.

    Returns:
        `seen_recall`, `unseen_recall` in [0, 1], higher is better, NaN without such entities; `gap`, seen - unseen;
        `seen`, `unseen`, their numbers.

    Raises:
        ValueError: not booleans, or different numbers of them.
    """
    found = as_flags(found, "found")
    seen = as_flags(seen, "seen", found.size)
    recalls = [mean_or_nan(found[where]) for where in (seen, ~seen)]
    return {
        "seen_recall": recalls[0],
        "unseen_recall": recalls[1],
        "gap": recalls[0] - recalls[1],
        "seen": int(seen.sum()),
        "unseen": int((~seen).sum()),
    }


class Robustness(NumberInputs, evaluate.Metric):
    """`robustness` as an `evaluate.Metric`: F1s on perturbed documents as predictions, on clean ones as references."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": NUMBER, "references": NUMBER, "families": WORD}

    def _compute(self, predictions, references, families) -> dict[str, Any]:
        if len(set(families)) < len(families):
            raise ValueError(f"every family is named once, found {len(families)} with {len(set(families))} names")
        return robustness(dict(zip(families, predictions)), dict(zip(families, references)))
