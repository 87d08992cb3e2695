"""Forward-backward over the lattice of a linear-chain CRF, with analytic derivatives (no graph over time steps).

Both directions run in one loop: the backward recursion is the forward one on each row's reversed positions with
transposed transitions. Messages are normalised during the recursion (Rabiner 1989, section V.A) and marginals at each
position, so that no result is the difference of two large numbers.

Two lattices share an interface. :class:`ScaledLattice` multiplies probabilities and is fast; :class:`LogLattice`
handles any range of scores. Both compute in float64 if the device supports it: the scaled form then reaches down to
exp(-708) instead of exp(-87), for a few per cent of the time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

FORBIDDEN = -1e6
"""Log score of forbidden states and transitions, and the lowest log probability that is reported."""

MAX_PERIOD = 8
"""Maximum number of steps between two normalisations of a scaled message."""


class ChainScores(NamedTuple):
    """Log potentials of a batch of chains; ``-inf`` forbids a state, a start, an end or a transition.

    Attributes:
        emissions: (length, batch, states), finite in padding.
        starts: (states,) score of the first state.
        ends: (states,) score of the last state.
        transitions: (states, states), from row to column.
        mask: (batch, length) bool, a prefix of ones in each row.
    """

    emissions: Tensor
    starts: Tensor
    ends: Tensor
    transitions: Tensor
    mask: Tensor


def counting_dtype(device: torch.device) -> torch.dtype:
    """Return the widest float type that ``device`` supports."""
    return torch.float32 if device.type == "mps" else torch.float64


def scaled_period(spread: float, window: int, dtype: torch.dtype) -> int:
    """Return the number of steps after which scaled messages must be normalised, 0 if they cannot hold the scores.

    Args:
        spread: largest score difference that one step can cause between two states.
        window: number of steps in which every state reaches every other; reachable states then stay within
            ``window * spread`` of each other.
        dtype: float type of the messages. The product of two messages must not underflow.
    """
    return max(0, min(MAX_PERIOD, int(-math.log(torch.finfo(dtype).tiny) / 2 / max(spread, 1.0)) - window))


def reversal(mask: Tensor) -> Tensor:
    """Return flat (length * batch) indices that reverse each row's valid positions and leave its padding in place."""
    lengths = mask.sum(1)  # (batch,)
    batch, length = mask.shape
    position = torch.arange(length, device=mask.device).unsqueeze(1)  # (length, 1)
    mirrored = torch.where(position < lengths, lengths - 1 - position, position)  # (length, batch)
    return (mirrored * batch + torch.arange(batch, device=mask.device)).flatten()


class Lattice:
    """Messages of both directions: direction 0 from left to right, direction 1 from the end of each row.

    Attributes:
        pre: (length, batch, 2, states) message into a position, before its emission.
        post: (length, batch, 2, states) message after its emission, rescaled.
        log_scales: (length, batch) log of the divisors of direction 0.
    """

    pre: Tensor
    post: Tensor
    log_scales: Tensor

    def __init__(self, scores: ChainScores):
        self.scores = scores
        self.mask = scores.mask.T.unsqueeze(-1)  # (length, batch, 1)
        self.last = (scores.mask.sum(1) - 1).clamp_min(0)  # (batch,)
        self._order = reversal(scores.mask)
        self._fill()

    def _fill(self) -> None:
        raise NotImplementedError

    def both_ways(self, left: Tensor, right: Tensor) -> Tensor:
        """Stack ``left`` with the reversal of ``right``, each (length, batch, n): (length, batch, 2, n)."""
        return torch.stack((left, self._reverse(right)), 2)

    def right_side(self, messages: Tensor) -> Tensor:
        """Return direction 1 of (length, batch, 2, n) messages in reading order, (length, batch, n)."""
        return self._reverse(messages[:, :, 1])

    def _reverse(self, values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, self._order).view(values.shape)

    def at_last(self, values: Tensor) -> Tensor:
        """Pick each row's last valid position from (length, batch, n) values."""
        return values[self.last, torch.arange(values.size(1), device=values.device)]  # (batch, n)

    def log_partition(self) -> Tensor:
        """Return log Z, (batch,), 0 for empty rows."""
        scales = torch.where(self.mask.squeeze(-1), self.log_scales, 0).sum(0)
        return torch.where(self.mask[0, :, 0], scales + self._log_end(), 0)

    def _log_end(self) -> Tensor:
        raise NotImplementedError

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Return log alpha (emission included) and log beta, each (length, batch, states).

        Both up to a constant per position and row; about :data:`FORBIDDEN` for unreachable states, 0 in padding.
        """
        raise NotImplementedError

    def log_marginals(self) -> Tensor:
        """Return log p(state at position), (length, batch, states).

        States that need a forbidden step have exactly :data:`FORBIDDEN`; padding has state 0 with probability 1.
        """
        marginals = self._log_marginals()
        padding = torch.full_like(marginals[0, 0], FORBIDDEN)
        padding[0] = 0
        return torch.where(self.mask, torch.where(marginals > FORBIDDEN / 2, marginals, FORBIDDEN), padding)

    def _log_marginals(self) -> Tensor:
        raise NotImplementedError

    def expected_counts(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected counts of states and transitions, weighted by row.

        Args:
            weights: (batch,).

        Returns:
            (length, batch, states), 0 in padding, and (states, states) summed over rows and positions.
        """
        raise NotImplementedError

    def pull_back(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Run the adjoint of both recursions.

        d log pre[t + 1] / d log post[t] is the probability of the previous state given the next state and the prefix,
        so a derivative is propagated by one matrix product per step.

        Args:
            y: (length, batch, 2, states) derivative by log ``pre`` of the direct uses only; complete on return.

        Returns:
            (length, batch, 2, states) derivative by log ``post`` of the uses at later positions, and (states, states)
            derivative by the transitions.
        """
        raise NotImplementedError


class ScaledLattice(Lattice):
    """Messages as probabilities.

    Args:
        scores: log potentials.
        period: steps between normalisations, from :func:`scaled_period`.
    """

    def __init__(self, scores: ChainScores, period: int = 1):
        self._period = period
        super().__init__(scores)

    def _fill(self) -> None:
        scores, states = self.scores, self.scores.starts.size(0)
        peak = scores.emissions.amax(-1, keepdim=True)  # (length, batch, 1)
        shift, start_shift, self._end_shift = scores.transitions.amax(), scores.starts.amax(), scores.ends.amax()
        weights = (scores.transitions - shift).exp_()
        self._weights = weights.new_zeros(2 * states, 2 * states)  # one product serves both directions
        self._weights[:states, :states], self._weights[states:, states:] = weights, weights.T
        self._ends = (scores.ends - self._end_shift).exp_()
        factors = (scores.emissions - peak).exp_()
        scales = self._run(self.both_ways(factors, factors), (scores.starts - start_shift).exp_())
        self.log_scales = scales[..., 0, 0].log() + peak.squeeze(-1) + shift  # (length, batch)
        self.log_scales[0] += start_shift - shift

    def _run(self, factors: Tensor, starts: Tensor) -> Tensor:
        self.pre, self.post = torch.empty_like(factors), torch.empty_like(factors)
        scales = factors.new_ones(*factors.shape[:3], 1)
        self.pre[0] = torch.stack((starts, self._ends))
        torch.mul(self.pre[0], factors[0], out=self.post[0])
        pres, posts, factors = (side.flatten(2).unbind() for side in (self.pre, self.post, factors))
        for position, (pre, post, factor) in enumerate(zip(pres[1:], posts[1:], factors[1:]), 1):
            torch.mm(posts[position - 1], self._weights, out=pre)
            torch.mul(pre, factor, out=post)
            if position % self._period == 0:
                scaled, scale = self.post[position], scales[position]
                torch.sum(scaled, -1, keepdim=True, out=scale)
                scaled.div_(scale)
        return scales

    def _log_end(self) -> Tensor:
        return (self.at_last(self.post[:, :, 0]) @ self._ends).log() + self._end_shift

    def log_messages(self) -> tuple[Tensor, Tensor]:
        sides = (self.post[:, :, 0].log(), self.right_side(self.pre).log_())
        return tuple(torch.where(self.mask, side.clamp_min_(FORBIDDEN), 0) for side in sides)

    def _log_marginals(self) -> Tensor:
        joint = self.pre[:, :, 0] * self.right_side(self.post)
        return joint.div_(joint.sum(-1, keepdim=True)).log_()

    def expected_counts(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        arriving = self.right_side(self.post)  # emission and everything after it
        joint = self.pre[:, :, 0] * arriving
        weights = torch.where(self.mask, weights.unsqueeze(-1) / joint.sum(-1, keepdim=True), 0)  # (length, batch, 1)
        transitions = self._pair_sums(0, arriving.mul_(weights))
        return joint.mul_(weights), transitions

    def _pair_sums(self, direction: int, ratios: Tensor) -> Tensor:
        states = ratios.size(-1)
        before = self.post[:-1, :, direction].reshape(-1, states)
        sums = before.T @ ratios[1:].reshape(-1, states)
        return sums.mul_(self._weights[:states, :states] if direction == 0 else self._weights[states:, states:])

    def pull_back(self, y: Tensor) -> tuple[Tensor, Tensor]:
        inverse = self.pre.clamp_min(torch.finfo(y.dtype).tiny).reciprocal_()  # pre is 0 only where y is 0 too
        pulled, ratios = torch.zeros_like(y), torch.zeros_like(y)
        sides = (side.flatten(2).unbind() for side in (y, pulled, ratios, inverse, self.post))
        ys, pulls, quotients, inverses, posts = sides
        for position in range(len(y) - 2, -1, -1):
            torch.mul(ys[position + 1], inverses[position + 1], out=quotients[position + 1])
            torch.mm(quotients[position + 1], self._weights.T, out=pulls[position])
            pulls[position].mul_(posts[position])
            ys[position].add_(pulls[position])
        return pulled, self._pair_sums(0, ratios[:, :, 0]) + self._pair_sums(1, ratios[:, :, 1]).T


class LogLattice(Lattice):
    """Messages as log probabilities, for any range of scores.

    Args:
        scores: log potentials.
        penalty: finite replacement of ``-inf``, lower than the cost of any allowed detour.
    """

    def __init__(self, scores: ChainScores, penalty: float = FORBIDDEN):
        super().__init__(ChainScores(*(side.clamp_min(penalty) for side in scores[:4]), scores.mask))

    def _fill(self) -> None:
        emissions = self.both_ways(self.scores.emissions, self.scores.emissions)  # (length, batch, 2, states)
        transitions = self.scores.transitions
        self._weights = torch.stack((transitions, transitions.T))  # (2, states, states)
        self.pre, self.post = torch.empty_like(emissions), torch.empty_like(emissions)
        scales = emissions.new_empty(*emissions.shape[:3], 1)
        self.pre[0] = torch.stack((self.scores.starts, self.scores.ends))
        for position, emission in enumerate(emissions):
            if position:
                self.pre[position] = self._extended(position - 1).logsumexp(-2)
            post = self.pre[position] + emission
            scales[position] = post.logsumexp(-1, keepdim=True)
            self.post[position] = post - scales[position]
        self.log_scales = scales[..., 0, 0]

    def _extended(self, position: int) -> Tensor:
        return self.post[position].unsqueeze(-1) + self._weights  # (batch, 2, states, states)

    def _kernel(self, position: int) -> Tensor:
        """Return p(state at position | next state, prefix), (batch, 2, states, states)."""
        return (self._extended(position) - self.pre[position + 1].unsqueeze(-2)).exp()

    def _log_end(self) -> Tensor:
        return (self.at_last(self.post[:, :, 0]) + self.scores.ends).logsumexp(-1)

    def log_messages(self) -> tuple[Tensor, Tensor]:
        backward = self.right_side(self.pre)
        sides = (self.post[:, :, 0], backward - backward.amax(-1, keepdim=True))
        return tuple(torch.where(self.mask, side, 0) for side in sides)

    def _log_marginals(self) -> Tensor:
        return (self.pre[:, :, 0] + self.right_side(self.post)).log_softmax(-1)

    def expected_counts(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        expected = torch.where(self.mask, self._log_marginals().exp() * weights.unsqueeze(-1), 0)
        transitions = torch.zeros_like(self.scores.transitions)
        for position in range(len(expected) - 1):
            transitions += (self._kernel(position)[:, 0] * expected[position + 1].unsqueeze(-2)).sum(0)
        return expected, transitions

    def pull_back(self, y: Tensor) -> tuple[Tensor, Tensor]:
        pulled, sums = torch.zeros_like(y), torch.zeros_like(self._weights)
        for position in range(len(y) - 2, -1, -1):
            counts = self._kernel(position) * y[position + 1].unsqueeze(-2)  # (batch, 2, states, states)
            pulled[position] = counts.sum(-1)
            sums += counts.sum(0)
            y[position] += pulled[position]
        return pulled, sums[0] + sums[1].T


class _SecondDerivative(torch.autograd.Function):
    """Identity for a first derivative; raises if it is differentiated again."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, derivative: Tensor) -> Tensor:
        return derivative.view_as(derivative)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        raise RuntimeError("AdnerCRF is differentiable once, a second derivative was requested")


def _differentiable_once(backward: Callable) -> Callable:
    """Make a second derivative an error; ``once_differentiable`` drops it silently unless ``grad`` asks for it."""

    @functools.wraps(backward)
    def run(ctx: Any, *grads: Tensor):
        with torch.no_grad():
            derivatives = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return *derivatives, None
        anchor = torch.zeros((), requires_grad=True)
        return *(_SecondDerivative.apply(anchor, derivative) for derivative in derivatives), None

    return run


class LogPartition(torch.autograd.Function):
    """log Z of a lattice, (batch,); its gradient is the expected counts of states and transitions.

    Sutton and McCallum (2012), An Introduction to Conditional Random Fields, section 5.1. Once differentiable.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, starts: Tensor, ends: Tensor, transitions: Tensor, lattice: Lattice):
        """Return the lattice's log Z; the four score tensors are arguments only to receive gradients."""
        ctx.lattice, ctx.dtypes = lattice, _dtypes(emissions, starts, ends, transitions)
        return lattice.log_partition()

    @staticmethod
    @_differentiable_once
    def backward(ctx: Any, grad: Tensor):
        """Return the expected counts, weighted by ``grad`` (batch,)."""
        states, transitions = ctx.lattice.expected_counts(grad)
        counts = (states.transpose(0, 1), states[0].sum(0), ctx.lattice.at_last(states).sum(0), transitions)
        return _cast(counts, ctx.dtypes)


class LogMarginals(torch.autograd.Function):
    """Log marginals of a lattice, (length, batch, states), as :meth:`Lattice.log_marginals`.

    Once differentiable; forbidden states and padding have no gradient.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, starts: Tensor, ends: Tensor, transitions: Tensor, lattice: Lattice):
        """Return the log marginals; the four score tensors are arguments only to receive gradients."""
        ctx.lattice, ctx.dtypes = lattice, _dtypes(emissions, starts, ends, transitions)
        marginals = lattice.log_marginals()
        ctx.save_for_backward(marginals)
        return marginals

    @staticmethod
    @_differentiable_once
    def backward(ctx: Any, grad: Tensor):
        """Propagate the derivative of the normalised sum of both messages through both recursions."""
        (marginals,) = ctx.saved_tensors
        grad = grad * (ctx.lattice.mask & (marginals > FORBIDDEN))
        grad -= marginals.exp() * grad.sum(-1, keepdim=True)
        return _cast(_pull_messages(ctx.lattice, grad, grad), ctx.dtypes)


class LogMessages(torch.autograd.Function):
    """Log alpha and log beta of a lattice, each (length, batch, states), up to a constant per position and row.

    The gradient ignores these constants: it is right for results that are normalised and so do not depend on them.
    Once differentiable.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, starts: Tensor, ends: Tensor, transitions: Tensor, lattice: Lattice):
        """Return the messages; the four score tensors are arguments only to receive gradients."""
        ctx.lattice, ctx.dtypes = lattice, _dtypes(emissions, starts, ends, transitions)
        messages = lattice.log_messages()
        ctx.save_for_backward(*messages)
        return messages

    @staticmethod
    @_differentiable_once
    def backward(ctx: Any, grad_forward: Tensor, grad_backward: Tensor):
        """Propagate the derivatives through their recursions."""
        alive = [ctx.lattice.mask & (message > FORBIDDEN) for message in ctx.saved_tensors]
        return _cast(_pull_messages(ctx.lattice, grad_forward * alive[0], grad_backward * alive[1]), ctx.dtypes)


def _pull_messages(lattice: Lattice, forward: Tensor, backward: Tensor) -> tuple[Tensor, ...]:
    """Convert derivatives by log alpha and log beta, (length, batch, states), to those by the four score tensors."""
    y = lattice.both_ways(forward, backward)
    pulled, transitions = lattice.pull_back(y)
    emissions = y[:, :, 0] + lattice.right_side(pulled)
    return emissions.transpose(0, 1), y[0, :, 0].sum(0), y[0, :, 1].sum(0), transitions


def _dtypes(*scores: Tensor) -> tuple[torch.dtype, ...]:
    return tuple(side.dtype for side in scores)


def _cast(counts: tuple[Tensor, ...], dtypes: tuple[torch.dtype, ...]) -> list[Tensor]:
    return [count.to(dtype, memory_format=torch.contiguous_format) for count, dtype in zip(counts, dtypes)]
