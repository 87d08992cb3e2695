"""Faithfulness by removal: comprehensiveness and sufficiency (AOPC), their bounds, and their normalised form (NAOPC).

The range of AOPC depends on the model, so it compares explainers on one model, not models; NAOPC compares models too.
In entity recognition the entity's own characters stay in all texts and only the context is explained and removed,
otherwise the task is trivial. Masked inputs are easy for a model trained on masked contexts: compare with a control
that was trained on the same masks.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import evaluate
import numpy as np

from .inputs import (
    NUMBER,
    ROW,
    Numbers,
    Vector,
    as_matrix,
    as_probabilities,
    as_probability_matrix,
    as_vector,
    mean_or_nan,
    metric,
    same_count,
)

SHARES = (0.01, 0.05, 0.10, 0.20, 0.50)
# The normalised score where both bounds are equal.
MIDDLE = 0.5


def faithfulness(
    full: Numbers,
    without_top: Numbers,
    only_top: Numbers,
    comprehensiveness_bounds: Numbers | None = None,
    sufficiency_bounds: Numbers | None = None,
) -> dict[str, float]:
    """Compute mean comprehensiveness and sufficiency (AOPC) over entities and, with bounds, their normalised forms.

    Args:
        full: (entities,) probabilities in the whole text.
        without_top: (entities, steps) probabilities without the most important share of characters, per share.
        only_top: (entities, steps) probabilities with only this share, and the entity.
        comprehensiveness_bounds: (entities, 2) lowest and highest AOPC over orderings, see `normalised_aopc`.
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


@metric(faithfulness, predictions=("full", NUMBER), without_top=ROW, only_top=ROW)
class Faithfulness(evaluate.Metric):
    """`faithfulness` as an `evaluate.Metric`: predictions are the probabilities in the whole texts."""


def removal_counts(length: int, shares: Sequence[float] = SHARES) -> list[int]:
    """Return the number of characters in each share of `length`, rounded up.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares must lie in (0, 1], found {list(shares)}")
    return [math.ceil(round(share * length, 9)) for share in shares]


def aopc(full: Numbers, reduced: Numbers) -> Vector:
    """Compute the mean drop in probability over the steps (area over the perturbation curve).

    If the most important characters are removed this is comprehensiveness (higher is better); if only they (and the
    entity) are left it is sufficiency (lower is better), DeYoung et al., ACL 2020.

    Args:
        full: (entities,) probabilities in the whole text.
        reduced: (entities, steps) probabilities in the reduced texts, one column per share, usually `SHARES`.

    Returns:
        (entities,) in [-1, 1].

    Raises:
        ValueError: not probabilities, no steps, or another number of entities.
    """
    full = as_probabilities(full, "full")
    reduced = as_probability_matrix(reduced, "reduced", (full.size, None))
    if full.size and not reduced.shape[1]:
        raise ValueError("reduced must hold at least one step per entity, found none")
    return (full[:, None] - reduced).mean(axis=1) if full.size else full


def normalised_aopc(values: Numbers, bounds: Numbers) -> Vector:
    """Compute (AOPC - lowest) / (highest - lowest), the NAOPC of arXiv 2408.08137.

    The direction is that of the AOPC: higher is better for comprehensiveness, lower for sufficiency. A value beyond its
    bounds (its own ordering was not among those searched) replaces the bound. Equal bounds score 0.5.

    Args:
        values: (entities,) AOPC.
        bounds: (entities, 2) lowest and highest AOPC of the same entity and model over orderings of removal, as from
            `RemovalBeam` or `bounds_of_orderings`.

    Returns:
        (entities,) in [0, 1].

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


def bounds_of_orderings(full: float, curves: Numbers) -> tuple[float, float]:
    """Return the lowest and highest AOPC among evaluated orderings of one entity.

    Args:
        full: probability in the whole text.
        curves: (orderings, steps) probabilities along each ordering, at the same steps for all.

    Raises:
        ValueError: not probabilities, or no ordering.
    """
    full = as_probabilities([full], "full")
    curves = as_probability_matrix(curves, "curves")
    if not curves.size:
        raise ValueError(f"curves must hold at least one ordering and step, found {curves.shape}")
    areas = (full - curves).mean(axis=1)
    return float(areas.min()), float(areas.max())


class Ordering(NamedTuple):
    """The start of an ordering: the units in the order of their removal, and the sum of the drops so far."""

    units: tuple[int, ...]
    total: float


class RemovalBeam:
    """Beam search for the removal ordering with the highest or lowest AOPC of one entity (arXiv 2408.08137).

    It calls no model: it proposes sets of removed units and accepts their probabilities, so that the caller can batch
    them. Units are what is removed at once: characters, words, or what is restored where sufficiency is bounded. Two
    partial orderings of the same set have the same continuations, so only the better one is kept; a beam as wide as
    there are sets is therefore exact. Use:

        while not beam.finished:
            beam.accept([probability_without(units) for units in beam.proposals])
        bound = beam.bound

    Args:
        full: probability in the whole text.
        size: number of units.
        width: partial orderings kept at each step.
        highest: search the highest AOPC, otherwise the lowest.
        depths: numbers of removals after which a probability counts, as from `removal_counts`; a repeated depth counts
            as often as it occurs. All by default.

    Raises:
        ValueError: `full` is not a probability, `size` or `width` is below 1, or a depth is outside 1..size.
    """

    def __init__(
        self, full: float, size: int, width: int = 5, highest: bool = True, depths: Sequence[int] | None = None
    ):
        if size < 1 or width < 1:
            raise ValueError(f"size and width must be at least 1, found {size} and {width}")
        self.depths = tuple(range(1, size + 1)) if depths is None else tuple(depths)
        if not self.depths or not all(1 <= depth <= size for depth in self.depths):
            raise ValueError(f"depths must lie in 1..{size}, found {list(self.depths)}")
        self.full = float(as_probabilities([full], "full")[0])
        self.size, self.width, self.sign = size, width, 1.0 if highest else -1.0
        self.beams = [Ordering((), 0.0)]
        self._propose()

    @property
    def finished(self) -> bool:
        """Whether the last depth that counts was reached."""
        return len(self.beams[0].units) >= max(self.depths)

    @property
    def bound(self) -> float:
        """The best AOPC of the search.

        Raises:
            RuntimeError: the search is not finished.
        """
        if not self.finished:
            raise RuntimeError(f"the search is at depth {len(self.beams[0].units)} of {max(self.depths)}")
        return self.beams[0].total / len(self.depths)

    def accept(self, probabilities: Numbers) -> None:
        """Extend the orderings by one removal, given the probability for each of `proposals`.

        Raises:
            ValueError: not one probability per proposal.
            RuntimeError: the search is finished.
        """
        if self.finished:
            raise RuntimeError(f"the search is finished at depth {max(self.depths)}")
        probabilities = as_probabilities(probabilities, "probabilities", len(self.proposals))
        drops = dict(zip(self.proposals, self.full - probabilities))
        repeats = self.depths.count(len(self.beams[0].units) + 1)
        ranked = sorted(
            (self._candidate(ordering, unit, drops, repeats) for ordering, unit in self._expansions()),
            key=lambda candidate: -self.sign * candidate[0],
        )
        best: dict[tuple[int, ...], Ordering] = {}
        for _, ordering in ranked:
            best.setdefault(tuple(sorted(ordering.units)), ordering)
        self.beams = list(best.values())[: self.width]
        self._propose()

    def _candidate(self, ordering: Ordering, unit: int, drops: dict, repeats: int) -> tuple[float, Ordering]:
        """Return an ordering extended by `unit`, with the number by which it is ranked."""
        drop = float(drops[tuple(sorted((*ordering.units, unit)))])
        total = ordering.total + repeats * drop
        # At a depth that does not count, the drop still shows which ordering is promising.
        return total if repeats else total + drop, Ordering((*ordering.units, unit), total)

    def _expansions(self) -> list[tuple[Ordering, int]]:
        return [(ordering, unit) for ordering in self.beams for unit in range(self.size) if unit not in ordering.units]

    def _propose(self) -> None:
        sets = {tuple(sorted((*ordering.units, unit))) for ordering, unit in self._expansions()}
        self.proposals: list[tuple[int, ...]] = [] if self.finished else sorted(sets)
