"""Max-sensitivity: how far an explanation moves when the embeddings are shaken a little."""

from __future__ import annotations

import numpy as np

from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.audit.noisy_embeddings import noisy_embeddings
from hf_adner.metrics.sensitivity import max_sensitivity


def measure_sensitivity(run: ExplainerRun) -> Measurement:
    """`metrics.sensitivity.max_sensitivity` of the signed scores over several noises.

    It grows with the number of draws and with the radius: compare only at the same ones. Where an explanation is zero
    and stays so it is 0; where it was zero and did not stay so there is no value.
    """
    settings = run.settings
    own = [np.array(explanation.scores) for explanation in run.originals]
    distances: list[list[float]] = [[] for _ in own]
    for draw in range(settings.sensitivity_draws):
        with noisy_embeddings(run.behaviour.model, settings.sensitivity_radius, settings.seed + draw):
            moved = run.explain(run.explainer)
        for row, before, after in zip(distances, own, moved):
            row.append(float(np.linalg.norm(np.array(after.scores) - before)))
    values = max_sensitivity(distances, [float(np.linalg.norm(scores)) for scores in own])
    values[~np.isfinite(values)] = np.nan
    details = {"draws": settings.sensitivity_draws, "radius": settings.sensitivity_radius}
    return Measurement({"max_sensitivity": values}, details)
