"""Boundaries: do explanations of an entity's start and end agree with what moves them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_adner.audit.entity_readings import END, START
from hf_adner.audit.explainer_run import ExplainerRun, magnitudes
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.audit.targeted import with_target
from hf_adner.metrics.boundary import boundary_agreement, boundary_mass, boundary_window
from hf_adner.metrics.similarity import partial_spearman


def measure_boundary(run: ExplainerRun) -> Measurement:
    """Boundary-faithful agreement, with and without what nearness alone explains, and the mass at the boundary.

    The explainer is asked for the start and for the end (`with_target`); magnitudes of its scores are ranked against
    magnitudes of the effect that hiding each character has on that boundary's probability (``agreement``), and against
    the effect of random characters in its place (``replaced_agreement``). An explainer that hides characters itself is
    close to the first by construction; the second is the fairer contest. What is near a boundary matters more to it,
    so that a template of distances agrees well: ``.._given_position`` take the distance to the boundary's character out
    of both ranks (`partial_spearman`), and a template of just that scores 0. Details: both edges apart, and the share
    of ranks that were constant.
    """
    starts, ends = ([magnitudes(one) for one in run.explain(with_target(run.explainer, edge))] for edge in _EDGES)
    details, values = {}, {}
    for name, replaced in (("agreement", False), ("replaced_agreement", True)):
        effects = [_effects(run, column, replaced) for column in (START, END)]
        found = boundary_agreement(starts, effects[0], ends, effects[1], run.spans)
        values[name] = np.array(found["per_entity"])
        values[f"{name}_given_position"] = _given_position(run, (starts, ends), effects)
        details[name] = {key: found[key] for key in ("start_agreement", "end_agreement", "constant")}
    mass = boundary_mass(run.maps, run.spans)
    values["boundary_mass_lift"] = np.array([lift for _, lift in mass["per_entity"]])
    return Measurement(values, {**details, "boundary_mass": mass["mass"]})


_EDGES = ("start", "end")


def _given_position(
    run: ExplainerRun, maps: Sequence[list[np.ndarray]], effects: Sequence[list[np.ndarray]]
) -> np.ndarray:
    """(entities,) mean over both edges of the partial rank correlation in the boundary's window."""
    rows = []
    for number, (start, end) in enumerate(run.spans):
        window = boundary_window((start, end), len(maps[0][number]))
        places = np.arange(window.start, window.stop)
        rows.append(
            [
                partial_spearman(found[number][window], measured[number][window], -np.abs(places - edge))
                for found, measured, edge in zip(maps, effects, (start, end - 1))
            ]
        )
    return np.array(rows).reshape(-1, 2).mean(axis=1)


def _effects(run: ExplainerRun, column: int, replaced: bool) -> list[np.ndarray]:
    return [np.abs(run.behaviour.character_effects(number, column, replaced)) for number in range(run.count)]
