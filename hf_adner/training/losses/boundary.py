"""Boundaries: margins where the explanation does not see them, and invariance to what stands beside an entity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hf_adner.explain.targets import LabelTable
from hf_adner.training.losses.divergences import bernoulli_divergence, log_odds

MARGIN = 2.0
"""Log-odds by which a boundary is to lead its neighbours."""

REACH = 2
"""How far away a neighbour is that a boundary has to lead, in tokens."""


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
