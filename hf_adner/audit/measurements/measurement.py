"""What measuring gives, and what the numbers are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

HIGHER, LOWER, NEAR_ZERO, DESCRIPTION = "higher", "lower", "near 0", ""


@dataclass(frozen=True)
class Measurement:
    """Numbers of one group.

    Attributes:
        values: name of a `Measure` -> (entities,) float64, NaN where an entity has none.
        details: what has no value per entity; plain numbers and dictionaries.
    """

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Measure(NamedTuple):
    """One number of an explanation.

    Attributes:
        name: key in records.
        group: see `hf_adner.audit.explanation_settings.GROUPS`.
        title: head of a column.
        better: which way is good.
        bounds: least and greatest value.
    """

    name: str
    group: str
    title: str
    better: str
    bounds: str


MEASURES = (
    Measure("discriminative_stability", "stability", "DS", HIGHER, "-1..1"),
    Measure("cosine", "stability", "cosine", HIGHER, "0..1"),
    Measure("spearman", "stability", "Spearman", HIGHER, "-1..1"),
    Measure("top_k_jaccard", "stability", "top-k", HIGHER, "0..1"),
    Measure("context_top_k_jaccard", "stability", "top-k, context", HIGHER, "0..1"),
    Measure("map_consistency", "stability", "MAP consistency", HIGHER, "0..1"),
    Measure("max_sensitivity", "sensitivity", "max-sensitivity", LOWER, "0..inf"),
    Measure("comprehensiveness", "faithfulness", "comprehensiveness", HIGHER, "-1..1"),
    Measure("sufficiency", "faithfulness", "sufficiency", LOWER, "-1..1"),
    Measure("normalised_comprehensiveness", "faithfulness", "NAOPC compr.", HIGHER, "0..1"),
    Measure("normalised_sufficiency", "faithfulness", "NAOPC suff.", LOWER, "0..1"),
    Measure("soft_comprehensiveness", "faithfulness", "Soft-NC", HIGHER, "0..1"),
    Measure("soft_sufficiency", "faithfulness", "Soft-NS", HIGHER, "0..1"),
    Measure("soft_comprehensiveness_gain", "faithfulness", "Soft-NC gain", HIGHER, "-1..1"),
    Measure("soft_sufficiency_gain", "faithfulness", "Soft-NS gain", HIGHER, "-1..1"),
    Measure("infidelity", "faithfulness", "infidelity", LOWER, "0..inf"),
    Measure("agreement", "boundary", "BFA", HIGHER, "-1..1"),
    Measure("replaced_agreement", "boundary", "BFA, replaced", HIGHER, "-1..1"),
    Measure("agreement_given_position", "boundary", "BFA, position out", HIGHER, "-1..1"),
    Measure("replaced_agreement_given_position", "boundary", "BFA, replaced, position out", HIGHER, "-1..1"),
    Measure("boundary_mass_lift", "boundary", "boundary mass lift", DESCRIPTION, "0..L"),
    Measure("auprc", "plausibility", "AUPRC", HIGHER, "0..1"),
    Measure("auprc_lift", "plausibility", "AUPRC lift", HIGHER, "-1..1"),
    Measure("context_auprc", "plausibility", "AUPRC, context", HIGHER, "0..1"),
    Measure("context_auprc_lift", "plausibility", "AUPRC lift, context", HIGHER, "-1..1"),
    Measure("context_token_f1", "plausibility", "token-F1, context", HIGHER, "0..1"),
    Measure("context_iou_f1", "plausibility", "IOU-F1, context", HIGHER, "0..1"),
    Measure("random_agreement", "randomisation", "random weights", NEAR_ZERO, "-1..1"),
    Measure("random_context_agreement", "randomisation", "random weights, context", NEAR_ZERO, "-1..1"),
    Measure("random_agreement_given_position", "randomisation", "random weights, position out", NEAR_ZERO, "-1..1"),
    Measure("seed_cosine", "seed-noise", "seed cosine", HIGHER, "0..1"),
    Measure("seed_spearman", "seed-noise", "seed Spearman", HIGHER, "-1..1"),
    Measure("seed_top_k_jaccard", "seed-noise", "seed top-k", HIGHER, "0..1"),
)
"""Every number that has a value per entity."""
