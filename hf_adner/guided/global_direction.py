"""The global direction: mean of the windows' gradient directions by entity type and role."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hf_adner.guided.visit_cache import Memory

_MINIMUM = 1e-6
"""Smaller counts are rounding errors of 0."""


class GlobalDirection:
    """Sums of token directions per cell of `RoleFinder`; constant during an epoch.

    Args:
        cells: number of cells.
    """

    def __init__(self, cells: int):
        self.cells = cells
        self.sums: Tensor | None = None
        self.counts: Tensor | None = None

    def update(self, memories: Mapping[int, Memory]) -> None:
        """Compute the sums anew from all memories, in the order of their windows."""
        self.sums = self.counts = None
        for window in sorted(memories):
            memory = memories[window]
            if memory.direction is None:
                continue
            direction, cells = unit(memory.direction.read()), memory.cells.long()
            if self.sums is None:
                self.sums = direction.new_zeros(self.cells, direction.shape[1])
                self.counts = direction.new_zeros(self.cells)
            self.sums.index_add_(0, cells, direction)
            self.counts.index_add_(0, cells, torch.ones_like(direction[:, 0]))

    def without(self, directions: Tensor, cells: Tensor, mask: Tensor) -> Tensor | None:
        """Return the global direction of each token, leaving out the window's own part.

        Args:
            directions: (batch, text, size) remembered directions of the windows, zero where there is none.
            cells: (batch, text) cells of their tokens.
            mask: (batch, text) bool, True on text.

        Returns:
            (batch, text, size), each window of norm 1, 0 where nothing is known; None before the first epoch has ended.
        """
        if self.sums is None:
            return None
        batch, text, size = directions.shape
        own, is_known = unit(directions), directions.any(2)
        places = cells + self.cells * torch.arange(batch, device=cells.device)[:, None]
        sums = own.new_zeros(batch * self.cells, size).index_add_(0, places.flatten(), own.flatten(0, 1))
        counts = own.new_zeros(batch * self.cells).index_add_(0, places.flatten(), is_known.flatten().float())
        left = self.sums[cells] - sums[places]
        number = self.counts[cells] - counts[places]
        means = torch.where((mask & (number > _MINIMUM))[..., None], left / number.clamp(min=1.0)[..., None], 0.0)
        return unit(means)


def unit(direction: Tensor) -> Tensor:
    """Return directions (..., tokens, size) scaled to a Frobenius norm of 1; zero directions stay zero."""
    return direction / direction.flatten(-2).norm(dim=-1).clamp(min=1e-20)[..., None, None]
