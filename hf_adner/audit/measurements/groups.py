"""What measures each group."""

from __future__ import annotations

from collections.abc import Callable

from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements.boundary import measure_boundary
from hf_adner.audit.measurements.faithfulness import measure_faithfulness
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.audit.measurements.plausibility import measure_plausibility
from hf_adner.audit.measurements.randomisation import measure_randomisation
from hf_adner.audit.measurements.seed_noise import measure_seed_noise
from hf_adner.audit.measurements.sensitivity import measure_sensitivity
from hf_adner.audit.measurements.stability import measure_stability

MEASURING: dict[str, Callable[[ExplainerRun], Measurement]] = {
    "stability": measure_stability,
    "sensitivity": measure_sensitivity,
    "faithfulness": measure_faithfulness,
    "boundary": measure_boundary,
    "plausibility": measure_plausibility,
    "randomisation": measure_randomisation,
    "seed-noise": measure_seed_noise,
}
"""Group -> its measurement; the names are `hf_adner.audit.explanation_settings.GROUPS`."""
