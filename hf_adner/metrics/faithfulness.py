"""Faithfulness by removal: what happens to a probability when the most important characters go, or stay alone.

The areas over these curves (AOPC) have bounds that depend on the model, so they compare explainers on one model, not
models; the normalised form (NAOPC) compares models too. In entity recognition the entity's own characters are kept in
both texts and the context is what is explained, or the question is trivial. And a model trained on masked contexts
finds masked inputs easy: read these numbers with a control arm that saw the same masks.
"""

import math
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import (
    NUMBER,
    ROW,
    NumberInputs,
    Numbers,
    Vector,
    as_matrix,
    as_probabilities,
    as_vector,
    mean_or_nan,
    same_count,
)

SUMMARY = "Comprehensiveness and sufficiency (AOPC) from given probabilities, and, with bounds, their normalised form."
INPUTS = """
Args:
    predictions: per entity its probability in the whole text.
    without_top: per entity its probabilities without the most important share q, for each q.
    only_top: per entity its probabilities with nothing but the most important share q, for each q.
    comprehensiveness_bounds, sufficiency_bounds: per entity (lowest, highest) AOPC over orderings; add the
        normalised form.
Returns:
    comprehensiveness, sufficiency, with bounds normalised_comprehensiveness, normalised_sufficiency; entities.
"""

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
# An interval without width has no better or worse end.
MIDDLE = 0.5


def removal_counts(length: int, shares: Sequence[float] = SHARES) -> list[int]:
    """How many of `length` characters each share is: rounded up, at least one where there is one.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares must lie in (0, 1], found {list(shares)}")
    return [math.ceil(round(share * length, 9)) for share in shares]


def aopc(full: Numbers, reduced: Numbers) -> Vector:
    """Mean over the steps of the drop in probability, (entities,) in [-1, 1].

    With the top q removed this is comprehensiveness (higher is better), with nothing but the top q (and the entity)
    left it is sufficiency (lower is better), DeYoung et al., ACL 2020.

    Args:
        full: (entities,) probabilities in the whole text.
        reduced: (entities, steps) probabilities in the reduced texts, one column per share, usually `SHARES`.

    Raises:
        ValueError: not probabilities, no steps, or another number of entities.
    """
    full = as_probabilities(as_vector(full, "full"), "full")
    reduced = as_probabilities(as_matrix(reduced, "reduced", (full.size, None)), "reduced")
    if full.size and not reduced.shape[1]:
        raise ValueError("reduced must hold at least one step per entity, found none")
    return (full[:, None] - reduced).mean(axis=1) if full.size else full


def normalised_aopc(values: Numbers, bounds: Numbers) -> Vector:
    """(AOPC - lowest) / (highest - lowest), (entities,) in [0, 1]; NAOPC of arXiv 2408.08137.

    The direction stays that of the AOPC: higher is better for comprehensiveness, lower for sufficiency. Bounds are
    those of the same entity and model over orderings of removal (`removal_bounds`). A value beyond them shows that
    its own ordering was missing among them and moves the bound to itself. Bounds without width give 0.5.

    Args:
        values: (entities,) AOPC.
        bounds: (entities, 2) lowest and highest.

    Raises:
        ValueError: a lowest above its highest, numbers that are not finite, or shapes that do not fit.
    """
    values = as_vector(values, "values")
    lowest, highest = as_matrix(bounds, "bounds", (values.size, 2)).T
    crossed = int(np.sum(lowest > highest))
    if crossed:
        raise ValueError(f"bounds must be lowest and highest, found {crossed} of {values.size} the other way round")
    lowest, highest = np.minimum(lowest, values), np.maximum(highest, values)
    width = highest - lowest
    return np.divide(values - lowest, width, out=np.full_like(values, MIDDLE), where=width > 0)


def faithfulness(
    full: Numbers,
    without_top: Numbers,
    only_top: Numbers,
    comprehensiveness_bounds: Numbers | None = None,
    sufficiency_bounds: Numbers | None = None,
) -> dict[str, float]:
    """Mean comprehensiveness and sufficiency over entities, and their normalised forms where bounds are given.

    Args:
        full: (entities,) probabilities in the whole text.
        without_top: (entities, steps) without the most important characters.
        only_top: (entities, steps) with only these, and the entity.
        comprehensiveness_bounds: (entities, 2), see `normalised_aopc`.
        sufficiency_bounds: likewise.

    Returns:
        `comprehensiveness` [-1, 1], higher is better; `sufficiency` [-1, 1], lower is better; with bounds
        `normalised_comprehensiveness` and `normalised_sufficiency` [0, 1]; `entities`. NaN without entities.

    Raises:
        ValueError: as `aopc` and `normalised_aopc`.
    """
    areas = {"comprehensiveness": aopc(full, without_top), "sufficiency": aopc(full, only_top)}
    bounds = {"comprehensiveness": comprehensiveness_bounds, "sufficiency": sufficiency_bounds}
    scores = {name: mean_or_nan(values) for name, values in areas.items()}
    for name, limits in bounds.items():
        if limits is not None:
            scores[f"normalised_{name}"] = mean_or_nan(normalised_aopc(areas[name], limits))
    return {**scores, "entities": same_count(full=full)}


class Faithfulness(NumberInputs, evaluate.Metric):
    """`faithfulness` as an `evaluate.Metric`: probabilities in the whole texts as predictions."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {"predictions": NUMBER, "without_top": ROW, "only_top": ROW}

    def _compute(
        self, predictions, without_top, only_top, comprehensiveness_bounds=None, sufficiency_bounds=None
    ) -> dict[str, Any]:
        return faithfulness(predictions, without_top, only_top, comprehensiveness_bounds, sufficiency_bounds)
