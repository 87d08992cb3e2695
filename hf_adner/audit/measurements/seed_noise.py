"""Seed noise: how much of an explanation by sampling is the sampling's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from hf_adner.audit.explainer_run import ExplainerRun, magnitudes
from hf_adner.audit.measurements.measurement import Measurement
from hf_adner.explain.sampling import SamplingExplainer
from hf_adner.metrics.stability import pairwise_stability


def measure_seed_noise(run: ExplainerRun) -> Measurement:
    """Similarity of explanations of the same text with two seeds, for explainers that sample; nothing for others.

    Stability under perturbation can be read only below this ceiling.
    """
    if not isinstance(run.explainer, SamplingExplainer):
        return Measurement()
    other = reseeded(run.explainer)
    found = pairwise_stability(run.maps, [magnitudes(one) for one in run.explain(other)])
    values = {f"seed_{name}": np.asarray(found[name]) for name in ("cosine", "spearman", "top_k_jaccard")}
    return Measurement(values, {"n_samples": run.explainer.n_samples})


def reseeded(explainer: Any) -> Any:
    """An explainer that samples with another seed; any other one as it is."""
    if not isinstance(explainer, SamplingExplainer):
        return explainer
    other = copy.copy(explainer)
    other.seed = explainer.seed + 1
    return other
