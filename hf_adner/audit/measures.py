"""What measuring gives, and what the numbers are called.

What an audit of explanations measures, and what it may cost.

One explainer at work on a population.

Explainers asked for other targets than the label: why an entity begins, and why it ends.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from tqdm.auto import tqdm

from hf_adner.audit.responses import ModelResponses
from hf_adner.audit.sample import EntitySample, View
from hf_adner.data.records import EntitySpan
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fused import FusedExplainer
from hf_adner.explain.targets import Target
from hf_adner.perturb.perturbation import Perturbation

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
        group: see `hf_adner.audit.measures.GROUPS`.
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


Explainer: TypeAlias = Callable[[Sequence[str], Sequence[Sequence[EntitySpan]]], list[list[Explanation]]]
CHUNK = 16


class ExplainerRun:
    """An explainer with everything that its measurements need.

    Args:
        explainer: what explains.
        count: how many of the population's subjects it is asked for, the first ones.
        population, views, behaviour, settings: what all explainers of an audit share.
        rebuild: makes the explainer anew while the model's weights are random; None asks the same one.
        bar: counts the texts that were explained.
    """

    def __init__(
        self,
        explainer: Explainer,
        count: int,
        population: EntitySample,
        views: Sequence[View],
        behaviour: ModelResponses,
        settings: ExplanationSettings,
        rebuild: Callable[[], Explainer] | None = None,
        bar: tqdm | None = None,
    ):
        self.explainer, self.count, self.rebuild = explainer, count, rebuild
        self.population, self.views, self.behaviour, self.settings = population, views, behaviour, settings
        self._bar = bar

    @property
    def subjects(self):
        """The entities that are explained."""
        return self.population.subjects[: self.count]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of each subject."""
        return [subject.span[:2] for subject in self.subjects]

    @cached_property
    def originals(self) -> list[Explanation]:
        """The explanation of every subject in its own text."""
        return self.explain(self.explainer)

    @cached_property
    def maps(self) -> list[np.ndarray]:
        """Importance of every character for every subject: the magnitudes of its scores."""
        return [magnitudes(explanation) for explanation in self.originals]

    def explain(self, explainer: Explainer) -> list[Explanation]:
        """Explanations of every subject in its own text, by another explainer or the same once more."""
        owners = self.population.by_document(self.count)
        texts = [self.population.documents[document].text for document in owners]
        spans = [[self.population.subjects[number].span for number in numbers] for numbers in owners.values()]
        found: dict[int, Explanation] = {}
        for numbers, explanations in zip(owners.values(), self.ask(explainer, texts, spans)):
            found.update(zip(numbers, explanations, strict=True))
        return [found[number] for number in range(self.count)]

    def ask(
        self, explainer: Explainer, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]]
    ) -> list[list[Explanation]]:
        """Explanations of given entities of texts, some texts at a time."""
        found = []
        for first in range(0, len(texts), CHUNK):
            part = slice(first, first + CHUNK)
            found += explainer(texts[part], spans[part])
            if self._bar is not None:
                self._bar.update(len(texts[part]))
        return found


def magnitudes(explanation: Explanation) -> np.ndarray:
    """(characters,) absolute scores."""
    return np.abs(np.array(explanation.scores, dtype=np.float64))


class TargetedExplainer:
    """Explainers of one method for several targets, such as fused ones, each with a table of its own target.

    Args:
        explainers: name of a target -> its explainer; called itself it is the one of ``label``.

    Raises:
        ValueError: none for ``label``.
    """

    def __init__(self, explainers: Mapping[str, Any]):
        if "label" not in explainers:
            raise ValueError(f"an explainer for 'label' is needed, found those of {sorted(explainers)}")
        self._explainers = dict(explainers)

    def __call__(self, texts: Sequence[str], entities: Sequence[Any] | None = None) -> list[list[Explanation]]:
        """What the explainer of the label gives."""
        return self._explainers["label"](texts, entities)

    def with_target(self, name: str) -> Any:
        """The explainer of a target; where there is none that of the label, asked for it."""
        return self._explainers[name] if name in self._explainers else with_target(self._explainers["label"], name)


def with_target(explainer: Any, name: str) -> Any:
    """The same explainer asked for another target; one that has none (a control, a plain function) as it is.

    A fused explainer asks its local one; its table stays that of the target it was built for.

    Args:
        explainer: a `LocalExplainer`, a `FusedExplainer`, an object with a method ``with_target(name)``, or anything
            else that explains.
        name: one of `hf_adner.explain.targets.TARGETS`.
    """
    if hasattr(explainer, "with_target"):
        return explainer.with_target(name)
    other = copy.copy(explainer)
    if isinstance(explainer, FusedExplainer):
        other.local = with_target(explainer.local, name)
    elif isinstance(explainer, LocalExplainer):
        tagger = explainer.tagger
        other.target = Target(name, tagger.labels, tagger.model.entity_log_posteriors if tagger.is_adner else None)
    return other
