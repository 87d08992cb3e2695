"""Linear-chain CRF with forbidden transitions, exact marginals, span posteriors and batched decoding.

A path's score is the sum of its emissions and transitions (Luo et al. 2025, eqs. 16-19), normalised over all paths.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .crf_lattice_adner import (
    FORBIDDEN,
    ChainScores,
    Lattice,
    LogLattice,
    LogMarginals,
    LogMessages,
    LogPartition,
    ScaledLattice,
    counting_dtype,
    scaled_period,
)
from .crf_paths_adner import MIN_BLOCK_SIZE, EntityRuns, best_paths

try:
    import torchcrf
except ImportError as error:  # transformers would name the module, and `pip install torchcrf` is another package
    raise ImportError("the CRF needs the package pytorch-crf, which is missing: pip install pytorch-crf") from error

UNOBSERVED = -100


class Constraints(Protocol):
    """Allowed starts, ends and transitions of a path (True = allowed)."""

    @property
    def starts(self) -> Sequence[bool]:
        """(states,) whether a path may begin with the state."""

    @property
    def ends(self) -> Sequence[bool]:
        """(states,) whether a path may end with the state."""

    @property
    def transitions(self) -> Sequence[Sequence[bool]]:
        """(states, states) whether the column's state may follow the row's."""


class StateSpan(NamedTuple):
    """An entity as a sequence of states in one row.

    Attributes:
        row: row of the batch.
        start: first position of the entity.
        end: position after its last.
        states: state of each position, ``end - start`` of them.
        forbidden_next: states that would continue the entity if they followed (the I- state in BIO; none in BIOES,
            where the last state ends it).
    """

    row: int
    start: int
    end: int
    states: tuple[int, ...]
    forbidden_next: tuple[int, ...] = ()


def _without_autocast(method: Callable) -> Callable:
    """Run a method of the CRF with autocast disabled."""

    @functools.wraps(method)
    def run(self: AdnerCRF, emissions: Tensor, *args, **kwargs):
        with torch.autocast(emissions.device.type, enabled=False):
            return method(self, emissions, *args, **kwargs)

    return run


class AdnerCRF(torchcrf.CRF):
    """``torchcrf.CRF`` (same parameters, same state-dict names) with constraints, marginals and faster recursions.

    Emissions are (batch, length, states) of any float type; masks are (batch, length) bool, a prefix of ones (possibly
    empty) in each row; without a mask every position is valid. Recursions run in float64 and results are float32
    (float64 for float64 emissions), also under autocast. All scores are natural logarithms.

    Args:
        num_tags: number of states.
        constraints: allowed starts, ends and transitions; None allows everything.

    Raises:
        ValueError: if ``num_tags`` is not positive, or the constraints do not have one entry per state or allow no
            start, no end or no transition.
    """

    def __init__(self, num_tags: int, constraints: Constraints | None = None):
        super().__init__(num_tags, batch_first=True)
        self._starts = self._ends = self._transitions = None
        self._mixing: int | None = 1
        self._runs: EntityRuns | None = None
        for name in ("start_penalties", "end_penalties", "transition_penalties"):
            self.register_buffer(name, None, persistent=False)
        if constraints is not None:
            self._constrain(constraints)

    def _constrain(self, constraints: Constraints) -> None:
        states = self.num_tags
        for name in ("starts", "ends", "transitions"):
            if len(getattr(constraints, name)) != states:
                found = len(getattr(constraints, name))
                raise ValueError(f"constraints.{name} must have {states} entries, found {found}")
        widths = {len(row) for row in constraints.transitions}
        if widths != {states}:
            raise ValueError(f"rows of constraints.transitions must have {states} entries, found {sorted(widths)}")
        self._starts, self._ends, self._transitions = (
            torch.tensor(side, dtype=torch.bool, device="cpu")  # not on the meta device, where models are built
            for side in (constraints.starts, constraints.ends, constraints.transitions)
        )
        for name, allowed in (("start", self._starts), ("end", self._ends), ("transition", self._transitions)):
            if not allowed.any():
                raise ValueError(f"constraints allow no {name}")
        self._mixing, self._runs = _mixing_steps(self._transitions), EntityRuns.find(constraints.transitions)
        self.start_penalties, self.end_penalties = torch.empty(states), torch.empty(states)
        self.transition_penalties = torch.empty(states, states)
        self.fill_constraints()

    @torch.no_grad()
    def fill_constraints(self) -> None:
        """Fill the buffers with 0 (allowed) and -1e6 (forbidden); needed again after loading from the meta device."""
        sides = (
            (self.start_penalties, self._starts),
            (self.end_penalties, self._ends),
            (self.transition_penalties, self._transitions),
        )
        for buffer, allowed in sides:
            if buffer is not None:
                buffer.copy_((~allowed).to(buffer.dtype) * FORBIDDEN)

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None, reduction: str = "sum") -> Tensor:
        """Return the log-likelihood of ``tags`` like ``torchcrf.CRF``: ``none``, ``sum``, ``mean`` or ``token_mean``.

        Raises:
            ValueError: if ``reduction`` is unknown, or as :meth:`log_likelihood`.
        """
        if reduction not in ("none", "sum", "mean", "token_mean"):
            raise ValueError(f"invalid reduction: {reduction}")
        likelihood = self.log_likelihood(emissions, tags, mask)
        if reduction == "none":
            return likelihood
        if reduction == "token_mean":
            return likelihood.sum() / (tags.numel() if mask is None else mask.sum().clamp_min(1))
        return likelihood.sum() if reduction == "sum" else likelihood.mean()

    @_without_autocast
    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log p(tags | emissions), (batch,), 0 for empty rows; the gradient is analytic and once differentiable.

        Args:
            emissions: (batch, length, states).
            tags: (batch, length) state indices; -100 inside the mask is unobserved and summed over.
            mask: (batch, length) bool.

        Raises:
            ValueError: if shapes do not match, the mask has a gap, a tag is out of range or an emission is not finite.
        """
        return self._likelihood(emissions, tags, mask)[0].to(_result_dtype(emissions))

    @_without_autocast
    def log_likelihood_and_marginals(
        self, emissions: Tensor, tags: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return :meth:`log_likelihood` and, from the same pass, detached :meth:`log_marginals`."""
        likelihood, lattice = self._likelihood(emissions, tags, mask)
        with torch.no_grad():
            marginals = lattice.log_marginals().transpose(0, 1)[:, : emissions.size(1)]
        dtype = _result_dtype(emissions)
        return likelihood.to(dtype), marginals.to(dtype, memory_format=torch.contiguous_format)

    @_without_autocast
    def log_partition(self, emissions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log Z, (batch,), 0 for empty rows; analytic gradient, once differentiable."""
        emissions, mask = self._checked(emissions, mask)
        lattice = self._lattice(emissions, mask)
        return self._attached(LogPartition, emissions, lattice).to(_result_dtype(emissions))

    @_without_autocast
    def log_marginals(self, emissions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log p(state at position | emissions), (batch, length, states), exact and differentiable once.

        Padding has state 0 with probability 1. Impossible states have -1e6 and no gradient.
        """
        length = emissions.size(1)
        emissions, mask = self._checked(emissions, mask)
        lattice = self._lattice(emissions, mask)
        marginals = self._attached(LogMarginals, emissions, lattice).transpose(0, 1)[:, :length]
        return marginals.to(_result_dtype(emissions), memory_format=torch.contiguous_format)

    @_without_autocast
    def span_log_posteriors(self, emissions: Tensor, mask: Tensor | None, spans: Sequence[StateSpan]) -> Tensor:
        """Return log p(these states, and no continuation of the entity | emissions) of each span, (spans,).

        The product of the first state's marginal, the exact conditional probability of each further state given the
        previous one, and the probability that the row ends or the next state is not in ``forbidden_next``.

        Raises:
            ValueError: if a span is empty, not within its row's valid positions, or has another number of states.
        """
        emissions, mask = self._checked(emissions, mask)
        _check_spans(spans, mask, self.num_tags)
        lattice = self._lattice(emissions, mask)
        if not spans:
            return emissions.new_zeros(0, dtype=_result_dtype(emissions))
        marginals = self._attached(LogMarginals, emissions, lattice)  # (length, batch, states)
        _, backward = self._attached(LogMessages, emissions, lattice)
        device = emissions.device
        first = torch.tensor([(span.row, span.start, span.states[0]) for span in spans], device=device).T
        posterior = marginals[first[1], first[0], first[2]]
        arriving = backward + emissions.transpose(0, 1).to(backward.dtype)  # (length, batch, states)
        owners, steps, targets = _span_steps(spans, mask.sum(1).tolist(), self.num_tags)
        row, position, state = torch.tensor(steps, dtype=torch.long, device=device).view(-1, 3).T
        following = self._log_transitions(backward.dtype)[state] + arriving[position, row]  # (steps, states)
        chosen = following.masked_fill(~targets.to(device), FORBIDDEN).logsumexp(-1) - following.logsumexp(-1)
        posterior = posterior.index_add(0, torch.tensor(owners, dtype=torch.long, device=device), chosen)
        return _floored(posterior).to(_result_dtype(emissions))

    @torch.no_grad()
    @_without_autocast
    def log_steps(self, emissions: Tensor, mask: Tensor | None, states: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the posterior as a Markov chain: log marginals, and log p(state | state before) from some states.

        Returns:
            (batch, length, states) as :meth:`log_marginals`, and (batch, length, len(states), states), the step to each
            position; that to position 0 is no step, and has -1e6.
        """
        dtype, length = _result_dtype(emissions), emissions.size(1)
        emissions, mask = self._checked(emissions, mask)
        lattice = self._lattice(emissions, mask)
        marginals = lattice.log_marginals().transpose(0, 1)[:, :length]
        arriving = (lattice.log_messages()[1] + emissions.transpose(0, 1)).transpose(0, 1)[:, :length]
        table = self._log_transitions(arriving.dtype)
        steps = [(table[state] + arriving).log_softmax(-1) for state in states]
        steps = torch.stack(steps, 2).clamp(min=FORBIDDEN)  # (batch, length, len(states), states)
        steps[:, :1] = FORBIDDEN
        return marginals.to(dtype), steps.to(dtype)

    @torch.no_grad()
    @_without_autocast
    def viterbi(self, emissions: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the best path of each row, (batch, length) int64 padded with -1, and its score, (batch,).

        A forbidden transition is never taken if an allowed path exists, however large the scores are.
        """
        length = emissions.size(1)
        emissions, mask = self._checked(emissions, mask)
        scores, _ = self._scores(emissions, mask)
        pays = emissions.size(0) * self.num_tags**2 >= MIN_BLOCK_SIZE
        paths = best_paths(scores, self._runs if pays else None)
        return paths[:, :length], self._path_scores(emissions, paths, mask).to(_result_dtype(emissions))

    def decode(self, emissions: Tensor, mask: Tensor | None = None) -> list[list[int]]:
        """Return the best path of each row as a list of its length (``torchcrf.CRF.decode``)."""
        paths = self.viterbi(emissions, mask)[0]
        lengths = [paths.size(1)] * len(paths) if mask is None else mask.sum(1).tolist()
        return [path[:length] for path, length in zip(paths.tolist(), lengths)]

    def _likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor | None) -> tuple[Tensor, Lattice]:
        emissions, mask = self._checked(emissions, mask)
        tags = self._checked_tags(emissions, tags, mask)
        lattice = self._lattice(emissions, mask)
        unobserved = (tags == UNOBSERVED) & mask
        if unobserved.any():
            score = self._attached(LogPartition, emissions, self._lattice(emissions, mask, tags))
        else:
            score = self._path_scores(emissions, tags, mask)
        return score - self._attached(LogPartition, emissions, lattice), lattice

    def _attached(self, function: type[torch.autograd.Function], emissions: Tensor, lattice: Lattice):
        return function.apply(emissions, self.start_transitions, self.end_transitions, self.transitions, lattice)

    def _path_scores(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        dtype = counting_dtype(emissions.device)
        tags = tags.masked_fill(~mask, 0)
        unary = emissions.gather(-1, tags.unsqueeze(-1)).squeeze(-1).to(dtype)  # (batch, length)
        pairs = self._log_transitions(dtype)[tags[:, :-1], tags[:, 1:]]  # (batch, length - 1)
        last = tags.gather(1, (mask.sum(1, keepdim=True) - 1).clamp_min(0)).squeeze(1)
        starts = _penalised(self.start_transitions, self.start_penalties, dtype)[tags[:, 0]]
        ends = _penalised(self.end_transitions, self.end_penalties, dtype)[last]
        score = torch.where(mask, unary, 0).sum(1) + torch.where(mask[:, 1:], pairs, 0).sum(1)
        return score + torch.where(mask[:, 0], starts + ends, 0)

    def _log_transitions(self, dtype: torch.dtype) -> Tensor:
        return _penalised(self.transitions, self.transition_penalties, dtype)

    def _scores(self, emissions: Tensor, mask: Tensor) -> tuple[ChainScores, float]:
        """Return the log potentials and their :meth:`_spread`."""
        dtype = counting_dtype(emissions.device)
        batch, length, states = emissions.shape
        by_position = torch.empty(length, batch, states, dtype=dtype, device=emissions.device)
        by_position.copy_(emissions.detach().transpose(0, 1))[~mask.T] = 0
        sides = (side.masked_fill(forbidden, -torch.inf) for side, forbidden in self._sides())
        return ChainScores(by_position, *sides, mask), self._spread(by_position)

    def _sides(self) -> list[tuple[Tensor, Tensor]]:
        """Return start, end and transition scores (detached, in the wide dtype), each with its forbidden entries."""
        dtype = counting_dtype(self.transitions.device)
        sides = (
            (self.start_transitions, self.start_penalties),
            (self.end_transitions, self.end_penalties),
            (self.transitions, self.transition_penalties),
        )
        nothing = torch.zeros((), dtype=torch.bool, device=self.transitions.device)
        return [(side.detach().to(dtype), nothing if penalty is None else penalty < 0) for side, penalty in sides]

    @torch.no_grad()
    def _lattice(self, emissions: Tensor, mask: Tensor, tags: Tensor | None = None) -> Lattice:
        scores, spread = self._scores(emissions, mask)
        window = min(self._mixing or mask.size(1), mask.size(1))
        if tags is not None:
            scores = scores._replace(emissions=_observed(scores.emissions, tags.T, mask.T))
        period = scaled_period(spread, window, scores.emissions.dtype) if self._mixing else 0
        if period:
            lattice = ScaledLattice(scores, period)
            if lattice.log_partition().isfinite().all():
                return lattice
        return LogLattice(scores, penalty=min(FORBIDDEN, -4 * window * spread))

    def _spread(self, emissions: Tensor) -> float:
        """Return the largest score difference that one step can cause between two allowed states.

        Raises:
            ValueError: if a score is not finite.
        """
        ranges = [(emissions.amax(-1) - emissions.amin(-1)).amax()]
        for side, forbidden in self._sides():
            largest, smallest = side.masked_fill(forbidden, -torch.inf), side.masked_fill(forbidden, torch.inf)
            ranges.append(largest.amax() - smallest.amin())
        emission, *sides = torch.stack(ranges).tolist()
        if not math.isfinite(emission):
            position, row = (~emissions.isfinite()).any(-1).nonzero()[0].tolist()
            raise ValueError(f"emissions must be finite, found nan or infinity at row {row}, position {position}")
        if not math.isfinite(sum(sides)):
            raise ValueError("starts, ends and transitions must be finite, found nan or infinity")
        return emission + max(sides) + math.log(self.num_tags)

    def _checked(self, emissions: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if emissions.dim() != 3 or emissions.size(2) != self.num_tags or not emissions.size(0):
            expected = f"(batch > 0, length, {self.num_tags})"
            raise ValueError(f"emissions must have shape {expected}, found {tuple(emissions.shape)}")
        if mask is None:
            mask = torch.ones(emissions.shape[:2], dtype=torch.bool, device=emissions.device)
        if mask.shape != emissions.shape[:2]:
            raise ValueError(f"mask must have shape {tuple(emissions.shape[:2])}, found {tuple(mask.shape)}")
        mask = mask.bool()
        if (mask[:, 1:] > mask[:, :-1]).any():
            row = (mask[:, 1:] > mask[:, :-1]).any(1).nonzero()[0].item()
            raise ValueError(f"mask must be a prefix of ones in each row, found a gap in row {row}")
        if mask.size(1):
            return emissions, mask
        return torch.nn.functional.pad(emissions, (0, 0, 0, 1)), torch.nn.functional.pad(mask, (0, 1))

    def _checked_tags(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        if tags.shape[1] == 0:
            tags = torch.nn.functional.pad(tags, (0, 1))
        if tags.shape != mask.shape:
            raise ValueError(f"tags must have shape {tuple(mask.shape)}, found {tuple(tags.shape)}")
        wrong = ((tags < 0) | (tags >= self.num_tags)) & (tags != UNOBSERVED) & mask
        if wrong.any():
            row, position = wrong.nonzero()[0].tolist()
            found = f"{tags[row, position].item()} at row {row}, position {position}"
            raise ValueError(f"tags must be 0 to {self.num_tags - 1} or {UNOBSERVED}, found {found}")
        return tags


def _result_dtype(emissions: Tensor) -> torch.dtype:
    return torch.float64 if emissions.dtype == torch.float64 else torch.float32


def _penalised(side: Tensor, penalty: Tensor | None, dtype: torch.dtype) -> Tensor:
    return side.to(dtype) if penalty is None else side.to(dtype) + penalty.to(dtype)


def _observed(emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """Set the emissions of all states except the observed ones to -inf."""
    free = (tags == UNOBSERVED) | ~mask
    states = torch.arange(emissions.size(-1), device=tags.device)
    return emissions.masked_fill(~(free.unsqueeze(-1) | (tags.unsqueeze(-1) == states)), -torch.inf)


def _floored(log_probabilities: Tensor) -> Tensor:
    """Set log probabilities of paths with a forbidden step to exactly -1e6, without a gradient."""
    return torch.where(log_probabilities > FORBIDDEN / 2, log_probabilities, FORBIDDEN)


def _mixing_steps(transitions: Tensor, limit: int = 16) -> int | None:
    """Return the number of steps in which every state reaches every other, None if more than ``limit``."""
    one_step = transitions.float()  # (states, states)
    reached = one_step
    for steps in range(1, limit + 1):
        if reached.all():
            return steps
        reached = ((reached @ one_step) > 0).float()
    return None


def _check_spans(spans: Sequence[StateSpan], mask: Tensor, states: int) -> None:
    lengths = mask.sum(1).tolist()
    for index, span in enumerate(spans):
        if not 0 <= span.row < len(lengths):
            raise ValueError(f"span {index}: row must be 0 to {len(lengths) - 1}, found {span.row}")
        length = lengths[span.row]
        if not 0 <= span.start < span.end <= length:
            raise ValueError(f"span {index}: must lie within 0 to {length}, found {span.start} to {span.end}")
        if len(span.states) != span.end - span.start:
            raise ValueError(f"span {index}: must have {span.end - span.start} states, found {len(span.states)}")
        if not all(0 <= state < states for state in (*span.states, *span.forbidden_next)):
            raise ValueError(f"span {index}: states must be 0 to {states - 1}")


def _span_steps(spans: Sequence[StateSpan], lengths: list[int], states: int) -> tuple[list[int], list[tuple], Tensor]:
    """List the steps of all spans: index of the span; row, position and previous state; mask of allowed next states."""
    owners, steps, next_states = [], [], []
    for index, span in enumerate(spans):
        targets: list[list[int]] = [[state] for state in span.states[1:]]
        if span.forbidden_next and span.end < lengths[span.row]:
            targets.append([state for state in range(states) if state not in span.forbidden_next])
        for offset, target in enumerate(targets):
            owners.append(index)
            steps.append((span.row, span.start + offset + 1, span.states[offset]))
            next_states.append(target)
    allowed = torch.zeros(len(next_states), states, dtype=torch.bool)
    for step, target in enumerate(next_states):
        allowed[step, target] = True
    return owners, steps, allowed
