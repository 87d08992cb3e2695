"""Faithfulness: does the model need what an explanation points at?"""

from __future__ import annotations

import numpy as np

from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.audit.measurements.removal import measure_removal
from hf_adner.audit.measurements.soft_removal import measure_soft_removal
from hf_adner.metrics.infidelity import infidelity


def measure_faithfulness(run: ExplainerRun) -> Measurement:
    """Removal of the context (`removal`), soft removal (`soft_removal`) and infidelity.

    Infidelity holds the signed scores of randomly hidden characters against the change of the log-odds, at the
    optimal scale, divided by the variance of all changes; 1 is what an explanation of nothing has, about.
    """
    parts = (measure_removal(run), measure_soft_removal(run))
    unfaithful, details = _infidelity(run)
    values = {name: column for part in parts for name, column in part.values.items()}
    return Measurement({**values, "infidelity": unfaithful}, {**parts[1].details, **details})


def _infidelity(run: ExplainerRun) -> tuple[np.ndarray, dict[str, float]]:
    predicted, measured = [], []
    for number, explanation in enumerate(run.originals):
        hidden, changes = run.behaviour.random_sets(number)
        window = run.behaviour.home(number).window
        predicted.append(hidden @ window.importance(np.array(explanation.scores)))
        measured.append(changes)
    found = infidelity(predicted, measured)
    variance = found["change_variance"]
    values = np.array(found["per_entity"]) / (variance if variance else np.nan)
    return values, {"change_variance": variance}
