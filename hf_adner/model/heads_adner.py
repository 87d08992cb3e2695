"""The two heads: a linear-chain CRF over the states of the tag scheme, and a softmax over BIO labels."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from .configuration_adner import AdnerConfig
from .crf_adner import AdnerCRF, StateSpan
from .crf_spans_adner import SpanFactors, bio_factors, bioes_factors, independent_factors, spans_above
from .labels_adner import (
    OUTSIDE,
    UNOBSERVED,
    allowed_transitions,
    bioes_to_bio,
    closes_entity,
    entity_types,
    opens_entity,
    span_states,
    split_tag,
)
from .layers_adner import TextPositions

_CLOSING_PREFIX = {"B": "S", "I": "E"}
_IMPOSSIBLE = -100.0
"""Log probability of labels that a special token or padding cannot have."""


class HeadOutput(NamedTuple):
    """Output of a head in text positions.

    Attributes:
        likelihood: (batch,) log-likelihood of the gold labels, None without gold labels.
        emissions: (batch, text, states).
        log_probs: (batch, text, labels); None if a per-label head did not read its chains as one.
        predictions: (batch, text) label ids, or None; of a per-label head (batch, text, types).
        start_probs, end_probs: (batch, text); of a per-label head (batch, text, types).
        chain_log_probs: (batch, text, types, 3), O, B and I of each type's chain; None of other heads.
    """

    likelihood: torch.Tensor | None
    emissions: torch.Tensor
    log_probs: torch.Tensor | None
    predictions: torch.Tensor | None
    start_probs: torch.Tensor
    end_probs: torch.Tensor
    chain_log_probs: torch.Tensor | None = None

    def at_tokens(self, positions: TextPositions, tokens: int) -> dict[str, torch.Tensor | None]:
        """Return the output by token position (batch, tokens, ...); special tokens and padding are O."""
        return {
            "logits": _distribution_at_tokens(self.log_probs, positions, tokens),
            "predictions": _at_tokens(self.predictions, positions, tokens, UNOBSERVED),
            "start_probs": _at_tokens(self.start_probs, positions, tokens, 0.0),
            "end_probs": _at_tokens(self.end_probs, positions, tokens, 0.0),
            "chain_log_probs": _distribution_at_tokens(self.chain_log_probs, positions, tokens),
        }


def _at_tokens(values: torch.Tensor | None, positions: TextPositions, tokens: int, fill: float) -> torch.Tensor | None:
    if values is None:
        return None
    return positions.put(values, values.new_full((len(values), tokens, *values.shape[2:]), fill))


def _distribution_at_tokens(
    log_probs: torch.Tensor | None, positions: TextPositions, tokens: int
) -> torch.Tensor | None:
    if log_probs is None:
        return None
    outside = log_probs.new_full((len(log_probs), tokens, *log_probs.shape[2:]), _IMPOSSIBLE)
    outside[..., 0] = 0.0
    return positions.put(log_probs, outside)


class LikelyEntity(NamedTuple):
    """An entity that may be there, on the best path or off it.

    Attributes:
        row: row of the batch.
        start, end: text positions, end exclusive.
        type: entity type.
        posterior: of the span and type, in [0, 1].
        start_prob, end_prob: marginals of its boundaries, in [0, 1].
    """

    row: int
    start: int
    end: int
    type: str
    posterior: float
    start_prob: float
    end_prob: float


class LabelStates(nn.Module):
    """Mapping between BIO labels and CRF states, as non-persistent buffers (filled by `fill`).

    Attributes:
        label_of_state: (states,) label id.
        state_of_label: (labels, 2) state id if the entity continues, and if it ends there.
        continues: (labels, labels) whether the column's label continues the entity of the row's label.
        repaired: (labels,) label to read if it does not continue an entity (I-x -> B-x).
        opens, closes, goes_on: (states,) whether the state begins an entity, ends it, is inside it (not its first).
    """

    def __init__(self, labels: Sequence[str], states: Sequence[str]):
        super().__init__()
        self.labels, self.states = list(labels), list(states)
        self.closes_by_name = any(closes_entity(state) for state in states)
        for name, table in self._tables().items():
            self.register_buffer(name, torch.empty(table.shape, dtype=table.dtype), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Write the buffers (again after construction on the meta device)."""
        for name, table in self._tables().items():
            getattr(self, name).copy_(table)

    def _tables(self) -> dict[str, torch.Tensor]:
        parts = [split_tag(label) for label in self.labels]
        label = {name: index for index, name in enumerate(self.labels)}.__getitem__
        state = {name: index for index, name in enumerate(self.states)}.__getitem__
        continues = torch.zeros(len(parts), len(parts), dtype=torch.bool, device="cpu")
        for index, (_, name) in enumerate(parts):
            if name:
                continues[index, label(f"I-{name}")] = True
        tables = {
            "label_of_state": [label(tag) for tag in bioes_to_bio(self.states)],
            "state_of_label": [
                [state(self._state_name(*part, closing)) for closing in (False, True)] for part in parts
            ],
            "repaired": [label(f"B-{name}") if name else label(OUTSIDE) for _, name in parts],
            "opens": [opens_entity(name) for name in self.states],
            "closes": [closes_entity(name) for name in self.states],
            "goes_on": [split_tag(name)[0] in {"I", "E"} for name in self.states],
        }
        return {"continues": continues, **{name: torch.tensor(table, device="cpu") for name, table in tables.items()}}

    def _state_name(self, prefix: str, name: str, closes: bool) -> str:
        if not name:
            return OUTSIDE
        return f"{_CLOSING_PREFIX[prefix] if closes and self.closes_by_name else prefix}-{name}"

    def check(self, gold: torch.Tensor) -> None:
        """Check gold label ids (batch, text).

        Raises:
            ValueError: an id that is neither a label nor -100.
        """
        wrong = ((gold < 0) | (gold >= len(self.labels))) & (gold != UNOBSERVED)
        if wrong.any():
            row, position = wrong.nonzero()[0].tolist()
            found = f"{gold[row, position].item()} at row {row}, text position {position}"
            raise ValueError(f"labels must be 0 to {len(self.labels) - 1} or {UNOBSERVED}, found {found}")

    def to_states(self, gold: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Convert label ids (batch, text) to state ids, -100 outside `mask`; a stray I-x is read as B-x.

        -100 inside the text is unobserved and stays -100. In BIOES an entity's label before it becomes -100 too: the
        state depends on whether the entity ends there, which is unknown.
        """
        observed = gold != UNOBSERVED
        labels = gold.clamp(min=0)
        previous = nn.functional.pad(labels[:, :-1], (1, 0))
        known_before = nn.functional.pad(observed[:, :-1], (1, 0), value=True)
        stray = ~self.continues[previous, labels] & known_before
        labels = torch.where(stray, self.repaired[labels], labels)
        following = nn.functional.pad(torch.where(observed, labels, 0)[:, 1:], (0, 1))
        going_on, closing = self.state_of_label[labels].unbind(-1)
        states = torch.where(self.continues[labels, following], going_on, closing)
        gap_follows = nn.functional.pad((mask & ~observed)[:, 1:], (0, 1))
        known = observed & mask & ~(gap_follows & (going_on != closing))
        return torch.where(known, states, UNOBSERVED)

    def to_label_log_probs(self, log_marginals: torch.Tensor) -> torch.Tensor:
        """Sum log marginals of states (batch, text, states) to labels (batch, text, labels)."""
        first, last = log_marginals[..., self.state_of_label[:, 0]], log_marginals[..., self.state_of_label[:, 1]]
        is_one_state = self.state_of_label[:, 0] == self.state_of_label[:, 1]
        return torch.where(is_one_state, first, torch.logaddexp(first, last))

    def ids_by_type(self, prefixes: str) -> list[list[int]]:
        """Return per entity type the ids of its states with these prefixes, in this order."""
        index = {state: position for position, state in enumerate(self.states)}
        return [[index[f"{prefix}-{name}"] for prefix in prefixes] for name in entity_types(self.labels)]

    def likely_entities(
        self, factors: SpanFactors, boundaries: tuple[torch.Tensor, torch.Tensor], least: float
    ) -> list[LikelyEntity]:
        """Return the entities whose posterior exceeds `least`; `boundaries` are marginals of starts and ends."""
        names, (starts, ends) = entity_types(self.labels), (side.tolist() for side in boundaries)
        return [
            LikelyEntity(row, start, end, names[index], math.exp(value), starts[row][start], ends[row][end - 1])
            for row, start, end, index, value in spans_above(factors, math.log(least))
        ]

    def total(self, marginals: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return the probability (batch, text) of the states selected by a 0/1 table."""
        return marginals @ table.to(marginals.dtype)


class CrfHead(nn.Module):
    """Emissions and linear-chain CRF (eqs. 16–19) over the states of the tag scheme."""

    def __init__(self, config: AdnerConfig):
        super().__init__()
        self._build(config.output_size, config.labels, config.states)

    def _build(self, size: int, labels: Sequence[str], states: Sequence[str], chains: int = 1) -> None:
        """Create the layers of a number of chains that have the same labels and states."""
        self.classifier = nn.Linear(size, chains * len(states))
        self.label_states = LabelStates(labels, states)
        self.crf = AdnerCRF(len(states), allowed_transitions(states))

    def check(self, gold: torch.Tensor) -> None:
        """Check gold label ids (batch, text); see `LabelStates.check`."""
        self.label_states.check(gold)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor, gold: torch.Tensor | None) -> HeadOutput:
        """Compute marginals, path and likelihood of hidden states (batch, text, size); `gold` label ids or None."""
        return self.read_chains(self.classifier(hidden).float(), mask, gold)

    def read_chains(self, emissions: torch.Tensor, mask: torch.Tensor, gold: torch.Tensor | None) -> HeadOutput:
        """Compute marginals, path and likelihood of chains, (chains, text, states); `gold` (chains, text) or None."""
        likelihood = None
        if gold is not None and (self.training or not torch.is_grad_enabled()):
            tags = self.label_states.to_states(gold, mask)
            likelihood, log_marginals = self.crf.log_likelihood_and_marginals(emissions, tags, mask)
        else:
            log_marginals = self.crf.log_marginals(emissions, mask)
            if gold is not None:
                likelihood = self.crf.log_likelihood(emissions, self.label_states.to_states(gold, mask), mask)
        log_probs = self.label_states.to_label_log_probs(log_marginals)
        predictions = None if self.training and gold is not None else self._viterbi(emissions, mask)
        return HeadOutput(likelihood, emissions, log_probs, predictions, *self._boundaries(log_marginals, mask))

    @torch.no_grad()
    def _viterbi(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        paths, _ = self.crf.viterbi(emissions, mask)
        return torch.where(mask, self.label_states.label_of_state[paths.clamp(min=0)], UNOBSERVED)

    def _boundaries(self, log_marginals: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        marginals = log_marginals.exp() * mask[..., None]
        starts = self.label_states.total(marginals, self.label_states.opens)
        if self.label_states.closes_by_name:
            return starts, self.label_states.total(marginals, self.label_states.closes)
        inside = self.label_states.total(marginals, self.label_states.goes_on)
        # a BIO entity ends where no I follows; by the constraints an I can only follow its own entity
        ends = starts + inside - nn.functional.pad(inside[:, 1:], (0, 1))
        return starts, ends.clamp(min=0)  # the difference may round to just below 0

    def entity_log_posteriors(self, emissions, mask, entities) -> torch.Tensor:
        """See `AdnerForTokenClassification.entity_log_posteriors`."""
        spans = [
            StateSpan(row, start, end, *span_states(self.label_states.states, name, end - start))
            for row, start, end, name in entities
        ]
        return self.crf.span_log_posteriors(emissions, mask, spans)

    @torch.no_grad()
    def likely_entities(self, emissions: torch.Tensor, mask: torch.Tensor, least: float) -> list[LikelyEntity]:
        """Return every entity, on the best path or off it, whose exact posterior exceeds `least`, in (0, 1).

        Sorted by row, start and end; they may overlap.

        Args:
            emissions: (batch, text, states).
            mask: (batch, text) bool.
        """
        states = self.label_states
        begun = [state for pair in states.ids_by_type("BI") for state in pair]
        marginals, steps = self.crf.log_steps(emissions, mask, begun)
        if states.closes_by_name:
            factors = bioes_factors(marginals, steps, states.ids_by_type("BIES"))
        else:
            factors = bio_factors(marginals, steps, states.ids_by_type("BI"), mask.sum(1))
        return states.likely_entities(factors.within(mask), self._boundaries(marginals, mask), least)


class SoftmaxHead(nn.Module):
    """Independent softmax over the BIO labels; the path is the arg max, with stray I-x read as B-x."""

    def __init__(self, config: AdnerConfig):
        super().__init__()
        self.classifier = nn.Linear(config.output_size, len(config.labels))
        self.label_states = LabelStates(config.labels, config.labels)

    def check(self, gold: torch.Tensor) -> None:
        """Check gold label ids (batch, text); see `LabelStates.check`."""
        self.label_states.check(gold)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor, gold: torch.Tensor | None) -> HeadOutput:
        """Compute log probabilities, path and likelihood of hidden states (batch, text, size); `gold` may be None."""
        log_probs = self.classifier(hidden).float().log_softmax(-1)
        _check_finite(log_probs, mask)
        likelihood = None
        if gold is not None:
            observed = gold != UNOBSERVED
            picked = log_probs.gather(-1, gold.clamp(min=0)[..., None])[..., 0]
            likelihood = (picked * observed).sum(1)
        best = torch.where(mask, log_probs.argmax(-1), UNOBSERVED)
        predictions = self.label_states.to_states(best, mask)
        return HeadOutput(
            likelihood, log_probs, log_probs, predictions, *token_boundaries(self.label_states, log_probs, mask)
        )

    def entity_log_posteriors(self, log_probs, mask, entities) -> torch.Tensor:
        """See `AdnerForTokenClassification.entity_log_posteriors`."""
        return token_span_log_probs(log_probs, self.label_states.labels, entities)

    @torch.no_grad()
    def likely_entities(self, log_probs: torch.Tensor, mask: torch.Tensor, least: float) -> list[LikelyEntity]:
        """See `CrfHead.likely_entities`; the posterior is the product of the probabilities of the tokens' labels."""
        factors = independent_factors(log_probs, self.label_states.ids_by_type("BI")).within(mask)
        return self.label_states.likely_entities(factors, token_boundaries(self.label_states, log_probs, mask), least)


def token_boundaries(
    label_states: LabelStates, log_probs: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the probability that an entity starts (ends) at each position under independent tokens, (batch, text).

    Args:
        label_states: of the BIO labels.
        log_probs: (batch, text, labels).
        mask: (batch, text) bool.
    """
    probs = log_probs.exp() * mask[..., None]  # (batch, text, labels)
    following = nn.functional.pad(probs[:, 1:], (0, 0, 0, 1))
    continued = following @ label_states.continues.to(probs.dtype).T  # (batch, text, labels)
    ends = label_states.total(probs * (1 - continued), label_states.repaired != 0)
    return label_states.total(probs, label_states.opens), ends


def token_span_log_probs(
    log_probs: torch.Tensor, labels: Sequence[str], entities: Sequence[tuple[int, int, int, str]]
) -> torch.Tensor:
    """Return the log probability of entities under independent tokens, (entities,): the sum over the tokens' labels.

    Args:
        log_probs: (batch, tokens, labels).
        labels: BIO labels in id order.
        entities: (row, start, end, type) in tokens, end exclusive.

    Raises:
        ValueError: an unknown type.
    """
    scores = [
        log_probs[row, range(start, end), list(span_states(labels, name, end - start)[0])].sum()
        for row, start, end, name in entities
    ]
    return torch.stack(scores) if scores else log_probs.new_zeros(0)


def _check_finite(log_probs: torch.Tensor, mask: torch.Tensor) -> None:
    wrong = ~log_probs.isfinite().all(-1) & mask
    if wrong.any():
        row, position = wrong.nonzero()[0].tolist()
        raise ValueError(f"emissions must be finite, found nan or infinity at row {row}, text position {position}")
