"""Boundaries: agreement between explanations of an entity's edges and the model's response to hidden characters there.

Boundary-faithful agreement measures behaviour and is the primary endpoint. Boundary attribution mass can be trained
into any explanation and is not evidence of faithfulness; it is descriptive.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import (
    INTEGER_ROW,
    ROW,
    Numbers,
    Vector,
    as_probabilities,
    as_range,
    as_vector,
    mean_or_nan,
    metric,
    same_count,
)
from .similarity import is_constant, spearman

MARGIN = 3
CLAMP = 1e-6
RATIO_FLOOR = 1e-6


def boundary(
    start_maps: Sequence[Numbers],
    start_effects: Sequence[Numbers],
    end_maps: Sequence[Numbers],
    end_effects: Sequence[Numbers],
    spans: Sequence[Sequence[int]],
    maps: Sequence[Numbers] | None = None,
    margin: int = MARGIN,
) -> dict[str, Any]:
    """Compute boundary-faithful agreement and, with `maps`, boundary attribution mass and its lift.

    Args:
        start_maps: per entity the attribution map of its start, one number per character.
        start_effects: per entity the measured effect of hiding each character on the probability of its start.
        end_maps: likewise for its end.
        end_effects: likewise for its end.
        spans: per entity its `(start, end)`, `end` exclusive.
        maps: per entity the attribution map of the entity, for the boundary mass.
        margin: characters beyond each edge that are compared.

    Returns:
        The keys of `boundary_agreement`; with maps also `mass` and `lift` of `boundary_mass`.

    Raises:
        ValueError: as these two.
    """
    scores = boundary_agreement(start_maps, start_effects, end_maps, end_effects, spans, margin)
    if maps is not None:
        mass = boundary_mass(maps, spans)
        scores |= {"mass": mass["mass"], "lift": mass["lift"]}
    return scores


@metric(
    boundary,
    predictions=("start_maps", ROW),
    references=("start_effects", ROW),
    end_predictions=("end_maps", ROW),
    end_references=("end_effects", ROW),
    spans=INTEGER_ROW,
)
class Boundary(evaluate.Metric):
    """`boundary` as an `evaluate.Metric`: predictions are attribution maps of edges, references measured effects."""


def boundary_window(span: Sequence[int], length: int, margin: int = MARGIN) -> slice:
    """Return the characters from `margin` before an entity to `margin` after it, inside the text.

    Raises:
        ValueError: the entity is outside the text.
    """
    start, end = as_range(span, length)
    return slice(max(0, start - margin), min(length, end + margin))


def boundary_agreement(
    start_maps: Sequence[Numbers],
    start_effects: Sequence[Numbers],
    end_maps: Sequence[Numbers],
    end_effects: Sequence[Numbers],
    spans: Sequence[Sequence[int]],
    margin: int = MARGIN,
) -> dict[str, Any]:
    """Compute boundary-faithful agreement (BFA): Spearman correlation of attributions and effects around the entity.

    For the start, the attributions of the (contrastive) start score are ranked against the drop in the start's marginal
    when each character is hidden; for the end likewise; over characters from `margin` before the entity to `margin`
    after it. Defined here (no earlier source known). Pass both signed, or both as magnitudes. A constant map has no
    ranks and scores 0.

    Args:
        start_maps: per entity the map, (L,).
        start_effects: per entity the measured effects, (L,), or only those in its `boundary_window`.
        end_maps: likewise for the end.
        end_effects: likewise for the end.
        spans: per entity `(start, end)`, `end` exclusive.
        margin: characters beyond each edge.

    Returns:
        `start_agreement`, `end_agreement`, means over entities in [-1, 1], and `agreement`, the mean of both, higher is
        better, NaN without entities; `constant`, the share of rank correlations that were undefined; `entities`;
        `per_entity`, the mean of both edges of each.

    Raises:
        ValueError: columns of different lengths, rows that do not fit their text, an entity outside it, or numbers that
            are not finite.
    """
    same_count(
        start_maps=start_maps, start_effects=start_effects, end_maps=end_maps, end_effects=end_effects, spans=spans
    )
    starts = _windows(start_maps, start_effects, spans, margin, "start")
    ends = _windows(end_maps, end_effects, spans, margin, "end")
    scores = np.array([[spearman(*start), spearman(*end)] for start, end in zip(starts, ends)]).reshape(-1, 2)
    return {
        "agreement": mean_or_nan(scores),
        "start_agreement": mean_or_nan(scores[:, 0]),
        "end_agreement": mean_or_nan(scores[:, 1]),
        "constant": mean_or_nan([any(map(is_constant, pair)) for pair in starts + ends]),
        "entities": len(scores),
        "per_entity": scores.mean(axis=1).tolist(),
    }


def _windows(
    maps: Sequence[Numbers], effects: Sequence[Numbers], spans: Sequence[Sequence[int]], margin: int, edge: str
) -> list[tuple[Vector, Vector]]:
    """Return per entity the map and the effects in its `boundary_window`."""
    windows = []
    for index, (values, measured, span) in enumerate(zip(maps, effects, spans)):
        values = as_vector(values, f"{edge}_maps[{index}]")
        window = boundary_window(span, values.size, margin)
        measured = as_vector(measured, f"{edge}_effects[{index}]")
        if measured.size == values.size:
            measured = measured[window]
        windows.append((values[window], as_vector(measured, f"{edge}_effects[{index}]", window.stop - window.start)))
    return windows


def boundary_sensitivity(intact: Numbers, masked: Numbers) -> dict[str, Vector]:
    """Compute boundary sensitivity (BS): the drop in the boundary's probability when a character is hidden.

    Args:
        intact: (entities,) the marginal probability of the boundary in the text.
        masked: (entities,) the same with a character hidden: the edge itself, or a middle one as control.

    Returns:
        `log_odds`, logit intact - logit masked with probabilities clamped to [1e-6, 1 - 1e-6], so at most 27.7 in
        magnitude; `probability`, intact - masked in [-1, 1]. Both (entities,), higher is more sensitive: descriptive,
        neither better nor worse. The magnitude of `probability` under an edit just outside is the outer sensitivity
        (OS), lower is better.

    Raises:
        ValueError: not probabilities, or different numbers of them.
    """
    intact = as_probabilities(intact, "intact")
    masked = as_probabilities(masked, "masked", intact.size)
    return {"log_odds": _logit(intact) - _logit(masked), "probability": intact - masked}


def _logit(probabilities: Vector) -> Vector:
    clamped = probabilities.clip(CLAMP, 1 - CLAMP)
    return np.log(clamped) - np.log1p(-clamped)


def boundary_sensitivity_ratio(edge: Numbers, middle: Numbers) -> Vector:
    """Compute edge / (edge + middle + 1e-6): the sensitivity to the edge as a share of that to edge and middle.

    Negative sensitivities (hiding the character helped) count as 0, to bound the ratio.

    Returns:
        (entities,) in [0, 1), 0.5 where both are equal.

    Raises:
        ValueError: not finite vectors of one length.
    """
    edge = np.maximum(as_vector(edge, "edge"), 0)
    middle = np.maximum(as_vector(middle, "middle", edge.size), 0)
    return edge / (edge + middle + RATIO_FLOOR)


def boundary_mass(maps: Sequence[Numbers], spans: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Compute boundary attribution mass (BAM): the share of attribution on {s-1, s, e, e+1}.

    s and e are the first and the last character of the entity.

    Args:
        maps: per entity its map; magnitudes are taken and normalised to sum 1.
        spans: per entity `(start, end)`, `end` exclusive.

    Returns:
        `mass`, mean over entities in [0, 1]; `lift`, mean of mass / (size of the set / L) in [0, L], 1 for a constant
        map; `entities`; `per_entity`, (mass, lift) of each. A map of zeros has both 0. NaN without entities.

    Raises:
        ValueError: columns of different lengths, an entity outside its text, or numbers that are not finite.
    """
    same_count(maps=maps, spans=spans)
    scores = []
    for index, (values, span) in enumerate(zip(maps, spans)):
        values = np.abs(as_vector(values, f"maps[{index}]"))
        start, end = as_range(span, values.size, f"spans[{index}]")
        positions = {position for position in (start - 1, start, end - 1, end) if 0 <= position < values.size}
        total = values.sum()
        mass = float(values[list(positions)].sum() / total) if total else 0.0
        scores.append((mass, mass * values.size / len(positions)))
    means = [mean_or_nan([score[column] for score in scores]) for column in (0, 1)]
    return {"mass": means[0], "lift": means[1], "entities": len(scores), "per_entity": scores}
