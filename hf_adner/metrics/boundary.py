"""Boundaries: do explanations of an entity's edges agree with what the model does when characters there are hidden?

Boundary-faithful agreement asks behaviour and is the endpoint to believe. The mass of attribution at the boundary can
be trained into any explanation and says nothing of faithfulness; it is given for description.
"""

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np

from .inputs import (
    INTEGER_ROW,
    ROW,
    NumberInputs,
    Numbers,
    Vector,
    as_probabilities,
    as_range,
    as_vector,
    mean_or_nan,
    same_count,
)
from .similarity import is_constant, spearman

SUMMARY = "Boundary-faithful agreement, and boundary attribution mass with its lift, of explanations of entity edges."
INPUTS = """
Args:
    predictions: per entity the attribution map of its start, one number per character.
    references: per entity the measured effect on its start's probability of hiding each character.
    end_predictions, end_references: likewise of its end.
    spans: per entity its (start, end).
    maps: per entity the attribution map of the entity, for the boundary mass; optional.
    margin: characters beyond each edge that are compared (default 3).
Returns:
    agreement, start_agreement, end_agreement, constant, entities, per_entity; with maps mass and lift.
"""

MARGIN = 3
CLAMP = 1e-6
RATIO_FLOOR = 1e-6


def boundary_window(span: Sequence[int], length: int, margin: int = MARGIN) -> slice:
    """The characters from `margin` before an entity to `margin` after it, inside the text.

    Raises:
        ValueError: the entity lies outside the text.
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
    """Boundary-faithful agreement (BFA): Spearman, around the entity, of attributions with measured effects.

    For the start, attributions of the (contrastive) start score are ranked against the drop in the start's marginal
    when each character is hidden; for the end likewise; over characters from `margin` before the entity to `margin`
    after it. Defined here (no earlier source known). Give both signed, or both as magnitudes. A constant map ranks
    nothing and scores 0.

    Args:
        start_maps: per entity the map, (L,).
        start_effects: per entity the measured effects, (L,), or only those of its `boundary_window`.
        end_maps: likewise for the end.
        end_effects: likewise for the end.
        spans: per entity `(start, end)`, `end` exclusive.
        margin: characters beyond each edge.

    Returns:
        `start_agreement`, `end_agreement`, means over entities in [-1, 1], and `agreement`, the mean of both, higher is
        better, NaN without entities; `constant`, the share of the rank correlations that were not defined; `entities`;
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
    windows = []
    for index, (values, found, span) in enumerate(zip(maps, effects, spans)):
        values = as_vector(values, f"{edge}_maps[{index}]")
        window = boundary_window(span, values.size, margin)
        found = as_vector(found, f"{edge}_effects[{index}]")
        if found.size == values.size:
            found = found[window]
        windows.append((values[window], as_vector(found, f"{edge}_effects[{index}]", window.stop - window.start)))
    return windows


def boundary_sensitivity(intact: Numbers, masked: Numbers) -> dict[str, Vector]:
    """Boundary sensitivity (BS): how much the boundary's probability falls when a character is hidden.

    Args:
        intact: (entities,) the marginal probability of the boundary in the text.
        masked: (entities,) the same with a character hidden: the edge itself, or a middle one as control.

    Returns:
        `log_odds`, logit intact - logit masked with probabilities clamped to [1e-6, 1 - 1e-6], so at most 27.7 in
        magnitude; `probability`, intact - masked in [-1, 1]. Both (entities,), higher is more sensitive: a description,
        neither better nor worse. The magnitude of `probability` under an edit just outside is the outer sensitivity
        (OS), lower is better.

    Raises:
        ValueError: not probabilities, or different numbers of them.
    """
    intact = as_probabilities(as_vector(intact, "intact"), "intact")
    masked = as_probabilities(as_vector(masked, "masked", intact.size), "masked")
    return {"log_odds": _logit(intact) - _logit(masked), "probability": intact - masked}


def boundary_sensitivity_ratio(edge: Numbers, middle: Numbers) -> Vector:
    """edge / (edge + middle + 1e-6): the share of the edge's sensitivity beside a middle character's, (entities,).

    Range [0, 1), one half where they are alike. A negative sensitivity (hiding the character helped) counts as 0, or
    the ratio would have no range.

    Raises:
        ValueError: not finite vectors of one length.
    """
    edge = np.maximum(as_vector(edge, "edge"), 0)
    middle = np.maximum(as_vector(middle, "middle", edge.size), 0)
    return edge / (edge + middle + RATIO_FLOOR)


def boundary_mass(maps: Sequence[Numbers], spans: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Boundary attribution mass (BAM): the share of attribution on {s-1, s, e, e+1}, s and e first and last character.

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
        places = {place for place in (start - 1, start, end - 1, end) if 0 <= place < values.size}
        total = values.sum()
        mass = float(values[list(places)].sum() / total) if total else 0.0
        scores.append((mass, mass * values.size / len(places)))
    means = [mean_or_nan([score[column] for score in scores]) for column in (0, 1)]
    return {"mass": means[0], "lift": means[1], "entities": len(scores), "per_entity": scores}


def _logit(probabilities: Vector) -> Vector:
    clamped = probabilities.clip(CLAMP, 1 - CLAMP)
    return np.log(clamped) - np.log1p(-clamped)


class Boundary(NumberInputs, evaluate.Metric):
    """`boundary_agreement`, and `boundary_mass` where maps are given, as an `evaluate.Metric`."""

    summary = SUMMARY
    inputs = INPUTS
    columns = {
        "predictions": ROW,
        "references": ROW,
        "end_predictions": ROW,
        "end_references": ROW,
        "spans": INTEGER_ROW,
    }

    def _compute(
        self, predictions, references, end_predictions, end_references, spans, maps=None, margin=MARGIN
    ) -> dict[str, Any]:
        scores = boundary_agreement(predictions, references, end_predictions, end_references, spans, margin)
        if maps is not None:
            mass = boundary_mass(maps, spans)
            scores |= {"mass": mass["mass"], "lift": mass["lift"]}
        return scores
