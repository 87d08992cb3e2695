"""What measures each group."""

from __future__ import annotations

from collections.abc import Callable

from hf_adner.audit.explainer_run import ExplainerRun
from hf_adner.audit.measurements import (
    boundary,
    faithfulness,
    plausibility,
    randomisation,
    seed_noise,
    sensitivity,
    stability,
)
from hf_adner.audit.measurements.measurement import Measurement

MEASURING: dict[str, Callable[[ExplainerRun], Measurement]] = {
    "stability": stability.measure,
    "sensitivity": sensitivity.measure,
    "faithfulness": faithfulness.measure,
    "boundary": boundary.measure,
    "plausibility": plausibility.measure,
    "randomisation": randomisation.measure,
    "seed-noise": seed_noise.measure,
}
"""Group -> its measurement; the names are `hf_adner.audit.explanation_settings.GROUPS`."""
