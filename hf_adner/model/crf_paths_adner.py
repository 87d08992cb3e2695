"""Best paths through a linear-chain CRF: batched Viterbi on tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .crf_lattice_adner import ChainScores, reversal

PADDING = -1
"""State index after the last position of a path."""

MIN_BLOCK_SIZE = 40_000
"""Batch x states x states from which :class:`EntityRuns` saves time; below, its extra operations per step cost more."""

LOWEST = -1e30
"""Finite replacement of ``-inf``, lower than the score of any allowed path."""


class EntityRuns(NamedTuple):
    """The transitions of a BIOES scheme as one dense block and a 2 x 2 block per entity type.

    After a B or I state only the I or E state of its type is allowed; after every other state all except these.

    Attributes:
        order: permutation of the states: all I, all E (type by type), plain states (O and S), all B. Sources and
            targets of both blocks are then contiguous or evenly spaced.
        types: number of entity types.
    """

    order: tuple[int, ...]
    types: int

    @classmethod
    def find(cls, transitions: Sequence[Sequence[bool]]) -> EntityRuns | None:
        """Detect the scheme from allowed transitions (states, states); None if it is another one."""
        rows = [frozenset(column for column, allowed in enumerate(row) if allowed) for row in transitions]
        inside = [state for state, row in enumerate(rows) if len(row) == 2 and state in row]
        last = [next(iter(rows[state] - {state})) for state in inside]
        first = [other for state in inside for other, row in enumerate(rows) if row == rows[state] and other != state]
        plain = [state for state in range(len(rows)) if state not in {*inside, *last, *first}]
        order = (*inside, *last, *plain, *first)
        regular = len(inside) == len(first) > 0 and sorted(order) == list(range(len(rows)))
        if not regular or any(rows[state] != {*plain, *first} for state in (*last, *plain)):
            return None
        return cls(order, len(inside))


class Block(NamedTuple):
    """Transitions with evenly strided sources and targets: the targets are ``amax(sources + weights, 0)``.

    Attributes:
        sources: (length, from, 1, ..., batch) view of the prefix scores.
        weights: (from, to, ..., 1).
        targets: (length, to, ..., batch) view of the prefix scores.
    """

    sources: Tensor
    weights: Tensor
    targets: Tensor


def best_paths(scores: ChainScores, runs: EntityRuns | None = None) -> Tensor:
    """Return the highest-scoring state sequence of each row (Viterbi 1967), (batch, length) int64, padded with -1.

    The recursion stores scores only; predecessors are recomputed along the best path, which avoids an arg max over
    states x states per step. Ties go to the lower state index.

    Args:
        scores: log potentials.
        runs: block structure of the allowed transitions, if it is BIOES; forbidden transitions are then skipped.
    """
    scores = ChainScores(*(side.clamp_min(LOWEST) for side in scores[:4]), scores.mask)
    prefixes = _prefix_scores(scores, runs)  # (length, batch, states)
    length, batch, _ = prefixes.shape
    order = reversal(scores.mask)
    from_last = prefixes.flatten(0, 1).index_select(0, order).view(prefixes.shape)
    incoming = scores.transitions.T.contiguous()  # (to, from)
    state = (from_last[0] + scores.ends).argmax(-1)  # (batch,)
    states = [state]
    for prefix in from_last.unbind()[1:]:
        state = incoming.index_select(0, state).add_(prefix).argmax(-1)
        states.append(state)
    path = torch.stack(states).flatten().index_select(0, order).view(length, batch).T
    return path.masked_fill(~scores.mask, PADDING)


def _prefix_scores(scores: ChainScores, runs: EntityRuns | None) -> Tensor:
    """Return the score of the best prefix that ends in each state, (length, batch, states)."""
    states = scores.starts.size(0)
    order = torch.tensor(runs.order if runs else range(states), device=scores.starts.device)
    emissions = scores.emissions.transpose(1, 2).index_select(1, order)  # (length, states, batch)
    weights = scores.transitions[order.unsqueeze(1), order].unsqueeze(-1)  # (from, to, 1)
    prefixes = torch.empty_like(emissions)
    torch.add(emissions[0], scores.starts[order].unsqueeze(-1), out=prefixes[0])
    steps = zip(*(_block_steps(block) for block in _blocks(prefixes, weights, runs)))
    for emission, prefix, _ in zip(emissions.unbind()[1:], prefixes.unbind()[1:], steps):
        prefix.add_(emission)
    return prefixes.index_select(1, order.argsort()).transpose(1, 2).contiguous()


def _blocks(prefixes: Tensor, weights: Tensor, runs: EntityRuns | None) -> list[Block]:
    if runs is None:
        return [Block(prefixes.unsqueeze(2), weights, prefixes)]
    length, states, batch = prefixes.shape
    types, first = runs.types, states - runs.types
    dense = Block(prefixes[:, types:first].unsqueeze(2), weights[types:first, 2 * types :], prefixes[:, 2 * types :])
    strides = (states * batch, first * batch, batch, batch, 1)
    sources = prefixes.as_strided((length, 2, 1, types, batch), strides)  # I, then B
    pairs = [torch.stack([weights[a : a + types, b : b + types, 0].diagonal() for b in (0, types)]) for a in (0, first)]
    targets = prefixes[:, : 2 * types].view(length, 2, types, batch)  # I, then E
    return [dense, Block(sources, torch.stack(pairs).unsqueeze(-1), targets)]


def _block_steps(block: Block) -> Iterator[None]:
    """Compute the targets of one position per step."""
    extended = block.sources[0] + block.weights  # (from, to, ..., batch)
    for source, target in zip(block.sources.unbind(), block.targets.unbind()[1:]):
        torch.add(source, block.weights, out=extended)
        torch.amax(extended, 0, out=target)
        yield
