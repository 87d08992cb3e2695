"""Boundaries: do explanations of an entity's start and end agree with what moves them?"""

from __future__ import annotations

import numpy as np

from hf_adner.audit.entity_readings import END, START
from hf_adner.audit.explainer_run import ExplainerRun, magnitudes
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.audit.targeted import with_target
from hf_adner.metrics.boundary import boundary_agreement, boundary_mass


def measure(run: ExplainerRun) -> Measurement:
    """Boundary-faithful agreement, twice, and the mass of attribution at the boundary.

    The explainer is asked for the start and for the end (`with_target`); magnitudes of its scores are ranked against
    magnitudes of the effect that hiding each character has on that boundary's probability (``agreement``), and against
    the effect of random characters in its place (``replaced_agreement``). An explainer that hides characters itself is
    close to the first by construction; the second is the fairer contest. Details: both edges apart, and the share of
    ranks that were constant.
    """
    starts, ends = ([magnitudes(one) for one in run.explain(with_target(run.explainer, edge))] for edge in _EDGES)
    details, values = {}, {}
    for name, replaced in (("agreement", False), ("replaced_agreement", True)):
        found = boundary_agreement(
            starts, _effects(run, START, replaced), ends, _effects(run, END, replaced), run.spans
        )
        values[name] = np.array(found["per_entity"])
        details[name] = {key: found[key] for key in ("start_agreement", "end_agreement", "constant")}
    mass = boundary_mass(run.maps, run.spans)
    values["boundary_mass_lift"] = np.array([lift for _, lift in mass["per_entity"]])
    return Measurement(values, {**details, "boundary_mass": mass["mass"]})


_EDGES = ("start", "end")


def _effects(run: ExplainerRun, column: int, replaced: bool) -> list[np.ndarray]:
    return [np.abs(run.behaviour.character_effects(number, column, replaced)) for number in range(run.count)]
