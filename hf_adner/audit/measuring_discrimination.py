"""Measures that take off what an explanation shares with those of other entities of the type.

Nearness to the entity is most of any agreement between an explanation and the model's response: a template of
positions, which knows no model, leads plain comprehensiveness. What a map gains over the maps or responses of other
entities, laid on the same roles, is free of it: constant maps and templates of positions score 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_adner.audit.measures import ExplainerRun, Measurement, Pair
from hf_adner.audit.measuring_faithfulness import by_importance, removal_curves
from hf_adner.audit.responses import END, PROBABILITY, START, EntityLocation
from hf_adner.metrics.boundary import MARGIN
from hf_adner.metrics.discriminative_faithfulness import discriminative_faithfulness
from hf_adner.metrics.faithfulness import aopc
from hf_adner.metrics.similarity import WIDTH

OTHERS = 4
"""Other entities of the type whose maps an entity's own is compared with by removal."""


def measure_discrimination(run: ExplainerRun) -> Measurement:
    """Measure `metrics.discriminative_faithfulness` of the maps of views against `ModelResponses.response`.

    The details are its means and counts, and `families`, each family of views by itself.
    """
    responses = [run.responses.response(number) for number in range(run.count)]
    scores = _discrimination(run, responses, run.pairs)
    values = np.array(scores.pop("per_entity"), dtype=np.float64)
    families = {
        family: _discrimination(run, responses, [pair for pair in run.pairs if pair.view.family == family])
        for family in dict.fromkeys(pair.view.family for pair in run.pairs)
    }
    names = ("discriminative_faithfulness", "coverage", "pairs")
    parts = {family: {name: found[name] for name in names} for family, found in families.items()}
    return Measurement({"discriminative_faithfulness": values}, {**scores, "families": parts})


def _discrimination(run: ExplainerRun, responses: Sequence[np.ndarray], pairs: Sequence[Pair]) -> dict[str, Any]:
    by_entity = run.by_entity(pairs)
    return discriminative_faithfulness(
        [[pair.map for pair in own] for own in by_entity],
        responses,
        run.spans,
        run.labels,
        [[pair.alignment for pair in own] for own in by_entity],
    )


def measure_contrast(run: ExplainerRun) -> Measurement:
    """Measure boundary agreement and comprehensiveness over others.

    ``agreement_over_others``: BFArep of an entity minus that of its maps with the responses of the other entities of
    its type, mean of both edges; `metrics.discriminative_faithfulness` of the maps of the edges in the entity's own
    text, within `metrics.boundary.MARGIN` characters.

    ``comprehensiveness_over_others``: AOPC of removing context in the order of the entity's own map minus AOPC of
    removing it in the order of another entity's map, laid on the same distances before and after the entity; mean over
    up to `OTHERS` entities of the type, the same for every explainer. Only characters within
    `metrics.similarity.WIDTH` that exist around both entities count, so that the order of a template is the same both
    times. Range [-1, 1]. Both are NaN for the only entity of a type.
    """
    edges = [
        discriminative_faithfulness(
            [[values] for values in maps],
            [np.abs(run.responses.character_effects(number, column, replaced=True)) for number in range(run.count)],
            run.spans,
            run.labels,
            width=MARGIN,
        )
        for maps, column in zip(run.edge_maps, (START, END))
    ]
    agreements = np.array([edge["per_entity"] for edge in edges], dtype=np.float64).mean(axis=0)
    removals = np.array([_removal_over_others(run, number) for number in range(run.count)], dtype=np.float64)
    values = {"agreement_over_others": agreements, "comprehensiveness_over_others": removals}
    return Measurement(values, {"others": OTHERS, "width": WIDTH})


def _removal_over_others(run: ExplainerRun, number: int) -> float:
    gains = [_removal_over(run, number, other) for other in others_of_type(run, number)]
    gains = [gain for gain in gains if gain is not None]
    return float(np.mean(gains)) if gains else float("nan")


def others_of_type(run: ExplainerRun, number: int) -> list[int]:
    """Return up to `OTHERS` random other entities of an entity's type, the same for explainers of equally many."""
    label = run.labels[number]
    others = [other for other in range(run.count) if run.labels[other] == label and other != number]
    rng = np.random.default_rng([run.settings.seed, number])
    return sorted(rng.permutation(others)[:OTHERS].tolist())


def _removal_over(run: ExplainerRun, number: int, other: int) -> float | None:
    """Return by how much the AOPC of an entity's own map exceeds that of another entity's; None without context."""
    location, beside = run.responses.locate(number), run.responses.locate(other)
    places = shared_places(location, beside)
    if not places:
        return None
    own = location.window.importance(run.maps[number])
    foreign = np.zeros_like(own)
    values = beside.window.importance(run.maps[other])
    for unit, counterpart in places.items():
        foreign[unit] = values[counterpart]
    orders = [by_importance(scores, list(places), run.settings.seed + number) for scores in (own, foreign)]
    full = float(location.window.intact[location.number, PROBABILITY])
    mine, theirs = aopc([full] * 2, removal_curves(location, orders)[0])
    return float(mine - theirs)


def shared_places(location: EntityLocation, other: EntityLocation) -> dict[int, int]:
    """Return the context units within `WIDTH` of an entity that have a counterpart around another: unit -> its unit."""
    (first, last), (other_first, other_last) = (
        (own[0], own[-1]) for own in (each.window.own_units(each.number) for each in (location, other))
    )
    before = min(WIDTH, first, other_first)
    after = min(WIDTH, location.window.count - 1 - last, other.window.count - 1 - other_last)
    places = {first - step: other_first - step for step in range(before, 0, -1)}
    return {**places, **{last + step: other_last + step for step in range(1, after + 1)}}
