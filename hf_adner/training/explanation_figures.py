"""How stable and how true at boundaries a trained model's explanations are, entity by entity."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_adner.audit.explanation_settings import ExplanationSettings
from hf_adner.audit.explanations import ExplanationAudit
from hf_adner.data.records import Document

STABILITY, AGREEMENT = "discriminative_stability", "agreement"
MEASURES = (STABILITY, AGREEMENT)
"""Discriminative stability and boundary-faithful agreement, in [-1, 1], higher is better."""

_GROUPS = ("stability", "boundary")

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Explainer -> measure -> ``document/entity`` (numbers in the test split) -> value."""


def explanation_figures(
    model: Any, tokenizer: Any, documents: Iterable[Document], explainers: Sequence[str], entities: int
) -> Figures:
    """Measure explainers of a model on gold entities that it finds.

    Args:
        model, tokenizer: the trained model.
        documents: test documents.
        explainers: names that `make_explainer` knows; those that the training did not use, if the figures are to say
            anything about it.
        entities: how many entities are explained.

    Raises:
        ValueError: the model finds no gold entity, or there is no such explainer.
    """
    settings = ExplanationSettings(groups=_GROUPS, views=2, max_entities=entities, resamples=1)
    audit = ExplanationAudit(model, tokenizer, documents, settings, progress=False)
    names = [f"{subject.document}/{subject.entity}" for subject in audit.population.subjects]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for explainer in explainers:
        values = audit.score(explainer, audit.make(explainer)).values
        figures[explainer] = {measure: _known(names, values[measure]) for measure in MEASURES if measure in values}
    return figures


def _known(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    pairs = zip(names, values, strict=False)  # sampling explainers explain the first ones only
    return {name: round(value, 6) for name, value in pairs if value is not None and math.isfinite(value)}


def mean_figure(figures: Figures, explainer: str, measure: str) -> float:
    """Mean over the entities of one model; NaN where none has a value."""
    values = figures.get(explainer, {}).get(measure, {}).values()
    return statistics.fmean(values) if values else math.nan


def common_difference(first: Figures, second: Figures, explainer: str, measure: str) -> float:
    """Mean difference, first - second, over the entities that both models find; NaN where there is none.

    A model that drops its hard entities would look the more stable on its own ones.
    """
    mine, other = (figures.get(explainer, {}).get(measure, {}) for figures in (first, second))
    common = [mine[name] - other[name] for name in mine.keys() & other.keys()]
    return statistics.fmean(sorted(common)) if common else math.nan
