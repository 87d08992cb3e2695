"""Forward-backward over the lattice of a linear-chain CRF, with analytic derivatives and no graph over time steps.

Both directions run in one loop: the backward recursion is the forward one on each row's reversed positions with
transposed transitions, so a step is one batched product over (direction, batch, states). The messages are
normalised at every step (Rabiner 1989, section V.A); marginals never come from the difference of two large numbers.

Two lattices share an interface. :class:`ScaledLattice` multiplies probabilities and is the fast one;
:class:`LogLattice` takes any range of scores. Both count in float64 wherever the device knows it: the range of the
scaled form grows from exp(-87) to exp(-708) for a few per cent of the time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

FORBIDDEN = -1e6
"""Log score of what a constraint forbids, and the least log probability that is reported."""


class ChainScores(NamedTuple):
    """Log potentials of a batch of chains; ``-inf`` rules out a state, a start, an end or a transition.

    Attributes:
        emissions: (batch, length, states), finite in padding.
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
    """Return the widest float type that ``device`` computes in."""
    return torch.float32 if device.type == "mps" else torch.float64


def scaled_limit(dtype: torch.dtype) -> float:
    """Return the largest loss of scale (natural log) for which products of two messages cannot underflow."""
    return -math.log(torch.finfo(dtype).tiny) / 2.4


def reversal(mask: Tensor) -> Tensor:
    """Return flat (length * batch) indices that reverse each row's valid positions and leave its padding in place."""
    lengths = mask.sum(1)  # (batch,)
    batch, length = mask.shape
    position = torch.arange(length, device=mask.device).unsqueeze(1)  # (length, 1)
    mirrored = torch.where(position < lengths, lengths - 1 - position, position)  # (length, batch)
    return (mirrored * batch + torch.arange(batch, device=mask.device)).flatten()


class Lattice:
    """Messages of both directions; direction 0 reads left to right, direction 1 each row from its end.

    Attributes:
        pre: (length, 2, batch, states) message into a position, before its emission.
        post: (length, 2, batch, states) the same after its emission, normalised over states.
        log_scales: (length, batch) log of direction 0's normalisers.
    """

    pre: Tensor
    post: Tensor
    log_scales: Tensor

    def __init__(self, scores: ChainScores):
        self.scores = scores
        self.mask = scores.mask.transpose(0, 1).unsqueeze(-1)  # (length, batch, 1)
        self.last = (scores.mask.sum(1) - 1).clamp_min(0)  # (batch,)
        self._order = reversal(scores.mask)
        self._fill(scores.emissions.transpose(0, 1))  # (length, batch, states)

    def _fill(self, emissions: Tensor) -> None:
        raise NotImplementedError

    def reverse(self, values: Tensor) -> Tensor:
        """Reverse each row's valid positions of (length, batch, n) values; its own inverse."""
        return values.reshape(-1, values.size(-1)).index_select(0, self._order).view(values.shape)

    def at_last(self, values: Tensor) -> Tensor:
        """Pick each row's last valid position from (length, batch, n) values."""
        return values[self.last, torch.arange(values.size(1), device=values.device)]  # (batch, n)

    def log_partition(self) -> Tensor:
        """Return log Z, (batch,), 0 for empty rows."""
        scales = torch.where(self.mask.squeeze(-1), self.log_scales, 0).sum(0)
        return torch.where(self.mask[0, :, 0], scales + self._log_end(), 0)

    def _log_end(self) -> Tensor:
        raise NotImplementedError

    def marginals(self) -> Tensor:
        """Return p(state at position | x), (length, batch, states), 0 in padding."""
        raise NotImplementedError

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Return log alpha (emission included) and log beta, each (length, batch, states), up to a constant per
        position and row; :data:`FORBIDDEN` or about that where no path leads, 0 in padding."""
        raise NotImplementedError

    def transition_counts(self, direction: int, y: Tensor) -> Tensor:
        """Sum ``p(previous state | state, prefix) * y`` over rows and positions from 1 on.

        With ``y`` the marginals this is the expected number of each transition.

        Args:
            direction: which recursion's prefix; 1 gives the counts of the transposed transitions.
            y: (length, batch, states), 0 in padding.
        """
        raise NotImplementedError

    def pull_step(self, position: int, y: Tensor) -> Tensor:
        """Take the derivative ``y`` (2, batch, states) for log ``pre`` at position + 1 to log ``post`` at position."""
        raise NotImplementedError


class ScaledLattice(Lattice):
    """Messages as probabilities. Exact while the alive states of a position lie within :func:`scaled_limit`."""

    def _fill(self, emissions: Tensor) -> None:
        peak = emissions.amax(-1, keepdim=True)
        factors = (emissions - peak).exp_()
        stacked = torch.stack((factors, self.reverse(factors)), 1)  # (length, 2, batch, states)
        shift = self.scores.transitions.amax()
        weights = (self.scores.transitions - shift).exp_()
        self._weights = torch.stack((weights, weights.T))  # (2, states, states)
        edge_shifts = torch.stack((self.scores.starts.amax(), self.scores.ends.amax()))
        edges = (torch.stack((self.scores.starts, self.scores.ends)) - edge_shifts.unsqueeze(1)).exp_()
        scales = self._run(stacked, edges)
        self._edges, self._end_shift = edges, edge_shifts[1]
        self.log_scales = scales[:, 0, :, 0].log() + peak.squeeze(-1) + shift  # (length, batch)
        self.log_scales[0] += edge_shifts[0] - shift

    def _run(self, factors: Tensor, edges: Tensor) -> Tensor:
        self.pre, self.post = torch.empty_like(factors), torch.empty_like(factors)
        scales = factors.new_empty(*factors.shape[:3], 1)
        self.pre[0] = edges.unsqueeze(1)
        previous = None
        for factor, pre, post, scale in zip(factors.unbind(), self.pre.unbind(), self.post.unbind(), scales.unbind()):
            if previous is not None:
                torch.bmm(previous, self._weights, out=pre)
            torch.mul(pre, factor, out=post)
            torch.sum(post, -1, keepdim=True, out=scale)
            post.div_(scale)
            previous = post
        return scales

    def _log_end(self) -> Tensor:
        return (self.at_last(self.post[:, 0]) @ self._edges[1]).log() + self._end_shift

    def marginals(self) -> Tensor:
        joint = self.pre[:, 0] * self.reverse(self.post[:, 1])
        return torch.where(self.mask, joint / joint.sum(-1, keepdim=True), 0)

    def log_messages(self) -> tuple[Tensor, Tensor]:
        forward, backward = self.post[:, 0], self.reverse(self.pre[:, 1])
        return tuple(torch.where(self.mask, side.log().clamp_min(FORBIDDEN), 0) for side in (forward, backward))

    def transition_counts(self, direction: int, y: Tensor) -> Tensor:
        states = y.size(-1)
        ratios = y[1:] / self._divisor(self.pre[1:, direction])
        counts = self.post[:-1, direction].reshape(-1, states).T @ ratios.reshape(-1, states)
        return counts * self._weights[direction]

    def pull_step(self, position: int, y: Tensor) -> Tensor:
        ratios = y / self._divisor(self.pre[position + 1])
        return torch.bmm(ratios, self._weights.transpose(1, 2)) * self.post[position]

    @staticmethod
    def _divisor(pre: Tensor) -> Tensor:
        return pre.clamp_min(torch.finfo(pre.dtype).tiny)  # 0 only where no path leads, and there y is 0


class LogLattice(Lattice):
    """Messages as log probabilities, for any range of scores.

    Args:
        scores: log potentials.
        penalty: what stands for ``-inf``: finite, lower than any allowed detour can cost.
    """

    def __init__(self, scores: ChainScores, penalty: float = FORBIDDEN):
        starts, ends, transitions = (side.clamp_min(penalty) for side in scores[1:4])
        super().__init__(ChainScores(scores.emissions.clamp_min(penalty), starts, ends, transitions, scores.mask))

    def _fill(self, emissions: Tensor) -> None:
        stacked = torch.stack((emissions, self.reverse(emissions)), 1)  # (length, 2, batch, states)
        transitions = self.scores.transitions
        self._weights = torch.stack((transitions, transitions.T)).unsqueeze(1)  # (2, 1, states, states)
        self.pre, self.post = torch.empty_like(stacked), torch.empty_like(stacked)
        scales = stacked.new_empty(*stacked.shape[:3], 1)
        self.pre[0] = torch.stack((self.scores.starts, self.scores.ends)).unsqueeze(1)
        for position, emission in enumerate(stacked):
            if position:
                self.pre[position] = self._extended(position - 1).logsumexp(-2)
            post = self.pre[position] + emission
            scales[position] = post.logsumexp(-1, keepdim=True)
            self.post[position] = post - scales[position]
        self.log_scales = scales[:, 0, :, 0]

    def _extended(self, position: int) -> Tensor:
        return self.post[position].unsqueeze(-1) + self._weights  # (2, batch, states, states)

    def _log_end(self) -> Tensor:
        return (self.at_last(self.post[:, 0]) + self.scores.ends).logsumexp(-1)

    def marginals(self) -> Tensor:
        joint = self.pre[:, 0] + self.reverse(self.post[:, 1])
        return torch.where(self.mask, joint.softmax(-1), 0)

    def log_messages(self) -> tuple[Tensor, Tensor]:
        forward, backward = self.post[:, 0], self.reverse(self.pre[:, 1])
        backward = backward - backward.amax(-1, keepdim=True)
        return tuple(torch.where(self.mask, side, 0) for side in (forward, backward))

    def _kernel(self, position: int) -> Tensor:
        return (self._extended(position) - self.pre[position + 1].unsqueeze(-2)).exp()  # (2, batch, states, states)

    def transition_counts(self, direction: int, y: Tensor) -> Tensor:
        counts = torch.zeros_like(self.scores.transitions)
        for position in range(y.size(0) - 1):
            counts += (self._kernel(position)[direction] * y[position + 1].unsqueeze(-2)).sum(0)
        return counts

    def pull_step(self, position: int, y: Tensor) -> Tensor:
        return (self._kernel(position) @ y.unsqueeze(-1)).squeeze(-1)


class LogPartition(torch.autograd.Function):
    """log Z of a filled lattice, (batch,); its gradient is the expected number of states and transitions.

    Sutton and McCallum (2012), An Introduction to Conditional Random Fields, eq. 5.5. Once differentiable.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, starts: Tensor, ends: Tensor, transitions: Tensor, lattice: Lattice):
        """Return the lattice's log Z; the four score tensors are named only to receive gradients."""
        ctx.lattice = lattice
        ctx.dtypes = tuple(scores.dtype for scores in (emissions, starts, ends, transitions))
        return lattice.log_partition()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        """Weigh the expected counts of each row with ``grad`` (batch,)."""
        lattice = ctx.lattice
        y = lattice.marginals() * grad.unsqueeze(-1)  # (length, batch, states)
        counts = (y.transpose(0, 1), y[0].sum(0), lattice.at_last(y).sum(0), lattice.transition_counts(0, y))
        return *(count.to(dtype) for count, dtype in zip(counts, ctx.dtypes)), None


class LogMessages(torch.autograd.Function):
    """Log alpha and log beta of a filled lattice, each (length, batch, states), up to a constant per position and row.

    The gradient leaves those constants out, so it holds for every result that does not depend on them: whoever
    uses the messages must normalise what is made of them. Once differentiable.
    """

    @staticmethod
    def forward(ctx: Any, emissions: Tensor, starts: Tensor, ends: Tensor, transitions: Tensor, lattice: Lattice):
        """Return the messages; the four score tensors are named only to receive gradients."""
        ctx.lattice = lattice
        ctx.dtypes = tuple(scores.dtype for scores in (emissions, starts, ends, transitions))
        return lattice.log_messages()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_forward: Tensor, grad_backward: Tensor):
        """Run both recursions' adjoint in one loop (d log alpha[t+1] / d log alpha[t] is a transition kernel)."""
        lattice, length = ctx.lattice, grad_forward.size(0)
        grads = [grad * lattice.mask * (message > FORBIDDEN)
                 for grad, message in zip((grad_forward, grad_backward), lattice.log_messages())]
        y = torch.stack((grads[0], lattice.reverse(grads[1])), 1)  # (length, 2, batch, states)
        pulled = torch.zeros_like(y)
        for position in range(length - 2, -1, -1):
            pulled[position] = lattice.pull_step(position, y[position + 1])
            y[position] += pulled[position]
        emissions = y[:, 0] + lattice.reverse(pulled[:, 1])
        transitions = lattice.transition_counts(0, y[:, 0]) + lattice.transition_counts(1, y[:, 1]).T
        counts = (emissions.transpose(0, 1), y[0, 0].sum(0), y[0, 1].sum(0), transitions)
        return *(count.to(dtype) for count, dtype in zip(counts, ctx.dtypes)), None
