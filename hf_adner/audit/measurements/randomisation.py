"""The randomisation check: explanations of the model with its weights thrown away."""

from __future__ import annotations

import numpy as np

from hf_adner.audit.explainer_run import ExplainerRun, magnitudes
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.audit.measurements.seed_noise import reseeded
from hf_adner.audit.randomised import randomised_weights
from hf_adner.metrics.randomisation import randomisation
from hf_adner.metrics.similarity import partial_spearman


def measure_randomisation(run: ExplainerRun) -> Measurement:
    """Rank agreement of the maps of the model and of the model with random weights, for each share of them.

    The largest share gives the values: over all characters, where the entity's own ones come first in nearly every map
    of any model; over the context; and over all given the distance to the entity (`partial_spearman`), since any model
    that reads a text in order is more sensitive to what is near. Details: for every share `metrics.randomisation`
    without its values, and `context_rank_agreement`. What an explainer learned of the model beforehand (a global table)
    it must learn again of the random one, or it is not put to the test: see `rebuild` of `ExplanationAudit.score`.
    One that samples does so with another seed, or both maps would share its noise.
    """
    shares = sorted(run.settings.random_shares)
    details = {}
    for share in shares:
        with randomised_weights(run.behaviour.model, share, run.settings.seed):
            explainer = reseeded(run.explainer) if run.rebuild is None else run.rebuild()
            others = [magnitudes(one) for one in run.explain(explainer)]
        found = randomisation(run.maps, others)
        outside = randomisation(_contexts(run, run.maps), _contexts(run, others))
        agreement, context = (np.array(one.pop("per_entity")) for one in (found, outside))
        details[f"{share:g}"] = {**found, "context_rank_agreement": outside["rank_agreement"]}
    values = {"random_agreement": agreement, "random_context_agreement": context}
    return Measurement({**values, "random_agreement_given_position": _given_position(run, others)}, details)


def _given_position(run: ExplainerRun, others: list[np.ndarray]) -> np.ndarray:
    distances = [
        -np.array([max(start - place, place - end + 1, 0) for place in range(len(values))])
        for values, (start, end) in zip(run.maps, run.spans)
    ]
    return np.array([partial_spearman(*each) for each in zip(run.maps, others, distances)])


def _contexts(run: ExplainerRun, maps: list[np.ndarray]) -> list[np.ndarray]:
    return [np.delete(values, slice(*span)) for values, span in zip(maps, run.spans)]
