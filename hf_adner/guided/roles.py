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
            `ROLES` + role, of the nearest entity; of two at the same distance the earlier, of nested ones that of the
            first label.
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
            labels: (batch, text) label ids, or (batch, text, types) with a column per label; unobserved ones (-100)
                belong to no entity.
            mask: (batch, text) bool, True on text.
        """
        columns = [self._of_sequence(column, mask) for column in (labels.unbind(2) if labels.dim() == 3 else [labels])]
        edges, cells, distances = (torch.stack(side) for side in zip(*columns))  # (columns, batch, text)
        nearest = distances.argmin(0, keepdim=True)
        return Roles(edges.any(0), cells.gather(0, nearest)[0])

    def _of_sequence(self, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return edges, cells, and the distances to the entities of the cells, (batch, text) each."""
        ids = torch.where(mask, labels, -100)
        types = torch.where(ids >= 0, self._type.to(ids.device)[ids.clamp(min=0)], 0)
        begins = self._begins.to(ids.device)[ids.clamp(min=0)] & (ids >= 0)
        first = (types > 0) & (begins | (_shifted(types, 1) != types))
        last = (types > 0) & (_shifted(first, -1).bool() | (_shifted(types, -1) != types))
        edges = (first | last | _shifted(first, -1).bool() | _shifted(last, 1).bool()) & mask
        return edges, *self._cells(types, first, last)

    @staticmethod
    def _cells(types: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
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
        distances = torch.where(types > 0, 0, (places - nearest).abs())
        return torch.where((types > 0) | known, cells, 0), distances


def _shifted(values: Tensor, steps: int) -> Tensor:
    """Return values (batch, text) moved to the right by `steps`, 0 where nothing is left."""
    moved = torch.zeros_like(values)
    if steps > 0:
        moved[:, steps:] = values[:, :-steps]
    else:
        moved[:, :steps] = values[:, -steps:]
    return moved
