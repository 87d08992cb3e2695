"""Best paths through a linear-chain CRF: batched Viterbi and k-best, on tensors from end to end."""

from __future__ import annotations

import torch
from torch import Tensor

from .crf_lattice_adner import ChainScores, reversal

PADDING = -1
"""State index that fills a path after its last position."""


def best_paths(scores: ChainScores) -> Tensor:
    """Return the highest-scoring state sequence of each row (Viterbi 1967), (batch, length) long, padded with -1.

    The recursion keeps only the scores; the predecessor is found again along the one path that is traced back,
    which spares an arg max over states x states per step. Ties go to the lower state index.
    """
    prefixes = _prefix_scores(scores)  # (length, batch, states)
    batch, length = scores.mask.shape
    order = reversal(scores.mask)
    reversed_prefixes = prefixes.view(length * batch, -1).index_select(0, order).view(prefixes.shape)
    incoming = scores.transitions.T.contiguous()  # (to, from)
    state = (reversed_prefixes[0] + scores.ends).argmax(-1)  # (batch,)
    states = [state]
    for prefix in reversed_prefixes.unbind()[1:]:
        state = incoming.index_select(0, state).add_(prefix).argmax(-1)
        states.append(state)
    path = torch.stack(states).flatten().index_select(0, order).view(length, batch).transpose(0, 1)
    return path.masked_fill(~scores.mask, PADDING)


def _prefix_scores(scores: ChainScores) -> Tensor:
    emissions = scores.emissions.transpose(0, 1)  # (length, batch, states)
    prefixes = torch.empty_like(emissions, memory_format=torch.contiguous_format)
    torch.add(emissions[0], scores.starts, out=prefixes[0])
    extended = prefixes.new_empty(*prefixes.shape[1:], prefixes.size(2))  # (batch, from, to)
    previous = prefixes[0]
    for emission, prefix in zip(emissions.unbind()[1:], prefixes.unbind()[1:]):
        torch.add(previous.unsqueeze(-1), scores.transitions, out=extended)
        torch.amax(extended, 1, out=prefix)
        previous = prefix.add_(emission)
    return prefixes


def k_best_paths(scores: ChainScores, k: int) -> tuple[Tensor, Tensor]:
    """Return each row's ``k`` best distinct state sequences, best first.

    Returns:
        paths (batch, k, length) long, padded with -1, and scores (batch, k), ``-inf`` (and a path of -1) where fewer
        paths are allowed. An empty row has one path, the empty one, of score 0.
    """
    prefixes, origins = _k_prefix_scores(scores, k)  # both (length, batch, states, k)
    batch, length = scores.mask.shape
    rows = torch.arange(batch, device=scores.mask.device)
    last = (scores.mask.sum(1) - 1).clamp_min(0)
    totals = (prefixes[last, rows] + scores.ends.unsqueeze(-1)).flatten(1)  # (batch, states * k)
    best, slot = totals.topk(k, dim=-1)  # (batch, k)
    slots = _trace_back(origins, slot, last)  # (batch, k, length)
    missing = ~scores.mask.unsqueeze(1) | best.isneginf().unsqueeze(-1)
    empty = ~scores.mask[:, :1]
    only_first = torch.arange(k, device=best.device) > 0
    best = torch.where(empty, torch.zeros_like(best).masked_fill(only_first, -torch.inf), best)
    return torch.div(slots, k, rounding_mode="floor").masked_fill(missing, PADDING), best


def _k_prefix_scores(scores: ChainScores, k: int) -> tuple[Tensor, Tensor]:
    emissions = scores.emissions.transpose(0, 1)  # (length, batch, states)
    length, batch, states = emissions.shape
    prefixes = emissions.new_full((length, batch, states, k), -torch.inf)
    origins = torch.zeros((length, batch, states, k), dtype=torch.long, device=emissions.device)
    prefixes[0, :, :, 0] = emissions[0] + scores.starts
    for position in range(1, length):
        # (batch, from, k, 1) + (from, 1, to) -> (batch, from * k, to)
        extended = (prefixes[position - 1].unsqueeze(-1) + scores.transitions.unsqueeze(1)).flatten(1, 2)
        best, origin = extended.topk(k, dim=1)  # (batch, k, to)
        prefixes[position] = best.transpose(1, 2) + emissions[position].unsqueeze(-1)
        origins[position] = origin.transpose(1, 2)
    return prefixes, origins


def _trace_back(origins: Tensor, slot: Tensor, last: Tensor) -> Tensor:
    slots = []
    for position in range(origins.size(0) - 1, -1, -1):
        slots.append(slot)
        previous = origins[position].flatten(1).gather(1, slot)  # (batch, k)
        slot = torch.where((position <= last).unsqueeze(1), previous, slot)
    return torch.stack(slots[::-1], -1)
