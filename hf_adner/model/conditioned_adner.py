"""The distribution of a head given constraints: exact for a CRF, and for independent tokens where words are forced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .crf_conditioned_adner import ConditionedCrf
from .crf_lattice_adner import FORBIDDEN
from .crf_spans_adner import independent_factors
from .heads_adner import LabelStates, LikelyEntity, token_boundaries, token_span_log_probs
from .labels_adner import entity_types, span_states, tags_to_spans
from .span_tracks_adner import SpanCondition


class ConditionedTokens:
    """Independent labels given that some spans are entities: B, I, ..., I, and no I of the label after it.

    The labels of other tokens stay independent, so the conditional distribution is one of independent labels again.

    Args:
        label_states: of the BIO labels.
        log_probs: (batch, text, labels).
        mask: (batch, text) bool.
        conditions: per row, disjoint and all of them forced.

    Raises:
        ValueError: a forbidden span, on which the labels of several tokens would depend together.
    """

    @torch.no_grad()
    def __init__(
        self,
        label_states: LabelStates,
        log_probs: Tensor,
        mask: Tensor,
        conditions: Sequence[Sequence[SpanCondition]],
    ) -> None:
        self.label_states, self.mask, self.conditions = label_states, mask, conditions
        possible = torch.ones_like(log_probs, dtype=torch.bool)
        for row, own in enumerate(conditions):
            for one in own:
                if not one.forced:
                    raise ValueError("a forbidden span needs a CRF: independent tokens cannot exclude it exactly")
                labels, following = span_states(label_states.labels, one.label, one.end - one.start)
                possible[row, one.start : one.end] = False
                possible[row, range(one.start, one.end), list(labels)] = True
                if one.end < log_probs.shape[1]:
                    possible[row, one.end, list(following)] = False
        self.log_probs = log_probs.masked_fill(~possible, FORBIDDEN).log_softmax(-1)

    @torch.no_grad()
    def path_entities(self) -> list[LikelyEntity]:
        """Return the entities of the arg-max labels, repaired, with the products of their labels' probabilities."""
        best = torch.where(self.mask, self.log_probs.argmax(-1), -100)
        path, names = self.label_states.to_states(best, self.mask), self.label_states.labels
        spans = []
        for row, (labels, length) in enumerate(zip(path.tolist(), self.mask.sum(1).tolist())):
            spans += [(row, *span) for span in tags_to_spans([names[label] for label in labels[:length]])]
        posteriors = token_span_log_probs(self.log_probs, names, spans).exp().tolist()
        starts, ends = (side.tolist() for side in token_boundaries(self.label_states, self.log_probs, self.mask))
        return [
            LikelyEntity(row, start, end, label, value, starts[row][start], ends[row][end - 1])
            for (row, start, end, label), value in zip(spans, posteriors)
        ]

    @torch.no_grad()
    def likely_entities(self, least: float) -> list[LikelyEntity]:
        """See `SoftmaxHead.likely_entities`; spans that overlap a forced one, which exclude it, are left out."""
        factors = independent_factors(self.log_probs, self.label_states.ids_by_type("BI")).within(self.mask)
        boundaries = token_boundaries(self.label_states, self.log_probs, self.mask)
        found = self.label_states.likely_entities(factors, boundaries, least)
        return [one for one in found if not any(_crosses(one, other) for other in self.conditions[one.row])]


def _crosses(one: LikelyEntity, other: SpanCondition) -> bool:
    is_same = (one.start, one.end, one.type) == other[:3]
    return one.start < other.end and other.start < one.end and not is_same


class ConditionedChains:
    """The chains of a per-label head, each given the conditions on its entity type; they stay independent.

    Args:
        head: a `PerLabelHead`.
        emissions: (batch, text, types x states).
        mask: (batch, text) bool.
        conditions: per row; those of a type must be disjoint.
    """

    def __init__(
        self, head: Any, emissions: Tensor, mask: Tensor, conditions: Sequence[Sequence[SpanCondition]]
    ) -> None:
        self.types = list(head.types)
        states = head.label_states.states
        (name,) = entity_types(head.label_states.labels)  # the same in every chain
        of_chains = [
            [one._replace(label=name) for one in own if one.label == entity_type]
            for own in conditions
            for entity_type in self.types
        ]
        chains = emissions.unflatten(-1, (len(self.types), -1)).transpose(1, 2).flatten(0, 1)
        self._chains = ConditionedCrf(head.crf, states, chains, mask.repeat_interleave(len(self.types), 0), of_chains)

    def path_entities(self) -> list[LikelyEntity]:
        """Return the entities of the best path of each chain, sorted by row and start, longer ones first."""
        return self._named(self._chains.path_entities(), lambda one: (one.row, one.start, -one.end, one.type))

    def likely_entities(self, least: float) -> list[LikelyEntity]:
        """See `PerLabelHead.likely_entities`."""
        return self._named(self._chains.likely_entities(least), lambda one: one[:4])

    def _named(self, found: Sequence[LikelyEntity], order: Callable[[LikelyEntity], Any]) -> list[LikelyEntity]:
        count = len(self.types)
        named = (one._replace(row=one.row // count, type=self.types[one.row % count]) for one in found)
        return sorted(named, key=order)


def condition_head(
    head: Any, emissions: Tensor, mask: Tensor, conditions: Sequence[Sequence[SpanCondition]]
) -> ConditionedCrf | ConditionedChains | ConditionedTokens:
    """Return the distribution of a head given conditions, which answers `path_entities` and `likely_entities`.

    Args:
        head: of an `AdnerForTokenClassification`.
        emissions: (batch, text, states), those of the CRF, or the log probabilities of a softmax head.
        mask: (batch, text) bool.
        conditions: per row.
    """
    if hasattr(head, "types"):
        return ConditionedChains(head, emissions, mask, conditions)
    if hasattr(head, "crf"):
        return ConditionedCrf(head.crf, head.label_states.states, emissions, mask, conditions)
    return ConditionedTokens(head.label_states, emissions, mask, conditions)
