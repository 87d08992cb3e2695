"""Local maps inside a training step: gradient x input of the entity in focus, from one more first-order backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hf_adner.explain.log_attributions import log_attributions
from hf_adner.explain.targets import EntityTokens, Tagging, Target


def saliency_logs(
    embeds: Tensor, log_probs: Tensor, is_text: Tensor, places: Sequence[EntityTokens], target: Target
) -> Tensor:
    """Log attributions of one entity of each row, (rows, tokens), detached; zeros in rows without one.

    The graph stays for the training step's own backward pass. Rows do not depend on one another, so one backward pass
    serves all of them; nothing is differentiated twice.

    Args:
        embeds: (rows, tokens, size) word embeddings that the forward pass began with.
        log_probs: (rows, tokens, labels).
        is_text: (rows, tokens).
        places: entities, at most one per row.
        target: the score that is explained.
    """
    if not places:
        return embeds.new_zeros(embeds.shape[:2], dtype=torch.float32)
    total = target(Tagging(log_probs), places).sum()
    (gradient,) = torch.autograd.grad(total, embeds, retain_graph=True)
    scores = torch.linalg.vector_norm(embeds.detach().float() * gradient.float(), dim=-1)
    return log_attributions(scores, is_text)


def perturbation_variance(text: Tensor, view: Tensor, counted: Tensor) -> Tensor:
    """Half the mean squared difference of two maps, (rows,): the variance of each if both were draws of one.

    Args:
        text, view: (rows, tokens) log attributions, at the text's positions.
        counted: (rows, tokens); NaN where nothing counts.
    """
    squares = torch.where(counted, (text - view).square(), 0).sum(1)
    return squares / (2 * counted.sum(1))
