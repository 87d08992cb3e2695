"""What a model says of given entities, as numbers that are asked for many changed copies of a text at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import EntityTokens, Tagging, Target

PROBABILITY, START, END, LOG_ODDS = range(4)
"""Columns of `EntityReadings`."""


class EntityReadings:
    """Four numbers per entity: posterior of the span, probability of its start and of its end, log-odds of its labels.

    The posterior is that of exactly this span and label for our models, the product of its labels' probabilities for
    others; the log-odds are the target ``label`` of explanations.

    Args:
        tagger: model and tokenizer.
    """

    def __init__(self, tagger: Tagger):
        posteriors = tagger.model.entity_log_posteriors if tagger.is_adner else None
        self._label = Target("label", tagger.labels)
        self._span = Target("span", tagger.labels, posteriors) if posteriors else None

    def __call__(self, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
        """(entities, 4) float32, the first three columns in [0, 1]."""
        if self._span is not None:
            probability = self._span(tagging, places).exp()
        else:
            probability = torch.stack([self._product(tagging, place) for place in places])
        starts, ends = self._label.edges(tagging, places)
        readings = torch.stack([probability, starts, ends], dim=1).clamp(0, 1)
        return torch.cat([readings, self._label(tagging, places)[:, None]], dim=1)

    def _product(self, tagging: Tagging, place: EntityTokens) -> Tensor:
        labels = self._label.labels
        ids = [labels.begin(place.label)] + [labels.inside(place.label)] * (place.end - place.start - 1)
        return tagging.log_probs[place.row, list(range(place.start, place.end)), ids].sum().exp()
