"""Robustness: relative loss of F1 on each family of perturbations, and recall on seen and unseen entities."""

from collections.abc import Mapping, Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import NUMBER, STRING, Numbers, as_flags, as_probabilities, mean_or_nan, metric


def robustness(perturbed: Mapping[str, float], clean: Mapping[str, float] | float) -> dict[str, Any]:
    """Compute the relative degradation RD = (F1 - F1') / F1 of each family of perturbations, their mean and the worst.

    Args:
        perturbed: family -> F1' on its perturbed documents, in [0, 1].
        clean: F1 on the unperturbed documents, one for all or family -> F1.

    Returns:
        `families`: name -> `f1`, `clean_f1` and `degradation` (at most 1, negative where the perturbation helped; lower
        is better; NaN where the clean F1 is 0 and nothing can be lost); `mean_degradation` over the families where
        it is defined; `worst_family` with `worst_degradation`, the highest, and its `worst_f1`: None and NaN without a
        family.

    Raises:
        ValueError: an F1 outside [0, 1], or clean F1s for other families.
    """
    names = list(perturbed)
    if isinstance(clean, Mapping) and set(clean) != set(names):
        raise ValueError(f"clean F1 is needed for the families {sorted(names)}, found {sorted(clean)}")
    clean_f1 = [clean[name] for name in names] if isinstance(clean, Mapping) else [clean] * len(names)
    f1 = as_probabilities(list(perturbed.values()), "perturbed F1")
    clean_f1 = as_probabilities(clean_f1, "clean F1")
    degradation = np.divide(clean_f1 - f1, clean_f1, out=np.full_like(clean_f1, np.nan), where=clean_f1 > 0)
    columns = {"f1": f1, "clean_f1": clean_f1, "degradation": degradation}
    return {
        "families": {
            family: {name: float(column[index]) for name, column in columns.items()}
            for index, family in enumerate(names)
        },
        "mean_degradation": mean_or_nan(degradation[np.isfinite(degradation)]),
        **_worst(names, f1, degradation),
    }


def _worst(names: list[str], f1: np.ndarray, degradation: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(degradation).any():
        return {"worst_family": None, "worst_degradation": float("nan"), "worst_f1": float("nan")}
    worst = int(np.nanargmax(degradation))
    return {
        "worst_family": names[worst],
        "worst_degradation": float(degradation[worst]),
        "worst_f1": float(f1[worst]),
    }


def _robustness_of_columns(
    perturbed: Sequence[float], clean: Sequence[float], families: Sequence[str]
) -> dict[str, Any]:
    """Compute the relative loss of F1 on each family of perturbations, its mean, and the worst family.

    Args:
        perturbed: per family the F1 on the perturbed documents.
        clean: per family the F1 on the same documents unperturbed.
        families: per family its name.

    Returns:
        As `robustness`: `families` (name -> `f1`, `clean_f1`, `degradation`), `mean_degradation`, `worst_family`,
        `worst_degradation`, `worst_f1`.

    Raises:
        ValueError: a repeated name, or as `robustness`.
    """
    if len(set(families)) < len(families):
        raise ValueError(f"family names must be unique, found {len(families)} families with {len(set(families))} names")
    return robustness(dict(zip(families, perturbed)), dict(zip(families, clean)))


@metric(_robustness_of_columns, predictions=("perturbed", NUMBER), references=("clean", NUMBER), families=STRING)
class Robustness(evaluate.Metric):
    """`robustness` as an `evaluate.Metric`: predictions are F1 on perturbed documents, references F1 on clean."""


def seen_unseen_recall(found: Numbers, seen: Numbers) -> dict[str, float]:
    """Compute the recall of gold entities whose surface form occurs in the training documents, and of the others.

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
    seen_recall, unseen_recall = (mean_or_nan(found[group]) for group in (seen, ~seen))
    return {
        "seen_recall": seen_recall,
        "unseen_recall": unseen_recall,
        "gap": seen_recall - unseen_recall,
        "seen": int(seen.sum()),
        "unseen": int((~seen).sum()),
    }
