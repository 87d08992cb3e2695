"""Loss terms of explanation-guided training as functions of tensors; divergences are in nats unless said otherwise.

Tagging loss and boundary smoothing; boundary margins and invariance to the neighbourhood of an entity; consistency of
label marginals between a text and its view, or between two dropout masks; stability of the explainer head, which learns
the fused map on a text and on its views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hf_adner.explain.targets import LabelTable
from hf_adner.model.labels_adner import UNOBSERVED
from hf_adner.model.layers_adner import locate_text

FLOOR = -18.0
"""Log probabilities below this are taken as this: what a CRF forbids has -1e6, and must not blow up a divergence."""

SMALLEST = 1e-6
"""Probabilities are squeezed into [SMALLEST, 1 - SMALLEST] before their log-odds are taken."""

MARGIN = 2.0
"""Log-odds by which a boundary is to lead its neighbours."""

REACH = 2
"""Largest distance of a neighbour that a boundary has to lead, in tokens."""

_TINY = 1e-9


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
    """Return what boundary smoothing (Zhu & Li 2022, with distance 1) adds to the tagging loss, (rows,).

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


class BoundaryMarginals(NamedTuple):
    """Probability that any entity starts, and ends, with each token: (rows, tokens) each, 0 outside the text."""

    starts: Tensor
    ends: Tensor


def boundary_marginals(log_probs: Tensor, is_text: Tensor, labels: LabelTable) -> BoundaryMarginals:
    """Boundary marginals of all types together.

    Exact for a chain whose I-x follows nothing but its entity; otherwise tokens count as independent.

    Args:
        log_probs: (rows, tokens, labels).
        is_text: (rows, tokens).
        labels: of the tagger.
    """
    probs = log_probs.exp() * is_text[..., None]
    begin = probs[..., [labels.begin(name) for name in labels.types]]  # (rows, tokens, types)
    inside = probs[..., [labels.inside(name) for name in labels.types]]
    goes_on = functional.pad(inside[:, 1:], (0, 0, 0, 1))
    within = begin + inside
    ends = within - goes_on if labels.is_chain else within * (1 - goes_on)
    return BoundaryMarginals(begin.sum(-1).clamp(0, 1), ends.sum(-1).clamp(0, 1))


def margin_loss(marginals: Tensor, places: Tensor, rivals: Tensor, weights: Tensor) -> Tensor:
    """Softplus margin of a gold boundary over the tokens around it, on log-odds.

    Args:
        marginals: (rows, tokens) start, or end, marginals.
        places: (rows,) the gold boundary's token.
        rivals: (rows, tokens) tokens that may be led: text, and no gold boundary of that side themselves.
        weights: (rows,) see `unseen_weight`.

    Returns:
        (rows,); 0 where no rival is near. Marginals of one value everywhere, such as those of a model that finds
        nothing, cost log(1 + e^2) = 2.1 per boundary.
    """
    odds = log_odds(marginals)
    offsets = torch.tensor([step for step in range(-REACH, REACH + 1) if step], device=places.device)
    near = places[:, None] + offsets  # (rows, 2 * reach)
    width = marginals.shape[1]
    allowed = (near >= 0) & (near < width)
    near = near.clamp(0, width - 1)
    allowed &= rivals.gather(1, near)
    best = odds.gather(1, near).masked_fill(~allowed, -torch.inf).amax(1)
    own = odds.gather(1, places[:, None])[:, 0]
    return torch.where(allowed.any(1), weights * functional.softplus(MARGIN - (own - best)), 0)


def invariance_loss(text: Tensor, view: Tensor, counted: Tensor) -> Tensor:
    """Mean Bernoulli KL of boundary marginals on a text, which take no gradient, and on its view.

    Args:
        text, view: (rows, tokens) marginals of one side, at the text's positions.
        counted: (rows, tokens) tokens at the boundaries that the view kept and the teacher labels rightly.

    Returns:
        (rows,); 0 where nothing counts.
    """
    parts = torch.where(counted, bernoulli_divergence(text.detach(), view), 0)
    return parts.sum(1) / counted.sum(1).clamp(min=1)


def edge_mass(shares: Tensor, pairs: Sequence[Tensor]) -> Tensor:
    """Share of a map at two neighbouring tokens, (rows,); places outside the text have none.

    Args:
        shares: (rows, tokens).
        pairs: two tensors (rows,) of tokens.
    """
    width = shares.shape[1]
    inside = [(place >= 0) & (place < width) for place in pairs]
    parts = [shares.gather(1, place.clamp(0, width - 1)[:, None])[:, 0] for place in pairs]
    return sum(torch.where(within, part, 0) for within, part in zip(inside, parts))


def unseen_weight(mass: Tensor, scale: Tensor | float) -> Tensor:
    """Weight in [1, 2] of a boundary: 2 where the explanation has nothing there, 1 where as much as in its upper tenth.

    Args:
        mass: (rows,) of the fused map at the boundary (`edge_mass`); takes no gradient.
        scale: 90th percentile of such masses in the corpus.
    """
    return 2 - (mass.detach() / max(float(scale), 1e-6)).clamp(0, 1)


def consistency_loss(teacher: Tensor, student: Tensor, counted: Tensor) -> Tensor:
    """KL of the text's marginals, which take no gradient, and the view's (as in saliency-guided training, Ismail 2021).

    Args:
        teacher: (rows, tokens, labels) log probabilities on the text.
        student: (rows, tokens, labels) log probabilities on the view, at the text's positions.
        counted: (rows, tokens) tokens that the view left as they were and that the teacher labels rightly.

    Returns:
        (rows,) sums over the tokens, in nats.
    """
    return torch.where(counted, kl_divergence(teacher.detach(), student), 0).sum(-1)


def r_drop_loss(first: Tensor, second: Tensor, counted: Tensor) -> Tensor:
    """Half the symmetric KL of the marginals under two dropout masks (R-Drop, Wu et al. 2021).

    Args:
        first, second: (rows, tokens, labels) log probabilities; both take gradients.
        counted: (rows, tokens).

    Returns:
        (rows,) sums over the tokens, in nats.
    """
    both = kl_divergence(first, second) + kl_divergence(second, first)
    return torch.where(counted, both / 2, 0).sum(-1)


def stability_loss(explained: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Return the divergence of the head's maps from the teacher's.

    On a text this distils the fused map; on a view, whose map is read at the characters it shares with the text, it
    asks for the text's map in spite of the edits. The teacher takes no gradient and differs between entities, so
    neither a constant map nor a shift of the teacher wins.

    Args:
        explained: (rows, length) log attributions of the head, at the text's positions.
        teacher: (rows, length) shares of the fused map.
        mask: (rows, length) characters to compare: of a view those that were neither edited nor moved away.

    Returns:
        (rows,) Jensen-Shannon divergences in [0, 1] of both maps renormalised over the mask; 0 where it is empty.
    """
    return jensen_shannon(explained, teacher.detach().clamp(min=_TINY).log(), mask)


def entropy_share(explained: Tensor, mask: Tensor) -> Tensor:
    """Entropy of maps over the largest possible, (rows,) in [0, 1]: 1 for even maps, 0 for a single character."""
    lowest = torch.finfo(explained.dtype).min / 2
    logs = explained.masked_fill(~mask, lowest).log_softmax(-1)
    entropy = -torch.where(mask, logs.exp() * logs, 0).sum(-1)
    return entropy / mask.sum(-1).clamp(min=2).log()


def jensen_shannon(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Jensen-Shannon divergence of maps over the characters of a mask, both renormalised there, in [0, 1].

    Args:
        first, second: (rows, length) logarithms of shares, up to a constant per row.
        mask: (rows, length) bool.

    Returns:
        (rows,); 0 where the mask holds fewer than two characters.
    """
    first, second = _renormalised(first, mask), _renormalised(second, mask)
    middle = torch.logaddexp(first, second) - math.log(2)
    parts = first.exp() * (first - middle) + second.exp() * (second - middle)
    return torch.where(mask, parts, 0).sum(-1) / (2 * math.log(2))


def _renormalised(logs: Tensor, mask: Tensor) -> Tensor:
    return logs.masked_fill(~mask, torch.finfo(logs.dtype).min / 2).log_softmax(-1)


def kl_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) of log probabilities (..., labels) -> (...)."""
    first, second = first.clamp(min=FLOOR), second.clamp(min=FLOOR)
    return (first.exp() * (first - second)).sum(-1)


def bernoulli_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL between Bernoulli distributions of probabilities of the same shape."""
    first, second = squeeze(first), squeeze(second)
    return first * (first / second).log() + (1 - first) * ((1 - first) / (1 - second)).log()


def log_odds(probabilities: Tensor) -> Tensor:
    """log p - log(1 - p), within about 13.8 of 0."""
    probabilities = squeeze(probabilities)
    return probabilities.log() - (1 - probabilities).log()


def squeeze(probabilities: Tensor) -> Tensor:
    """Into [1e-6, 1 - 1e-6] without losing the gradient at the ends."""
    return SMALLEST + (1 - 2 * SMALLEST) * probabilities
