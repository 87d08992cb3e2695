"""How far distributions lie apart, in nats unless said otherwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR = -18.0
"""Log probabilities below this are taken as this: what a CRF forbids has -1e6, and must not blow up a divergence."""

SMALLEST = 1e-6
"""Probabilities are squeezed into [SMALLEST, 1 - SMALLEST] before their log-odds are taken."""


def kl_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) of log probabilities (..., labels) -> (...)."""
    first, second = first.clamp(min=FLOOR), second.clamp(min=FLOOR)
    return (first.exp() * (first - second)).sum(-1)


def bernoulli_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL between Bernoulli distributions of probabilities of the same shape."""
    first, second = squeeze(first), squeeze(second)
    return first * (first / second).log() + (1 - first) * ((1 - first) / (1 - second)).log()


def squeeze(probabilities: Tensor) -> Tensor:
    """Into [1e-6, 1 - 1e-6] without losing the gradient at the ends."""
    return SMALLEST + (1 - 2 * SMALLEST) * probabilities


def log_odds(probabilities: Tensor) -> Tensor:
    """log p - log(1 - p), within about 13.8 of 0."""
    probabilities = squeeze(probabilities)
    return probabilities.log() - (1 - probabilities).log()


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
