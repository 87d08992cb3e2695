"""The tagging loss by row, and boundary smoothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_adner.model.labels_adner import UNOBSERVED
from hf_adner.model.positions_adner import locate_text
from hf_adner.training.losses.divergences import FLOOR


def tagging_loss(head: Any, outputs: Any, log_probs: Tensor, labels: Tensor, attention_mask: Tensor) -> Tensor:
    """Negative log-likelihood of the gold labels, (rows,): of the path where the head is a CRF, else of each token.

    Args:
        head: the model's head if it has a CRF, else None.
        outputs: what the model returned.
        log_probs: (rows, tokens, labels).
        labels: (rows, tokens) gold, -100 where there is none.
        attention_mask: (rows, tokens).
    """
    if head is None:
        return _token_losses(log_probs, labels).sum(1)
    positions = locate_text(attention_mask)
    gold = positions.take(labels).masked_fill(~positions.mask, UNOBSERVED)
    states = head.label_states.to_states(gold, positions.mask)
    return -head.crf.log_likelihood(outputs.emissions, states, positions.mask)


def _token_losses(log_probs: Tensor, labels: Tensor) -> Tensor:
    observed = labels != UNOBSERVED
    chosen = log_probs.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return torch.where(observed, -chosen, 0)


def smoothing_loss(log_probs: Tensor, labels: Tensor, moves: Tensor, share: float) -> Tensor:
    """What boundary smoothing (Zhu & Li 2022, with distance 1) adds to the tagging loss, (rows,).

    Their target leaves 1 - share to the gold span and gives share / 4 to each of the four spans with one boundary moved
    by one. Written as label sequences that is the cross entropy to the same mixture of sequences: exact for a softmax
    head; of a CRF the moved sequences are scored by the marginals of the tokens whose label changes. A span that
    would be empty, or run into another entity or out of the text, leaves its part to the gold span.

    Args:
        log_probs: (rows, tokens, labels).
        labels: (rows, tokens) gold.
        moves: (moved tokens, 3) row, token and new label, see `boundary_moves`.
        share: of the probability that is given away, in [0, 1].
    """
    rows, tokens, new = moves.T
    logs = log_probs.clamp(min=FLOOR)
    gained = logs[rows, tokens, labels[rows, tokens]] - logs[rows, tokens, new]  # (moved tokens,)
    return logs.new_zeros(len(logs)).index_add(0, rows, gained * (share / 4))


def boundary_moves(labels: list[list[int]], begins: dict[int, int], outside: int) -> list[tuple[int, int, int]]:
    """(row, token, new label) of every token that changes when one entity's start or end moves by one.

    Args:
        labels: gold label ids of each row, -100 where there is none.
        begins: id of each B- label -> id of its I- label.
        outside: id of O.
    """
    moves = []
    for row, ids in enumerate(labels):
        for start, label in enumerate(ids):
            if label in begins:
                inside = begins[label]
                end = start + 1
                while end < len(ids) and ids[end] == inside:
                    end += 1
                moves += [(row, *move) for move in _moves_of(ids, start, end, (label, inside, outside))]
    return moves


def _moves_of(ids: list[int], start: int, end: int, kinds: tuple[int, int, int]) -> list[tuple[int, int]]:
    begin, inside, outside = kinds
    moves = []
    if start > 0 and ids[start - 1] == outside:
        moves += [(start - 1, begin), (start, inside)]
    if end < len(ids) and ids[end] == outside:
        moves += [(end, inside)]
    if end - start > 1:
        moves += [(start, outside), (start + 1, begin), (end - 1, outside)]
    return moves
