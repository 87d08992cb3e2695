"""Noise on the embeddings of every text a model reads, whoever asks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def noisy_embeddings(model: nn.Module, radius: float, seed: int = 0) -> Iterator[None]:
    """Add to the vector of each position the same noise for every text and call, and stop afterwards.

    So an explainer that reads a text many times, whole or with characters hidden, reads it with one noise: it explains
    x + d in place of x.

    Args:
        model: with a table of input embeddings.
        radius: the noise is uniform in [-radius, radius] times the table's root mean square.
        seed: of the noise.
    """
    table = model.get_input_embeddings()
    scale = radius * float(table.weight.detach().float().square().mean().sqrt())
    rows: list[torch.Tensor] = []

    def add_noise(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        for position in range(len(rows), output.shape[-2]):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + position)
            rows.append(2 * torch.rand(output.shape[-1], generator=generator) - 1)
        noise = scale * torch.stack(rows[: output.shape[-2]])  # (positions, size)
        return output + noise.to(output)

    handle = table.register_forward_hook(add_noise)
    try:
        yield
    finally:
        handle.remove()
