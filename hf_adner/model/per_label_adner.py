"""The head of nested entities: one linear-chain CRF per entity type, all of them in one batched pass.

The chain of a type is that of a flat tagger which knows no other type: O and the states of the tag scheme. Rows of a
batch times types are the rows of one `AdnerCRF`. The chains have emissions of their own (scores and biases of each
state) and share the transition scores. Of own transition scores, biases could not express only how often an entity has
exactly two characters, touches another of its type, or stands at an edge of the text.

Chains are independent given the text, so entities of different types may overlap in any way, and the likelihood of all
labels is the sum of those of the chains.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from .configuration_adner import AdnerConfig
from .crf_adner import AdnerCRF
from .heads_adner import CrfHead, HeadOutput, LabelStates, LikelyEntity
from .labels_adner import OUTSIDE, UNOBSERVED, allowed_transitions, bio_labels, state_names

_ANY = "entity"
"""Type in the names of the labels and states that all chains have."""


class PerLabelHead(CrfHead):
    """A CRF per entity type; `emissions` (batch, text, types x states) has the states of each type in turn."""

    def __init__(self, config: AdnerConfig):
        nn.Module.__init__(self)
        self.types = config.entity_types
        chain_labels = bio_labels([_ANY])  # O, B, I: ids in a chain are 0, 1, 2
        self._build(config.output_size, chain_labels, state_names([_ANY], config.tag_scheme), len(self.types))
        self.chain_labels = ChainLabels(config.labels, self.types)
        self.flat_reading = FlatReading(config.labels, self.types, config.tag_scheme)

    def check(self, gold: torch.Tensor) -> None:
        """Check gold label ids (batch, text, types).

        Raises:
            ValueError: an id that is neither a label of its column's type, nor O, nor -100.
        """
        self.chain_labels.check(gold)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor, gold: torch.Tensor | None) -> HeadOutput:
        """Compute marginals, paths and likelihood of hidden states (batch, text, size).

        Args:
            hidden: (batch, text, size).
            mask: (batch, text) bool.
            gold: (batch, text, types) label ids, or None.
        """
        emissions = self.classifier(hidden).float()  # (batch, text, types * states)
        tags = None if gold is None else self._as_rows(self.chain_labels.to_chains(gold))
        read = self.read_chains(*self.chains(emissions, mask), tags)
        is_loss_alone = gold is not None and self.training
        predictions = None if read.predictions is None else self._by_type(read.predictions)
        return HeadOutput(
            likelihood=None if read.likelihood is None else read.likelihood.unflatten(0, (len(mask), -1)).sum(1),
            emissions=emissions,
            log_probs=None if is_loss_alone else self.flat_reading(emissions, mask, self.crf),
            predictions=None if predictions is None else self.chain_labels.to_labels(predictions),
            start_probs=self._by_type(read.start_probs),
            end_probs=self._by_type(read.end_probs),
            chain_log_probs=self._by_type(read.log_probs),
        )

    def chains(self, emissions: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return emissions (batch * types, text, states) and mask (batch * types, text) of the chains as rows."""
        rows = self._as_rows(emissions.unflatten(-1, (len(self.types), -1)))
        return rows, mask.repeat_interleave(len(self.types), 0)

    def _as_rows(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, text, types, ...) -> (batch * types, text, ...)."""
        return values.transpose(1, 2).flatten(0, 1)

    def _by_type(self, rows: torch.Tensor) -> torch.Tensor:
        """(batch * types, text, ...) -> (batch, text, types, ...)."""
        return rows.unflatten(0, (-1, len(self.types))).transpose(1, 2)

    def chain_scores(self, emissions: torch.Tensor) -> torch.Tensor:
        """Return log-sum-exp of each label's emissions: (batch, text, types * states) -> (batch, text, types, 3)."""
        return self.label_states.to_label_log_probs(emissions.unflatten(-1, (len(self.types), -1)))

    def chain_log_marginals(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return differentiable log marginals of each chain's labels, (batch, text, types, 3)."""
        marginals = self.crf.log_marginals(*self.chains(emissions, mask))
        return self._by_type(self.label_states.to_label_log_probs(marginals))

    def entity_log_posteriors(self, emissions, mask, entities) -> torch.Tensor:
        """See `AdnerForTokenClassification.entity_log_posteriors`."""
        numbers = {name: number for number, name in enumerate(self.types)}
        if unknown := next((name for *_, name in entities if name not in numbers), None):
            raise ValueError(f"entity type {unknown!r} is unknown; the model has {sorted(numbers)}")
        if not entities:
            return emissions.new_zeros(0)
        places = [(row, numbers[name]) for row, _, _, name in entities]
        chains = {place: number for number, place in enumerate(dict.fromkeys(places))}  # those that are asked for
        rows, types = torch.tensor(list(chains), device=emissions.device).T
        own = emissions.unflatten(-1, (len(self.types), -1))[rows, :, types]  # (chains, text, states)
        spans = [(chains[place], start, end, _ANY) for place, (_, start, end, _) in zip(places, entities)]
        return super().entity_log_posteriors(own, mask[rows], spans)

    @torch.no_grad()
    def likely_entities(self, emissions: torch.Tensor, mask: torch.Tensor, least: float) -> list[LikelyEntity]:
        """See `CrfHead.likely_entities`."""
        found = super().likely_entities(*self.chains(emissions, mask), least)
        count = len(self.types)
        named = [one._replace(row=one.row // count, type=self.types[one.row % count]) for one in found]
        return sorted(named, key=lambda one: (one.row, one.start, one.end))


class ChainLabels(nn.Module):
    """Mapping between the label ids of a model and those of each type's chain (0 O, 1 B, 2 I), as a buffer.

    Attributes:
        label_of: (types, 3) ids of O, B-x and I-x of each type x; not persistent, filled by `fill`.
    """

    def __init__(self, labels: Sequence[str], types: Sequence[str]):
        super().__init__()
        index = {name: number for number, name in enumerate(labels)}
        self._table = [[index[OUTSIDE], index[f"B-{name}"], index[f"I-{name}"]] for name in types]
        self.register_buffer("label_of", torch.empty(len(types), 3, dtype=torch.long), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Write the buffer (again after construction on the meta device)."""
        self.label_of.copy_(torch.tensor(self._table, device="cpu"))

    def check(self, gold: torch.Tensor) -> None:
        """See `PerLabelHead.check`."""
        wrong = ~self._matches(gold).any(-1) & (gold != UNOBSERVED)
        if wrong.any():
            row, position, column = wrong.nonzero()[0].tolist()
            found = f"{gold[row, position, column].item()} at row {row}, text position {position}"
            raise ValueError(f"column {column} of labels must be {self._table[column]} or {UNOBSERVED}, found {found}")

    def _matches(self, gold: torch.Tensor) -> torch.Tensor:
        return gold[..., None] == self.label_of  # (batch, text, types, 3)

    def to_chains(self, gold: torch.Tensor) -> torch.Tensor:
        """Convert label ids (batch, text, types) to ids in the chains; -100 stays."""
        return torch.where(gold == UNOBSERVED, UNOBSERVED, self._matches(gold).long().argmax(-1))

    def to_labels(self, tags: torch.Tensor) -> torch.Tensor:
        """Convert ids in the chains (batch, text, types) to label ids; -100 stays."""
        columns = torch.arange(tags.shape[-1], device=tags.device)
        return torch.where(tags == UNOBSERVED, UNOBSERVED, self.label_of[columns, tags.clamp(min=0)])


class FlatReading(nn.Module):
    """All chains read as one flat chain: their joint distribution given that no two entities overlap.

    Where at most one type is at a position, the score of the chains' states together is that of a state of a flat
    scheme; so this is a linear-chain CRF too, with scores that follow from those of the chains.
    """

    def __init__(self, labels: Sequence[str], types: Sequence[str], scheme: str):
        super().__init__()
        states = state_names(types, scheme)
        self.types = len(types)
        self.label_states = LabelStates(labels, states)
        self.crf = DerivedCRF(len(states), allowed_transitions(states))

    def forward(self, emissions: torch.Tensor, mask: torch.Tensor, chains: AdnerCRF) -> torch.Tensor:
        """Return log marginals of the BIO labels, (batch, text, labels).

        Args:
            emissions: (batch, text, types * states).
            mask: (batch, text) bool.
            chains: the CRF of a chain.
        """
        by_type = emissions.unflatten(-1, (self.types, -1))
        inside = (by_type[..., 1:] - by_type[..., :1]).flatten(-2)  # instead of O in the chain of this type
        crf = self.crf.with_scores(*self._scores(chains))
        marginals = crf.log_marginals(nn.functional.pad(inside, (1, 0)), mask)
        return self.label_states.to_label_log_probs(marginals)

    def _scores(self, chains: AdnerCRF) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return start, end and transition scores, each without what it costs all chains to be outside."""
        sides = [self._repeated(side - side[0]) for side in (chains.start_transitions, chains.end_transitions)]
        steps = chains.transitions - chains.transitions[0, 0]
        across = steps[1:, :1] + steps[:1, 1:]  # one type goes to O, another comes from it
        blocks = torch.eye(self.types, device=steps.device, dtype=steps.dtype)
        inner = across.repeat(self.types, self.types) + torch.kron(blocks, steps[1:, 1:] - across)
        opening, closing = (nn.functional.pad(side.repeat(self.types), (1, 0)) for side in (steps[0, 1:], steps[1:, 0]))
        return *sides, torch.cat((opening[None], torch.cat((closing[1:, None], inner), 1)))

    def _repeated(self, side: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(side[1:].repeat(self.types), (1, 0))


class DerivedCRF(AdnerCRF):
    """An `AdnerCRF` without parameters: its scores are given for each use."""

    def __init__(self, num_tags: int, constraints):
        super().__init__(num_tags, constraints)
        self._parameters.clear()

    def reset_parameters(self) -> None:
        """Nothing to initialise."""

    def with_scores(self, starts: torch.Tensor, ends: torch.Tensor, transitions: torch.Tensor) -> DerivedCRF:
        """Return a CRF with the constraints of this one and these scores, which may be part of a graph."""
        scored = copy.copy(self)  # of its own, as several threads may use a model
        scored._parameters = {"start_transitions": starts, "end_transitions": ends, "transitions": transitions}
        return scored
