"""Measures of explanations: names, settings, and the run of one explainer that they are computed from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from tqdm.auto import tqdm

from hf_adner.audit.responses import ModelResponses
from hf_adner.audit.sample import AuditedEntity, EntitySample, View
from hf_adner.data.records import EntitySpan
from hf_adner.explain.explainer import LocalExplainer
from hf_adner.explain.explanation import Explanation
from hf_adner.explain.fused import FusedExplainer
from hf_adner.explain.targets import Target
from hf_adner.perturb.perturbation import Perturbation

HIGHER, LOWER, NEAR_ZERO, DESCRIPTION = "higher", "lower", "near 0", ""


@dataclass(frozen=True)
class Measurement:
    """Results of one group of measures.

    Attributes:
        values: name of a `Measure` -> (entities,) float64, NaN where an entity has none.
        details: figures without a value per entity, as plain numbers and dictionaries.
    """

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Measure(NamedTuple):
    """A measure with a value per entity.

    Attributes:
        name: key in records.
        group: one of `GROUPS`.
        title: column title.
        better: direction that is better: `HIGHER`, `LOWER`, `NEAR_ZERO`, or `DESCRIPTION` for neither.
        bounds: lowest and highest value.
    """

    name: str
    group: str
    title: str
    better: str
    bounds: str


MEASURES = (
    Measure("discriminative_faithfulness", "discrimination", "DF", HIGHER, "-2..2"),
    Measure("agreement_over_others", "contrast", "BFArep over others", HIGHER, "-2..2"),
    Measure("comprehensiveness_over_others", "contrast", "comprehensiveness over others", HIGHER, "-1..1"),
    Measure("replaced_agreement", "boundary", "BFArep", HIGHER, "-1..1"),
    Measure("replaced_agreement_given_position", "boundary", "BFArep, position out", HIGHER, "-1..1"),
    Measure("agreement", "boundary", "BFA, mask", HIGHER, "-1..1"),
    Measure("agreement_given_position", "boundary", "BFA, mask, position out", HIGHER, "-1..1"),
    Measure("boundary_mass_lift", "boundary", "boundary mass lift", DESCRIPTION, "0..L"),
    Measure("comprehensiveness", "faithfulness", "comprehensiveness", HIGHER, "-1..1"),
    Measure("sufficiency", "faithfulness", "sufficiency", LOWER, "-1..1"),
    Measure("normalised_comprehensiveness", "faithfulness", "NAOPC compr.", HIGHER, "0..1"),
    Measure("normalised_sufficiency", "faithfulness", "NAOPC suff.", LOWER, "0..1"),
    Measure("soft_comprehensiveness", "faithfulness", "Soft-NC", HIGHER, "0..1"),
    Measure("soft_sufficiency", "faithfulness", "Soft-NS", HIGHER, "0..1"),
    Measure("soft_comprehensiveness_gain", "faithfulness", "Soft-NC gain", HIGHER, "-1..1"),
    Measure("soft_sufficiency_gain", "faithfulness", "Soft-NS gain", HIGHER, "-1..1"),
    Measure("infidelity", "faithfulness", "infidelity", LOWER, "0..inf"),
    Measure("monotonicity", "faithfulness", "monotonicity", HIGHER, "0..1"),
    Measure("monotonicity_correlation", "faithfulness", "monotonicity correlation", HIGHER, "-1..1"),
    Measure("cosine", "stability", "cosine", HIGHER, "0..1"),
    Measure("spearman", "stability", "Spearman", HIGHER, "-1..1"),
    Measure("top_k_jaccard", "stability", "top-k", HIGHER, "0..1"),
    Measure("context_top_k_jaccard", "stability", "top-k, context", HIGHER, "0..1"),
    Measure("map_consistency", "stability", "MAP consistency", HIGHER, "0..1"),
    Measure("max_sensitivity", "sensitivity", "max-sensitivity", LOWER, "0..inf"),
    Measure("sparseness", "complexity", "sparseness (Gini)", DESCRIPTION, "0..1"),
    Measure("complexity", "complexity", "complexity (entropy)", DESCRIPTION, "0..ln L"),
    Measure("average_precision", "plausibility", "average precision", HIGHER, "0..1"),
    Measure("average_precision_lift", "plausibility", "average precision lift", HIGHER, "-1..1"),
    Measure("context_average_precision", "plausibility", "average precision, context", HIGHER, "0..1"),
    Measure("context_average_precision_lift", "plausibility", "average precision lift, context", HIGHER, "-1..1"),
    Measure("auprc_trapezoid", "plausibility", "AUPRC (trapezoid)", HIGHER, "0..1"),
    Measure("context_auprc_trapezoid", "plausibility", "AUPRC (trapezoid), context", HIGHER, "0..1"),
    Measure("context_token_f1", "plausibility", "token-F1, context", HIGHER, "0..1"),
    Measure("context_iou_f1", "plausibility", "IOU-F1, context", HIGHER, "0..1"),
    Measure("random_agreement", "randomisation", "random weights", NEAR_ZERO, "-1..1"),
    Measure("random_context_agreement", "randomisation", "random weights, context", NEAR_ZERO, "-1..1"),
    Measure("random_agreement_given_position", "randomisation", "random weights, position out", NEAR_ZERO, "-1..1"),
    Measure("seed_cosine", "seed-noise", "seed cosine", HIGHER, "0..1"),
    Measure("seed_spearman", "seed-noise", "seed Spearman", HIGHER, "-1..1"),
    Measure("seed_top_k_jaccard", "seed-noise", "seed top-k", HIGHER, "0..1"),
)
"""All measures with a value per entity."""

_FORMER_NAMES = {
    f"{part}auprc{lift}": f"{part}average_precision{lift}" for part in ("", "context_") for lift in ("", "_lift")
}


def current_names(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores by measure under today's names: older records call the average precision `auprc`."""
    return {_FORMER_NAMES.get(name, name): score for name, score in scores.items()}


HEADLINE = ("discriminative_faithfulness", "agreement_over_others", "comprehensiveness_over_others")
"""Measures to judge an explainer by: constant maps and templates of positions score 0 in all of them."""

GROUPS = (
    "discrimination", "contrast", "boundary", "faithfulness", "stability", "sensitivity", "complexity", "plausibility",
    "randomisation", "seed-noise",
)  # fmt: skip
"""Groups of measures; see `hf_adner.audit.explanations.MEASUREMENTS`."""


@dataclass(frozen=True)
class ExplanationSettings:
    """Settings of an audit, which determine its cost.

    One pass explains every entity once. An explainer makes 1 pass over the original texts, about ``views x families``
    for discrimination and stability together, `sensitivity_draws` for sensitivity, 2 for contrast and boundaries
    together, one per share for randomisation and 1 for seed noise; faithfulness runs the model, not the explainer, on
    ``20 + 4 x soft_draws`` copies of the text per entity, contrast on up to 80. What the model answers when each
    character is hidden, or replaced `replacements` times, is measured once per text for all its entities, explainers
    and measures.

    Attributes:
        families: names of label-preserving perturbations, or name -> perturbation; None: those of
            `hf_adner.audit.robustness.DEFAULT_FAMILIES` that the tokenizer's lexicon allows.
        views: perturbed texts per document and family, for discrimination and stability, the same for all explainers.
        groups: groups of measures, of `GROUPS`.
        max_entities: number of explained entities.
        entities_per_document: largest number of entities of one document; None: no limit. With few per document the
            entities are more independent, with many an explainer that shares passes over a text is cheaper.
        max_sampling_entities: number of entities for explainers that sample (LIME, KernelSHAP): the first ones.
        sensitivity_draws: noises per entity for max-sensitivity.
        sensitivity_radius: largest noise, as a share of the embedding table's root mean square.
        infidelity_draws: random sets of hidden characters per text.
        soft_draws: random masks of the embeddings' dimensions per entity.
        orderings: random orderings of removal among those that give the bounds of AOPC.
        beam_width: if above 0, search the bounds with beams of this width instead. Exact enough from 5 on, at thousands
            of forward passes per entity.
        replacements: random characters tried in place of each character, for discriminative faithfulness, BFArep and
            monotonicity correlation.
        random_shares: shares of the model's parameters that are randomised, from the output down; 1 is all of them.
        batch_size: texts, or copies of one, per forward pass.
        level: of the intervals, which are from a bootstrap over documents.
        resamples: of the bootstrap.
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
    replacements: int = 4
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
"""Texts per call of an explainer."""


class Pair(NamedTuple):
    """An entity in a view with its map there, None if the model no longer predicts it."""

    entity: int
    view: View
    map: np.ndarray | None

    @property
    def alignment(self) -> tuple[int | None, ...]:
        """Position of each original character in the view."""
        return self.view.perturbed.alignment.forward


class ExplainerRun:
    """An explainer with the data that its measures are computed from.

    Args:
        explainer: the explainer.
        count: number of entities it explains, the first of the sample.
        sample, views, responses, settings: shared by all explainers of an audit.
        rebuild: builds the explainer again while the model's weights are random; None: the same explainer is used.
        bar: progress bar over explained texts.
    """

    def __init__(
        self,
        explainer: Explainer,
        count: int,
        sample: EntitySample,
        views: Sequence[View],
        responses: ModelResponses,
        settings: ExplanationSettings,
        rebuild: Callable[[], Explainer] | None = None,
        bar: tqdm | None = None,
    ):
        self.explainer, self.count, self.rebuild = explainer, count, rebuild
        self.sample, self.views, self.responses, self.settings = sample, views, responses, settings
        self._bar = bar

    @property
    def entities(self) -> tuple[AuditedEntity, ...]:
        """The explained entities."""
        return self.sample.entities[: self.count]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(start, end) of each entity."""
        return [audited.span[:2] for audited in self.entities]

    @property
    def labels(self) -> list[str]:
        """Label of each entity."""
        return [audited.span[2] for audited in self.entities]

    @cached_property
    def originals(self) -> list[Explanation]:
        """Explanation of every entity in its own text."""
        return self.explain(self.explainer)

    @cached_property
    def maps(self) -> list[np.ndarray]:
        """Magnitudes of the scores of every character for every entity."""
        return [magnitudes(explanation) for explanation in self.originals]

    @cached_property
    def edge_maps(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Magnitudes for every entity's start, and for its end: the target of the explainer is changed to them."""
        starts, ends = (self.explain(with_target(self.explainer, edge)) for edge in ("start", "end"))
        return [magnitudes(each) for each in starts], [magnitudes(each) for each in ends]

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every entity in each view of its document, with the magnitudes of its scores where the model predicts it."""
        views = [view for view in self.views if any(number < self.count for number in view.entities)]
        kept = [[number for number in view.kept if number < self.count] for view in views]
        explained = [(view, numbers) for view, numbers in zip(views, kept) if numbers]
        texts = [view.perturbed.document.text for view, _ in explained]
        spans = [[view.kept[number] for number in numbers] for view, numbers in explained]
        maps = {}
        for (view, numbers), explanations in zip(explained, self.explain_texts(self.explainer, texts, spans)):
            for number, explanation in zip(numbers, explanations, strict=True):
                maps[id(view), number] = magnitudes(explanation)
        return [
            Pair(number, view, maps.get((id(view), number)))
            for view in views
            for number in view.entities
            if number < self.count
        ]

    def by_entity(self, pairs: Sequence[Pair]) -> list[list[Pair]]:
        """Return per entity its own of some pairs."""
        rows: list[list[Pair]] = [[] for _ in range(self.count)]
        for pair in pairs:
            rows[pair.entity].append(pair)
        return rows

    def explain(self, explainer: Explainer) -> list[Explanation]:
        """Explain every entity in its own text with a given explainer."""
        documents = self.sample.by_document(self.count)
        texts = [self.sample.documents[document].text for document in documents]
        spans = [[self.sample.entities[number].span for number in numbers] for numbers in documents.values()]
        by_number: dict[int, Explanation] = {}
        for numbers, explanations in zip(documents.values(), self.explain_texts(explainer, texts, spans)):
            by_number.update(zip(numbers, explanations, strict=True))
        return [by_number[number] for number in range(self.count)]

    def explain_texts(
        self, explainer: Explainer, texts: Sequence[str], spans: Sequence[Sequence[EntitySpan]]
    ) -> list[list[Explanation]]:
        """Explain given entities of texts, `CHUNK` texts at a time."""
        explanations = []
        for first in range(0, len(texts), CHUNK):
            part = slice(first, first + CHUNK)
            explanations += explainer(texts[part], spans[part])
            if self._bar is not None:
                self._bar.update(len(texts[part]))
        return explanations


def magnitudes(explanation: Explanation) -> np.ndarray:
    """Return the (characters,) absolute scores."""
    return np.abs(np.array(explanation.scores, dtype=np.float64))


class TargetedExplainer:
    """Explainers of one method for several targets, such as fused ones with a table per target.

    Args:
        explainers: name of a target -> its explainer; a call uses the one of ``label``.

    Raises:
        ValueError: no explainer for ``label``.
    """

    def __init__(self, explainers: Mapping[str, Any]):
        if "label" not in explainers:
            raise ValueError(f"an explainer for 'label' is needed, found those of {sorted(explainers)}")
        self._explainers = dict(explainers)

    def __call__(self, texts: Sequence[str], entities: Sequence[Any] | None = None) -> list[list[Explanation]]:
        """Explain with the explainer of ``label``."""
        return self._explainers["label"](texts, entities)

    def with_target(self, name: str) -> Any:
        """Return the explainer of a target; if there is none, that of ``label`` with its target changed."""
        return self._explainers[name] if name in self._explainers else with_target(self._explainers["label"], name)


def with_target(explainer: Any, name: str) -> Any:
    """Return a copy of an explainer with another target; one without a target (a control, a function) is unchanged.

    Of a fused explainer the local part changes its target; the table stays that of the target it was built for.

    Args:
        explainer: a `LocalExplainer`, a `FusedExplainer`, an object with a method ``with_target(name)``, or any other
            explainer.
        name: one of `hf_adner.explain.targets.TARGETS`.
    """
    if hasattr(explainer, "with_target"):
        return explainer.with_target(name)
    changed = copy.copy(explainer)
    if isinstance(explainer, FusedExplainer):
        changed.local = with_target(explainer.local, name)
    elif isinstance(explainer, LocalExplainer):
        tagger = explainer.tagger
        changed.target = Target(name, tagger.labels, tagger.model.entity_log_posteriors if tagger.is_adner else None)
    return changed
