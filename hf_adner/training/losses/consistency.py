"""Consistency: the same label marginals on a text and on its view, or under two dropout masks."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_adner.training.losses.divergences import kl_divergence


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
