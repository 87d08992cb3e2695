"""Weights thrown away for a while: what is left of an explanation then was not about the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def randomised_weights(model: nn.Module, share: float = 1.0, seed: int = 0) -> Iterator[None]:
    """Random weights in the last parameters of a model, and its own ones again afterwards.

    Parameters go in the order of their registration, which runs from the input to the output, so that growing shares
    are the cascade of Adebayo et al. (2018). Each becomes independent normal numbers with its own mean and standard
    deviation, which keeps the scale of everything inside the model.

    Args:
        model: changed in place.
        share: of the parameters (tensors, not numbers) from the output down, above 0 and at most 1.
        seed: of the numbers.

    Raises:
        ValueError: a share outside that range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], found {share}")
    parameters = list(model.parameters())
    chosen = parameters[len(parameters) - math.ceil(share * len(parameters)) :]
    before = [parameter.detach().clone() for parameter in chosen]
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad():
            for parameter in chosen:
                deviation, mean = torch.std_mean(parameter.float(), correction=0)
                drawn = torch.randn(parameter.shape, generator=generator).to(parameter.device)
                parameter.copy_(mean + deviation * drawn)
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(chosen, before):
                parameter.copy_(values)
