"""Memory of earlier visits of each training window: the gradient's direction, and label marginals.

What is remembered does not change during an epoch; `advance` takes in the epoch's visits in the order of the windows,
so that neither the order of batches nor the number of processes matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

DECAY = 0.6
"""Weight of the remembered marginals against those of a new visit (temporal ensembling, Laine & Aila 2017)."""


class StoredDirection(NamedTuple):
    """A direction as the cache keeps it.

    Attributes:
        values: (tokens, size) float16; or (tokens, ceil(size / 8)) uint8, the packed signs.
        norms: (tokens,) float32 norm per token of packed signs, empty otherwise.
        size: components of a token's vector.
    """

    values: Tensor
    norms: Tensor
    size: int

    def read(self) -> Tensor:
        """Return the direction, (tokens, size) float32."""
        if self.values.dtype != torch.uint8:
            return self.values.float()
        bits = (self.values[..., None] >> torch.arange(8, device=self.values.device, dtype=torch.uint8)) & 1
        signs = bits.flatten(1)[:, : self.size].float() * 2 - 1
        return signs * (self.norms / self.size**0.5)[:, None]


def stored(direction: Tensor, precision: str) -> StoredDirection:
    """Return a direction (tokens, size), scaled to a mean squared norm of 1 per token, in the form to be kept.

    Args:
        direction: the gradient, whose length does not matter.
        precision: a name of `PRECISIONS`.
    """
    tokens, size = direction.shape
    direction = direction.float()
    direction = direction * (tokens**0.5 / direction.norm().clamp(min=1e-30))
    if precision == "half":
        return StoredDirection(direction.half(), direction.new_zeros(0), size)
    bits = torch.nn.functional.pad((direction >= 0).to(torch.uint8), (0, -size % 8)).unflatten(1, (-1, 8))
    weights = 2 ** torch.arange(8, device=direction.device, dtype=torch.uint8)
    return StoredDirection((bits * weights).sum(2).to(torch.uint8), direction.norm(dim=1), size)


class Visit(NamedTuple):
    """What a visit leaves; parts that the run does not need are None.

    Attributes:
        direction: of the gradient at the text tokens.
        cells: (tokens,) int16 cells of the global direction.
        marginals: (tokens, labels) float16.
    """

    direction: StoredDirection | None
    cells: Tensor | None
    marginals: Tensor | None


class Memory(NamedTuple):
    """What is remembered of a window's visits.

    Attributes:
        direction, cells: of the last visit.
        agreement: cosine of the directions of the last two visits, NaN after one.
        marginals: (tokens, labels) float16 exponential mean over the visits, without the bias towards its start.
        visits: number of visits.
    """

    direction: StoredDirection | None
    cells: Tensor | None
    agreement: float
    marginals: Tensor | None
    visits: int


class VisitCache:
    """Memories by window number: remembered ones, and the visits of the current epoch."""

    def __init__(self) -> None:
        self.remembered: dict[int, Memory] = {}
        self.pending: dict[int, Visit] = {}

    def __len__(self) -> int:
        return len(self.remembered)

    def add(self, window: int, visit: Visit) -> None:
        """Add a visit; it is remembered from the next epoch on. Of two visits in an epoch the last counts."""
        self.pending[window] = visit

    def join(self, others: Iterable[Mapping[int, Visit]], device: torch.device | str) -> None:
        """Replace the epoch's visits by those of all processes, in their order."""
        joined: dict[int, Visit] = {}
        for other in others:
            joined.update(other)
        self.pending = {window: moved(visit, device) for window, visit in joined.items()}

    def advance(self) -> None:
        """End an epoch: its visits are remembered."""
        pending, self.pending = self.pending, {}
        for window in sorted(pending):
            self.remembered[window] = blended(self.remembered.get(window), pending[window])
        self.remembered = dict(sorted(self.remembered.items()))

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, Tensor]:
        """Return everything as named tensors."""
        tensors = {}
        for kind, entries in (("remembered", self.remembered), ("pending", self.pending)):
            for window, entry in entries.items():
                tensors |= {f"{kind}.{window}.{name}": value for name, value in _parts(entry).items()}
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device | str) -> VisitCache:
        """Inverse of `to_tensors`.

        Raises:
            ValueError: a name or a part is not one that `to_tensors` writes.
        """
        cache = cls()
        entries: dict[tuple[str, int], dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            window, _, part = rest.partition(".")
            if kind not in ("remembered", "pending") or not window.isdecimal():
                raise ValueError(f"unexpected tensor {name[:40]!r}")
            entries.setdefault((kind, int(window)), {})[part] = value.to(device)
        for (kind, window), parts in sorted(entries.items()):
            if kind == "remembered":
                cache.remembered[window] = _memory(parts)
            else:
                cache.pending[window] = _visit(parts)
        return cache


def blended(memory: Memory | None, visit: Visit) -> Memory:
    """Return the memory of a window after another visit."""
    if memory is None:
        return Memory(visit.direction, visit.cells, float("nan"), visit.marginals, 1)
    agreement = float("nan")
    if memory.direction is not None and visit.direction is not None:
        pair = memory.direction.read().flatten(), visit.direction.read().flatten()
        agreement = float(torch.nn.functional.cosine_similarity(*pair, dim=0))
    marginals = visit.marginals
    if marginals is not None and memory.marginals is not None:
        # the mean of weights DECAY^k, divided by their sum (Adam's bias correction)
        share = (1 - DECAY) / (1 - DECAY ** (memory.visits + 1))
        marginals = ((1 - share) * memory.marginals.float() + share * marginals.float()).half()
    return Memory(visit.direction, visit.cells, agreement, marginals, memory.visits + 1)


def moved(visit: Visit, device: torch.device | str) -> Visit:
    """Return a visit on a device."""
    direction = visit.direction
    if direction is not None:
        direction = StoredDirection(direction.values.to(device), direction.norms.to(device), direction.size)
    cells, marginals = (None if part is None else part.to(device) for part in (visit.cells, visit.marginals))
    return Visit(direction, cells, marginals)


def _parts(entry: Visit | Memory) -> dict[str, Tensor]:
    parts = {}
    if entry.direction is not None:
        parts |= {"direction": entry.direction.values, "norms": entry.direction.norms, "cells": entry.cells}
        parts["size"] = torch.tensor(entry.direction.size)
    if entry.marginals is not None:
        parts["marginals"] = entry.marginals
    if isinstance(entry, Memory):
        parts["history"] = torch.tensor([entry.agreement, entry.visits], dtype=torch.float64)
    return {name: value.cpu().contiguous() for name, value in parts.items()}


def _visit(parts: Mapping[str, Tensor]) -> Visit:
    direction = None
    if "direction" in parts:
        direction = StoredDirection(parts["direction"], parts["norms"], int(parts["size"]))
    return Visit(direction, parts.get("cells"), parts.get("marginals"))


def _memory(parts: Mapping[str, Tensor]) -> Memory:
    direction, cells, marginals = _visit(parts)
    agreement, visits = parts["history"].tolist()
    return Memory(direction, cells, agreement, marginals, int(visits))
