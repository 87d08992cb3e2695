"""A linear-chain CRF given that some spans are entities and others are not.

The distribution over label paths is that of the CRF, restricted to the paths that agree and normalised again. Best
path, marginals and span posteriors are computed exactly by the recursions of the CRF over `span_tracks_adner`'s states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .crf_adner import AdnerCRF
from .crf_lattice_adner import FORBIDDEN, ChainScores, LogLattice, counting_dtype
from .crf_paths_adner import best_paths
from .heads_adner import LikelyEntity
from .labels_adner import OUTSIDE, bioes_to_bio, closes_entity, entity_types
from .span_tracks_adner import ChainState, RowTracks, SpanCondition, chain_states


class ConditionedCrf:
    """The chains of a batch, each given its own conditions; computes once and answers several questions.

    Args:
        crf: of a head.
        states: names of its states, BIOES or BIO.
        emissions: (batch, length, states), finite.
        mask: (batch, length) bool, a prefix of ones in each row, none empty.
        conditions: per row.

    Raises:
        ValueError: conditions that exclude each other, reach outside their row, or name another entity type.
    """

    @torch.no_grad()
    def __init__(
        self,
        crf: AdnerCRF,
        states: Sequence[str],
        emissions: Tensor,
        mask: Tensor,
        conditions: Sequence[Sequence[SpanCondition]],
    ) -> None:
        self.labels, self.mask = entity_types(bioes_to_bio(states)), mask.bool()
        _check(conditions, mask.sum(1).tolist(), self.labels)
        self.rows = [RowTracks(own) for own in conditions]
        self.states = chain_states(self.labels, self.rows)
        self._index = {state: number for number, state in enumerate(self.states)}
        base = _base_states(states, self.states).to(emissions.device)
        scores = self._scores(crf, base, emissions)
        self._transitions = scores.transitions
        spread = 1.0 + sum(float(side.amax() - side.amin()) for side in (emissions, *_tables(crf)))
        self._scores_of_paths = scores
        lattice = LogLattice(scores, penalty=min(FORBIDDEN, -4 * mask.shape[1] * spread))
        self._marginals = lattice.log_marginals().transpose(0, 1)  # (batch, length, chain states)
        self._arriving = (lattice.log_messages()[1] + lattice.scores.emissions).transpose(0, 1)

    def _scores(self, crf: AdnerCRF, base: Tensor, emissions: Tensor) -> ChainScores:
        starts, ends, transitions = (table.detach().to(counting_dtype(emissions.device)) for table in _tables(crf))
        device, states = emissions.device, self.states
        opens = torch.tensor([state.opens or state.role == "O" for state in states], device=device)
        closes = torch.tensor([state.closes or state.role == "O" for state in states], device=device)
        follows = torch.tensor([[after.may_follow(before) for after in states] for before in states], device=device)
        by_position = emissions.detach().to(starts.dtype)[..., base]  # (batch, length, chain states)
        by_position = by_position.masked_fill(self.mask[..., None] & ~self._possible().to(device), -math.inf)
        return ChainScores(
            by_position.masked_fill(~self.mask[..., None], 0).transpose(0, 1).contiguous(),
            starts[base].masked_fill(~opens, -math.inf),
            ends[base].masked_fill(~closes, -math.inf),
            transitions[base[:, None], base].masked_fill(~follows, -math.inf),
            self.mask,
        )

    def _possible(self) -> Tensor:
        """Return which states the conditions leave to each position, (batch, length, chain states) bool."""
        possible = torch.zeros(*self.mask.shape, len(self.states), dtype=torch.bool)
        for own, row in zip(possible, self.rows):
            own[:, [state.track < 0 for state in self.states]] = True
            for position, states in row.closed().items():
                own[position, [self._index[state] for state in states]] = False
            for position, states in row.opened().items():
                own[position, [self._index[state] for state in states]] = True
            for one in row.forced:
                own[one.start : one.end] = False
                for position, state in enumerate(row.states_of(*one[:3]), one.start):
                    own[position, self._index[state]] = True
        return possible

    # ---- answers ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def best_spans(self) -> list[tuple[int, int, int, str]]:
        """Return the entities of the best path of each row: row, start, end (exclusive) and label."""
        found = []
        for row, path in enumerate(best_paths(self._scores_of_paths).tolist()):
            start = 0
            for position, number in enumerate(path[: int(self.mask[row].sum())]):
                state = self.states[number]
                start = position if state.opens else start
                if state.closes:
                    found.append((row, start, position + 1, state.label))
        return found

    @torch.no_grad()
    def span_log_posteriors(self, spans: Sequence[tuple[int, int, int, str]]) -> Tensor:
        """Return log p(entity | text, conditions) of spans (row, start, end, label), (spans,) float64."""
        values = self._marginals.new_zeros(len(spans))
        for number, (row, start, end, label) in enumerate(spans):
            states = [self._index.get(state) for state in self.rows[row].states_of(start, end, label)]
            values[number] = self._marginals[row, start, states[0]]
            for position, (before, after) in enumerate(zip(states, states[1:]), start + 1):
                following = (self._transitions[before] + self._arriving[row, position]).log_softmax(-1)
                values[number] += following[after]
        return torch.where(values > FORBIDDEN / 2, values, FORBIDDEN)

    @torch.no_grad()
    def boundaries(self) -> tuple[Tensor, Tensor]:
        """Return the probability that an entity starts (ends) at each position, each (batch, length)."""
        probabilities = self._marginals.exp() * self.mask[..., None]
        sides = ([state.opens for state in self.states], [state.closes for state in self.states])
        return tuple(
            probabilities @ torch.tensor(side, dtype=probabilities.dtype).to(self.mask.device) for side in sides
        )

    @torch.no_grad()
    def label_probs(self, labels: Sequence[str]) -> Tensor:
        """Return the marginals of BIO labels, (batch, length, labels); padding is O."""
        numbers = [labels.index(bioes_to_bio([state.tag])[0]) for state in self.states]
        one_hot = torch.nn.functional.one_hot(torch.tensor(numbers), len(labels)).to(self._marginals)
        return self._marginals.exp() @ one_hot

    def path_entities(self) -> list[LikelyEntity]:
        """Return the entities of the best paths with their posteriors, sorted by row and start."""
        spans = self.best_spans()
        return self._entities(spans, self.span_log_posteriors(spans).exp().tolist())

    @torch.no_grad()
    def likely_entities(self, least: float) -> list[LikelyEntity]:
        """Return every entity whose posterior exceeds `least`, in (0, 1), sorted by row, start and end.

        As `crf_spans_adner.spans_above`: the probability of a beginning bounds that of all spans that begin so.
        """
        bound, found = math.log(least), []
        alone = self._begun("S", bound)
        found += zip(alone.tolist(), self._marginals[alone.unbind(1)].tolist(), [1] * len(alone))
        begun = self._begun("B", bound)  # (entities, 3): row, position, state
        values, lengths = self._marginals[begun.unbind(1)], self.mask.sum(1)
        inside, last = (self._role_table(roles) for roles in ("IP", "E"))
        for length in range(2, self.mask.shape[1] + 1):
            fits = begun[:, 1] + 1 < lengths[begun[:, 0]]
            begun, values = begun[fits] + torch.tensor([0, 1, 0], device=begun.device), values[fits]
            if not len(begun):
                break
            row, position, state = begun.unbind(1)
            steps = (self._transitions[state] + self._arriving[row, position]).log_softmax(-1)  # (entities, states)
            ended = values + steps.masked_fill(~last, FORBIDDEN).logsumexp(-1)
            kept = ended > bound
            found += zip(begun[kept].tolist(), ended[kept].tolist(), [length] * int(kept.sum()))
            going_on, state = steps.masked_fill(~inside, FORBIDDEN).max(-1)  # the conditions leave one at most
            values = values + going_on
            begun = torch.stack([row, position, state], 1)[values > bound]
            values = values[values > bound]
        spans = [(row, at + 1 - length, at + 1, self.states[state].label) for (row, at, state), _, length in found]
        entities = self._entities(spans, [math.exp(value) for _, value, _ in found])
        return sorted(entities, key=lambda one: (one.row, one.start, one.end, one.type))

    def _begun(self, role: str, bound: float) -> Tensor:
        is_role = torch.tensor([state.role == role for state in self.states], device=self.mask.device)
        return ((self._marginals > bound) & is_role & self.mask[..., None]).nonzero()

    def _role_table(self, roles: str) -> Tensor:
        return torch.tensor([state.role in roles for state in self.states], device=self.mask.device)

    def _entities(self, spans: Sequence[tuple[int, int, int, str]], posteriors: Sequence[float]) -> list[LikelyEntity]:
        starts, ends = (side.tolist() for side in self.boundaries())
        return [
            LikelyEntity(row, start, end, label, posterior, starts[row][start], ends[row][end - 1])
            for (row, start, end, label), posterior in zip(spans, posteriors)
        ]


def _tables(crf: AdnerCRF) -> tuple[Tensor, Tensor, Tensor]:
    return crf.start_transitions, crf.end_transitions, crf.transitions


def _base_states(names: Sequence[str], states: Sequence[ChainState]) -> Tensor:
    """Return the number of the CRF's state that each state of the chain is scored as, (chain states,)."""
    index = {name: number for number, name in enumerate(names)}
    is_bioes = any(closes_entity(name) for name in names)
    tags = [state.tag if is_bioes or state.tag == OUTSIDE else bioes_to_bio([state.tag])[0] for state in states]
    return torch.tensor([index[tag] for tag in tags])


def _check(conditions: Sequence[Sequence[SpanCondition]], lengths: Sequence[int], labels: Sequence[str]) -> None:
    for row, (own, length) in enumerate(zip(conditions, lengths, strict=True)):
        for one in own:
            if not 0 <= one.start < one.end <= length:
                raise ValueError(f"{one} is empty or not within the {length} positions of row {row}")
            if one.label not in labels:
                raise ValueError(f"{one} has a label that the model does not have; its labels are {list(labels)}")
