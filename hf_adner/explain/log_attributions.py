"""Attribution maps on a scale on which maps of different texts can be averaged."""

from __future__ import annotations

import torch
from torch import Tensor

LIMIT = 5.0
"""Log attributions lie in [-LIMIT, LIMIT]."""


def log_attributions(scores: Tensor, mask: Tensor) -> Tensor:
    """How many times its even share each character has, as a logarithm: log(length |a| / sum |a|).

    0 is the even share, log 2 twice of it. Signs are lost; values are clipped to [-5, 5].

    Args:
        scores: (..., length), an attribution map per row.
        mask: (..., length) bool, the characters that count; `length` above is their number.

    Returns:
        (..., length) float32; 0 outside the mask, and everywhere in a row whose scores are all zero.
    """
    sizes = scores.float().abs() * mask
    totals = sizes.sum(-1, keepdim=True)
    ratios = sizes * mask.sum(-1, keepdim=True) / totals.clamp(min=torch.finfo(torch.float32).tiny)
    logs = ratios.log().clamp(-LIMIT, LIMIT)  # the log of 0 is clipped as well
    return torch.where(mask & (totals > 0), logs, 0.0)


def simplex(log_map: Tensor, mask: Tensor) -> Tensor:
    """The map as shares that sum to 1 over the mask: softmax; the inverse of `log_attributions` but for clipping.

    Args:
        log_map, mask: (..., length).

    Returns:
        (..., length) float32; 0 outside the mask, and everywhere in a row whose mask is empty.
    """
    lowest = torch.finfo(torch.float32).min
    return torch.where(mask, log_map.float().masked_fill(~mask, lowest).softmax(-1), 0.0)
