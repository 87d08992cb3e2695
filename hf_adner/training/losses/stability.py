"""Stability: the explainer head follows the fused map, on a text and on its views."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_adner.training.losses.divergences import jensen_shannon

_TINY = 1e-9


def stability_loss(explained: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """How far the head's maps are from the teacher's.

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
