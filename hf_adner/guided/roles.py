"""Roles of a window's text tokens with respect to its gold entities: edges, and cells of the global direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hf_adner.model.labels_adner import split_tag

BEFORE, FIRST, MIDDLE, LAST, AFTER = range(5)
"""Role of a token with respect to the nearest entity."""

ROLES = 5
_FAR = 10**6


class Roles(NamedTuple):
    """Roles of the text tokens of a batch.

    Attributes:
        edges: (batch, text) bool, the first and the last token of an entity and the token beyond each.
        cells: (batch, text) int64, entity type (from 1 in the order of the labels; 0 in a window without entities) x
            `ROLES` + role, of the nearest entity; of two at the same distance the earlier.
    """

    edges: Tensor
    cells: Tensor


class RoleFinder:
    """Finds the roles of tokens from BIO label ids.

    Args:
        labels: BIO labels in id order.

    Raises:
        ValueError: no label opens an entity.
    """

    def __init__(self, labels: Sequence[str]):
        parts = [split_tag(label) for label in labels]
        self.types = list(dict.fromkeys(name for _, name in parts if name))
        if not self.types:
            raise ValueError(f"guided training needs BIO labels of an entity type, found {list(labels)[:5]}")
        self._type = torch.tensor([self.types.index(name) + 1 if name else 0 for _, name in parts])
        self._begins = torch.tensor([prefix == "B" for prefix, _ in parts])

    @property
    def cells(self) -> int:
        """Number of cells."""
        return (len(self.types) + 1) * ROLES

    def __call__(self, labels: Tensor, mask: Tensor) -> Roles:
        """Return the roles of text tokens.

        Args:
            labels: (batch, text) label ids; unobserved ones (-100) belong to no entity.
            mask: (batch, text) bool, True on text.
        """
        ids = torch.where(mask, labels, -100)
        types = torch.where(ids >= 0, self._type.to(ids.device)[ids.clamp(min=0)], 0)
        begins = self._begins.to(ids.device)[ids.clamp(min=0)] & (ids >= 0)
        first = (types > 0) & (begins | (_shifted(types, 1) != types))
        last = (types > 0) & (_shifted(first, -1).bool() | (_shifted(types, -1) != types))
        edges = (first | last | _shifted(first, -1).bool() | _shifted(last, 1).bool()) & mask
        return Roles(edges, self._cells(types, first, last))

    @staticmethod
    def _cells(types: Tensor, first: Tensor, last: Tensor) -> Tensor:
        places = torch.arange(types.shape[1], device=types.device).expand_as(types)
        ended = torch.where(last, places, -_FAR).cummax(1).values  # last token of the entity before
        coming = torch.where(first, places, _FAR).flip(1).cummin(1).values.flip(1)  # first token of the one after
        is_after = places - ended <= coming - places
        nearest = torch.where(is_after, ended, coming)
        known = (nearest >= 0) & (nearest < types.shape[1])
        near_type = types.gather(1, nearest.clamp(0, types.shape[1] - 1))
        outer = torch.where(is_after, AFTER, BEFORE)
        inner = torch.where(first, FIRST, torch.where(last, LAST, MIDDLE))
        role = torch.where(types > 0, inner, outer)
        cells = torch.where(types > 0, types, near_type) * ROLES + role
        return torch.where((types > 0) | known, cells, 0)


def _shifted(values: Tensor, steps: int) -> Tensor:
    """Return values (batch, text) moved to the right by `steps`, 0 where nothing is left."""
    moved = torch.zeros_like(values)
    if steps > 0:
        moved[:, steps:] = values[:, :-steps]
    else:
        moved[:, :steps] = values[:, -steps:]
    return moved
