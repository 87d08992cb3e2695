"""What an audit of explanations measures, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hf_adner.perturb.perturbation import Perturbation

GROUPS = ("stability", "sensitivity", "faithfulness", "boundary", "plausibility", "randomisation", "seed-noise")
"""Groups of measurements of an explainer; see `hf_adner.audit.measurements`."""


@dataclass(frozen=True)
class ExplanationSettings:
    """Sizes of an audit.

    One pass explains every entity once. An explainer is asked for 1 pass over the original texts, about
    ``views x families`` for stability, `sensitivity_draws` for sensitivity, 2 for boundaries, one per share for
    randomisation and 1 for seed noise; faithfulness asks the model, not the explainer, ``10 + 4 x soft_draws`` short
    batches per entity.

    Attributes:
        families: names of label-preserving perturbations, or name -> perturbation; None takes those of
            `perturbations.DEFAULT_FAMILIES` that the tokenizer's lexicon allows.
        views: perturbed texts per document and family, the same for all explainers.
        groups: which of `GROUPS` to measure.
        max_entities: how many entities are explained.
        entities_per_document: at most so many of one document; None takes all. Few per document make the entities more
            independent, many make explainers that share passes over a text cheaper.
        max_sampling_entities: the same for explainers that sample (LIME, KernelSHAP): the first of the others.
        sensitivity_draws: noises per entity for max-sensitivity.
        sensitivity_radius: largest noise, as a share of the embedding table's root mean square.
        infidelity_draws: random sets of hidden characters per text.
        soft_draws: random masks of the embeddings' dimensions per entity.
        orderings: random orderings of removal among those that give the bounds of AOPC.
        beam_width: search the bounds with beams of this width instead; 0 does not. Exact enough from 5 on, and costs
            thousands of forward passes per entity.
        replacements: random characters that are tried in the place of each, beside the mask token.
        random_shares: shares of the model's parameters that are made random, from the output down; 1 is all of them.
        batch_size: texts, or copies of one, per forward pass.
        level: of the intervals, which come from resampled documents.
        resamples: how many.
        seed: of the choice of entities, of views, noises and draws.

    Raises:
        ValueError: a number out of range or an unknown group.
    """

    families: Sequence[str] | Mapping[str, Perturbation] | None = None
    views: int = 8
    groups: Sequence[str] = GROUPS
    max_entities: int = 150
    entities_per_document: int | None = None
    max_sampling_entities: int = 100
    sensitivity_draws: int = 10
    sensitivity_radius: float = 0.05
    infidelity_draws: int = 50
    soft_draws: int = 10
    orderings: int = 8
    beam_width: int = 0
    replacements: int = 2
    random_shares: Sequence[float] = (0.25, 0.5, 1.0)
    batch_size: int = 16
    level: float = 0.95
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [group for group in self.groups if group not in GROUPS]
        if unknown:
            raise ValueError(f"groups are {GROUPS}, found {unknown}")
        for name in _POSITIVE:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, found {getattr(self, name)}")
        if self.beam_width < 0 or not self.sensitivity_radius > 0:
            raise ValueError("beam_width must not be negative, sensitivity_radius must be positive")
        if not self.random_shares or not all(0 < share <= 1 for share in self.random_shares):
            raise ValueError(f"random_shares must lie in (0, 1], found {list(self.random_shares)}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie in (0, 1), found {self.level}")


_POSITIVE = (
    "views", "max_entities", "entities_per_document", "max_sampling_entities", "sensitivity_draws", "infidelity_draws",
    "soft_draws", "orderings", "replacements", "batch_size", "resamples",
)  # fmt: skip
